"""The style sheet of a report: light, dark, phone and print."""

from kdwsd.reporting import comparison

# Style class of each model.
MODELS = {comparison.WITHOUT: "without", comparison.TEACHER: "teacher",
          comparison.WITH: "with"}

# The three models are told apart by colour-blind readers and, by their shapes,
# in grey print. Right is blue and wrong is red as in the paper's figure; marks
# say it too.
_LIGHT = """
  --paper: #ffffff; --panel: #f5f7fa; --ink: #1b2430; --muted: #5a6573;
  --rule: #d9dfe6; --without: #c8690a; --teacher: #6b7684; --with: #1c62b5;
  --right: #1c62b5; --wrong: #c2342b; --loss: #1b2430; --figure: #0f8a6a;
"""
_DARK = """
  --paper: #11161d; --panel: #1a212b; --ink: #e7ebf0; --muted: #9ba7b5;
  --rule: #2e3844; --without: #f2a24c; --teacher: #9ba7b5; --with: #6db0ff;
  --right: #6db0ff; --wrong: #ff8a80; --loss: #e7ebf0; --figure: #4fd1ab;
"""

CSS = (":root { color-scheme: light dark;" + _LIGHT + "}\n"
       "@media (prefers-color-scheme: dark) { :root {" + _DARK + "} }\n"
       "@media print { :root { color-scheme: light;" + _LIGHT + "} }\n" + """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-behavior: smooth; }
body { margin: 0; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "DejaVu Sans", sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 0 20px 48px; }
header { max-width: 1080px; margin: 0 auto; padding: 40px 20px 0; }
h1 { font-size: clamp(1.7rem, 5vw, 2.5rem); line-height: 1.15; margin: 0 0 12px;
  letter-spacing: -0.01em; overflow-wrap: anywhere; }
h2 { font-size: 1.35rem; line-height: 1.25; margin: 52px 0 6px;
  scroll-margin-top: 56px; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: 0 0 14px; max-width: 70ch; }
.kicker { color: var(--muted); margin: 0 0 6px; font-size: 0.9rem; }
.lead { font-size: 1.12rem; }
.note { color: var(--muted); font-size: 0.9rem; }
nav { position: sticky; top: 0; z-index: 3; background: var(--paper);
  border-bottom: 1px solid var(--rule); margin-top: 18px; }
nav div { max-width: 1080px; margin: 0 auto; padding: 0 20px; display: flex;
  gap: 20px; overflow-x: auto; white-space: nowrap; }
nav a { color: var(--muted); text-decoration: none; padding: 9px 0;
  font-size: 0.9rem; }
nav a:hover, nav a:focus { color: var(--ink); }
.numbers { display: grid; gap: 12px; margin: 24px 0 0; padding: 0;
  grid-template-columns: repeat(auto-fit, minmax(200px, 1fr)); }
.card { background: var(--panel); border-radius: 10px; padding: 16px 18px;
  border-top: 4px solid var(--rule); }
.card.without { border-color: var(--without); }
.card.teacher { border-color: var(--teacher); }
.card.with { border-color: var(--with); }
.card .big { font-size: 2.3rem; line-height: 1.15; font-weight: 650;
  font-variant-numeric: tabular-nums; }
.card .gain { font-size: 1rem; font-weight: 600; margin-left: 8px; }
.card .name { font-weight: 600; }
.up { color: var(--right); } .down { color: var(--wrong); }
.scroll { overflow-x: auto; margin: 14px 0; }
table { border-collapse: collapse; width: 100%; font-size: 0.94rem;
  font-variant-numeric: tabular-nums; }
th, td { padding: 8px 10px; text-align: right; white-space: nowrap;
  border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--muted); font-size: 0.85rem; }
tbody th { color: var(--ink); font-size: 0.94rem; }
th:first-child, td:first-child { text-align: left; padding-left: 0; }
.ablation th:first-child { position: sticky; left: 0;
  background: var(--paper); padding-right: 14px; }
.best { font-weight: 700; }
.key::before { content: ""; display: inline-block; width: 10px; height: 10px;
  border-radius: 50%; margin-right: 7px; background: currentColor; }
.key.without::before { background: var(--paper);
  border: 2.5px solid var(--without); }
.key.teacher::before { background: var(--teacher); border-radius: 1px;
  width: 4px; height: 13px; margin: 0 10px -2px 3px; }
.key.with::before { background: var(--with); }
.key.line::before, .key.loss::before, .key.part1::before, .key.part2::before,
.key.part3::before, .key.figure::before { border-radius: 0; border: 0;
  height: 3px; width: 16px; margin: 0 7px 4px 0; }
.key.line.without::before { background: var(--without); }
.key.loss::before { background: var(--loss); }
.key.part1::before { background: var(--without); }
.key.part2::before { background: var(--with); }
.key.part3::before { background: var(--teacher); }
.key.figure::before { background: var(--figure); }
.legend { display: flex; flex-wrap: wrap; gap: 4px 20px; font-size: 0.9rem;
  margin: 8px 0 10px; }
.bars { display: grid; gap: 18px 36px; margin: 18px 0;
  grid-template-columns: repeat(auto-fit, minmax(290px, 1fr)); }
.bar-heading { font-weight: 600; font-size: 0.95rem; margin-bottom: 4px; }
.bar { display: grid; grid-template-columns: 8.6em 1fr 2.8em; gap: 10px;
  align-items: center; font-size: 0.86rem; padding: 2px 0; }
.bar-name { color: var(--muted); }
.track { background: var(--panel); border-radius: 3px; height: 16px; }
.fill { display: block; height: 100%; border-radius: 3px; }
.fill.without { background: var(--without); }
.fill.teacher { background: var(--teacher); }
.fill.with { background: var(--with); }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.per-class td, .per-class th { padding: 3px 8px; }
.per-class tbody th { overflow: hidden; text-overflow: ellipsis;
  max-width: 15em; font-weight: 500; }
.per-class .count { color: var(--muted); font-weight: 400; font-size: 0.84em;
  margin-left: 6px; }
.per-class .plot { width: 48%; padding: 3px 12px; }
.axis { display: flex; justify-content: space-between; font-weight: 400;
  margin: 0 -0.8em; }
.axis span { width: 1.9em; text-align: center; }
.dots { position: relative; height: 20px; background:
  linear-gradient(90deg, var(--rule) 1px, transparent 1px) 0 0 / 25% 100%,
  linear-gradient(var(--rule), var(--rule)) 100% 0 / 1px 100% no-repeat; }
.link { position: absolute; top: 9px; height: 2px; background: var(--rule); }
.dot { position: absolute; top: 4px; width: 12px; height: 12px;
  margin-left: -6px; border-radius: 50%; }
.dot.without { background: var(--paper); border: 2.5px solid var(--without); }
.dot.teacher { width: 4px; height: 16px; top: 2px; margin-left: -2px;
  border-radius: 1px; background: var(--teacher); }
.dot.with { background: var(--with); }
.switch { display: inline-flex; align-items: center; gap: 8px;
  font-size: 0.95rem; margin: 4px 0 14px; cursor: pointer; }
#boxes { width: 18px; height: 18px; vertical-align: -3px; margin: 0 6px 0 0;
  accent-color: var(--with); }
#boxes:not(:checked) ~ .gallery svg { display: none; }
.gallery { display: grid; gap: 18px;
  grid-template-columns: repeat(auto-fill, minmax(290px, 1fr)); }
.gallery-heading { grid-column: 1 / -1; margin: 10px 0 -6px; }
.shot { margin: 0; background: var(--panel); border-radius: 10px;
  padding: 12px; break-inside: avoid; min-width: 0; }
.frame { height: 250px; display: flex; align-items: center; }
.picture { position: relative; margin: 0 auto; width: min(100%, calc(250px
  * var(--ratio))); aspect-ratio: var(--ratio); }
.picture img { width: 100%; height: 100%; display: block;
  border-radius: 4px; }
.picture svg { position: absolute; inset: 0; width: 100%; height: 100%;
  overflow: visible; }
.picture rect { fill: none; vector-effect: non-scaling-stroke; }
.picture text { font-size: 12px; font-weight: 600; fill: #fff; stroke: #000;
  stroke-width: 3px; paint-order: stroke; stroke-linejoin: round; }
.truth { margin: 10px 0 8px; font-size: 0.92rem; overflow-wrap: anywhere; }
.id { color: var(--muted); font-size: 0.78rem; overflow-wrap: anywhere; }
.sides { display: grid; grid-template-columns: repeat(auto-fit,
  minmax(110px, 1fr)); gap: 12px; }
.side { min-width: 0; }
.side .who { font-size: 0.8rem; color: var(--muted); display: block; }
.guesses { list-style: none; margin: 0; padding: 0; font-size: 0.88rem; }
.guesses li { display: flex; justify-content: space-between; gap: 6px; }
.guesses .what { overflow: hidden; text-overflow: ellipsis;
  white-space: nowrap; min-width: 0; }
.guesses .right { color: var(--right); font-weight: 600; }
.guesses .wrong { color: var(--wrong); }
.guesses .unknown { color: var(--muted); }
.panels { display: grid; gap: 14px 12px; margin: 12px 0;
  grid-template-columns: repeat(auto-fill, minmax(150px, 1fr)); }
.panels figure, .stages figure { margin: 0; break-inside: avoid;
  min-width: 0; }
.panels figcaption { font-size: 0.84rem; overflow: hidden;
  text-overflow: ellipsis; white-space: nowrap; }
.stages { display: grid; gap: 24px 28px; margin: 14px 0;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 400px), 1fr)); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 11.5px; }
.panels svg text { font-size: 9px; }
svg .grid { stroke: var(--rule); stroke-width: 0.8; }
svg .curve { fill: none; stroke-width: 1.6; stroke-linejoin: round;
  stroke-linecap: round; }
.curve.without { stroke: var(--without); }
.curve.teacher { stroke: var(--teacher); stroke-dasharray: 3 3; }
.curve.with { stroke: var(--with); }
.curve.loss { stroke: var(--loss); }
.curve.part1 { stroke: var(--without); stroke-width: 1.1; }
.curve.part2 { stroke: var(--with); stroke-width: 1.1; }
.curve.part3 { stroke: var(--teacher); stroke-width: 1.1; }
.curve.figure { stroke: var(--figure); stroke-dasharray: 4 3; }
svg .figure-text { fill: var(--figure); }
.figure-dot { fill: var(--figure); }
details { border: 1px solid var(--rule); border-radius: 8px; margin: 10px 0;
  padding: 0 14px; }
summary { cursor: pointer; padding: 10px 0; font-weight: 600; }
details td, details th { white-space: normal; overflow-wrap: anywhere;
  text-align: left; vertical-align: top; font-size: 0.86rem;
  padding: 4px 12px 4px 0; }
pre { background: var(--panel); border-radius: 8px; padding: 12px 14px;
  overflow-x: auto; font-size: 0.8rem; line-height: 1.5; white-space: pre-wrap;
  overflow-wrap: anywhere; }
footer { color: var(--muted); font-size: 0.86rem; margin-top: 48px;
  border-top: 1px solid var(--rule); padding-top: 14px; }
@media (max-width: 640px) {
  header, main { padding-left: 16px; padding-right: 16px; }
  header { padding-top: 26px; }
  nav div { padding: 0 16px; }
  .per-class .wide { display: none; }
  .per-class .plot { width: 52%; }
  .per-class tbody th { max-width: 7.5em; }
  .per-class .count { display: block; margin: -3px 0 0; }
  .numbers { grid-template-columns: 1fr; gap: 8px; }
  .card { display: flex; align-items: baseline; gap: 12px;
    padding: 10px 14px; border-top: 0; border-left: 4px solid var(--rule); }
  .card .big { font-size: 1.6rem; order: 2; margin-left: auto; }
  .card .what { display: none; }
}
@page { margin: 14mm; }
@media print {
  nav, .switch, #boxes { display: none; }
  body { font-size: 10.5pt; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  h2 { break-after: avoid; margin-top: 28px; }
  tr, .bar-group, .card, .stages figure { break-inside: avoid; }
  h3 { break-after: avoid; }
  .bars { grid-template-columns: repeat(3, 1fr); gap: 12px 20px; }
  .panels { grid-template-columns: repeat(6, 1fr); }
  .frame { height: 200px; }
  .bar { grid-template-columns: 7.6em 1fr 2.4em; gap: 6px;
    font-size: 0.78rem; }
  .scroll { overflow: visible; }
}
""")
