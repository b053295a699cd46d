"""Tests of the page: all is there, escaped, and in the right colour."""

import dataclasses
import html.parser
import re

from absl.testing import absltest

from kdwsd.evaluation import precision_recall
from kdwsd.reporting import boxes_section
from kdwsd.reporting import comparison
from kdwsd.reporting import gallery
from kdwsd.reporting import page
from kdwsd.reporting import page_data
from kdwsd.reporting import repeats

_NASTY = '<script>alert("1")</script>&amp;\''
_STAGES = tuple(comparison.MODELS)


def _row(stage, map_):
  return comparison.Row(
      stage=stage, name=comparison.MODELS[stage], num_images=14,
      images=None, map=map_, c_f1=.5, o_f1=.5, top3_c_f1=.5, top3_o_f1=.5,
      detection_map=None, corloc=None, parameters=None, images_per_second=None,
      device=None)


def _report(stages=_STAGES, name="cat"):
  ap = dict(zip(_STAGES, (.25, .75, .5)))
  guesses = [gallery.Guess(name, .75, True),
             gallery.Guess("dog", .5, False),
             gallery.Guess("emu", .25, None)]
  curve = precision_recall.from_hits([True, False, True], 2)
  return page_data.Report(
      title=name, split="test",
      rows=[_row(stage, ap[stage]) for stage in stages],
      stages=[page_data.Stage(
          stage, {"seed": 7, "stage": stage, "best_figure": "coco/AP",
                  "data": name},
          [{"step": 5, "loss": 2.0, "hard_loss": 1.5, "zero_loss": 0.0},
           {"step": 5, "figures": {"coco/AP": .625}}],
          f"train {name}") for stage in stages],
      class_rows=[
          page_data.ClassRow(name, 1234, {s: ap[s] for s in stages}),
          page_data.ClassRow("dog", 5, dict.fromkeys(stages))],
      counts_of="images of " + name,
      curves={stage: [curve, curve] for stage in stages},
      gallery=[
          gallery.Picture(
              name, why, [name], dict.fromkeys(stages, guesses),
              [gallery.Box(0, 0, .5, .5, name, .5, (1, 2, 3))],
              b"jpeg", 32, 16)
          for why in (gallery.DISAGREE, gallery.SPACED)],
      gallery_note=None, versions={"kdwsd": name, "Python": "3"},
      command=f"report {name}", made="today")


class _Reader(html.parser.HTMLParser):
  """Text, elements and attributes of a page; checks that tags are paired."""

  def __init__(self, page):
    super().__init__()
    self.text, self.tags, self.open = [], [], []
    self.feed(page)
    self.close()

  def handle_starttag(self, tag, attrs):
    self.tags.append((tag, dict(attrs)))
    if tag not in ("img", "input", "meta"):
      self.open.append(tag)

  def handle_endtag(self, tag):
    if self.open.pop() != tag:
      raise ValueError(f"</{tag}> closes another element")

  def handle_data(self, data):
    self.text.append(re.sub(r"[ \n]+", " ", data) if data.strip() else "")


def _section(report, anchor):
  """The HTML of one section of a report's page."""
  return re.search(f'<section id="{anchor}">.*?</section>', page.page(report),
                   re.DOTALL).group()


class ReportPageTest(absltest.TestCase):

  def test_students_of_several_seeds_have_a_table(self):
    gain = repeats.Gain(
        seeds=[repeats.Seed(0, .5, .75), repeats.Seed(4, .5, .625)],
        points=18.75, spread=8.84, interval=(-1.5, 25.0), num_images=14,
        num_samples=1000)
    text = "".join(_Reader(page.page(
        dataclasses.replace(_report(), gain=gain))).text)
    for words in ("students by seed", "+12.5", "+18.8", "8.8", "is of seed 0",
                  "-1.5 to +25.0", "It includes 0"):
      self.assertIn(words, text)
    self.assertNotIn("more than the seed", text)
    text = "".join(_Reader(page.page(dataclasses.replace(
        _report(), gain=dataclasses.replace(
            gain, differing=("momentum",))))).text)
    self.assertIn("more than the seed", text)
    alone = dataclasses.replace(gain, seeds=gain.seeds[:1], spread=None)
    text = "".join(_Reader(page.page(
        dataclasses.replace(_report(), gain=alone))).text)
    self.assertNotIn("students by seed", text)
    self.assertIn("-1.5 to +25.0", text)

  def test_boxes_of_the_teacher_have_a_section_where_they_were_measured(self):
    self.assertNotIn("Where the teacher looks", page.page(_report()))
    section = boxes_section.BoxesSection(
        "trainval", [("hit", ["25.0 %", "as it should be"])], b"jpeg", 32, 16)
    written = page.page(dataclasses.replace(_report(), boxes=section))
    reader = _Reader(written)
    text = "".join(reader.text)
    for words in ("Where the teacher looks", "25.0 %", "as it should be",
                  "split trainval"):
      self.assertIn(words, text)
    alone = page.page(dataclasses.replace(
        _report(), boxes=dataclasses.replace(section, jpeg=None)))
    self.assertEqual(written.count("<img") - alone.count("<img"), 1)

  def test_every_section_is_there(self):
    written = page.page(_report())
    reader = _Reader(written)
    text = "".join(reader.text)
    for words in (
        "Comparison", "Average precision per class", "Images and",
        "Precision-recall curves", "Training", "Settings", "T-WDet",
        "S-Cls without KD", "S-Cls with KD", "+25.0", "differ between stages",
        "shared by all", "versions", "Commands", "train cat", "report cat",
        "cat1,234", "images of cat", "coco/AP", "5 steps",
        "Largest disagreement", "Evenly spaced", "Seed 7"):
      self.assertIn(words, text)
    anchors = [attrs["href"][1:] for tag, attrs in reader.tags if tag == "a"]
    ids = [attrs.get("id") for _, attrs in reader.tags]
    self.assertLen(anchors, 6)
    self.assertContainsSubset(anchors, ids)
    self.assertEmpty(reader.open)

  def test_nothing_is_fetched(self):
    written = page.page(_report())
    self.assertNotRegex(written, r"https?://|<script|<link|@import|url\(")
    for tag, attrs in _Reader(written).tags:
      if tag == "img":
        self.assertStartsWith(attrs["src"], "data:image/jpeg;base64,")

  def test_names_and_ids_are_escaped(self):
    written = page.page(_report(name=_NASTY))
    self.assertNotIn("<script", written)
    reader = _Reader(written)
    # Wherever a plain name stands, the nasty one does, letter by letter.
    plain = _Reader(page.page(_report(name="plain")))
    count = "".join(plain.text).count("plain")
    self.assertGreater(count, 15)
    self.assertEqual("".join(reader.text).count(_NASTY), count)
    self.assertEqual([tag for tag, _ in reader.tags],
                     [tag for tag, _ in plain.tags])

  def test_pictures_and_charts_have_alternative_text(self):
    reader = _Reader(page.page(_report()))
    images = [attrs for tag, attrs in reader.tags if tag == "img"]
    self.assertLen(images, 2)
    for attrs in images:
      self.assertIn("labelled cat", attrs["alt"])
      self.assertIn("cat 0.50", attrs["alt"])
    for tag, attrs in reader.tags:
      if tag == "svg":
        self.assertTrue(attrs.get("aria-label") or attrs.get("aria-hidden"))

  def test_names_written_from_right_to_left_keep_their_numbers_beside_them(
      self):
    name = "\u05e9\u05dc\u05d5\u05dd"
    written = page.page(_report(name=name))
    self.assertIn(f'<bdi>{name}</bdi><span class="count">', written)
    self.assertIn(f"<b><bdi>{name}</bdi></b>", written)

  def test_right_is_blue_and_wrong_is_red(self):
    written = page.page(_report())
    for style, guess in (("right", "✓ cat"), ("wrong", "✗ dog"),
                         ("unknown", "? emu")):
      self.assertRegex(written, f'<li class="{style}"><span[^>]*>[{guess[0]}] '
                       f"{guess[2:]}</span>")
    for theme in re.findall(r"--right: (#\w+); --wrong: (#\w+)", written):
      for colour, (strong, weak) in zip(theme, (("blue", "red"),
                                                ("red", "blue"))):
        channel = dict(zip(("red", "green", "blue"),
                           bytes.fromhex(colour[1:])))
        self.assertGreater(channel[strong], channel[weak])
    self.assertIn(".guesses .right { color: var(--right)", written)
    self.assertIn(".guesses .wrong { color: var(--wrong)", written)

  def test_missing_models_leave_gaps(self):
    for stages in (("cls",), ("wsd",), ("kd_prediction",), ("cls", "wsd"),
                   ("wsd", "kd_prediction")):
      reader = _Reader(page.page(_report(stages)))
      text = "".join(reader.text)
      self.assertIn("not known", text)
      self.assertNotIn("+25.0", text)
      for stage, name in comparison.MODELS.items():
        cards = text.count(f"{name}25.0") + text.count(f"{name}75.0") + (
            text.count(f"{name}50.0"))
        self.assertEqual(cards > 0, stage in stages, (stage, stages))

  def test_notes_stand_for_what_is_gone(self):
    report = dataclasses.replace(
        _report(), curves={}, gallery=[], gallery_note="the records are <gone>",
        stages=[page_data.Stage("wsd", {}, [], "train")])
    text = "".join(_Reader(page.page(report)).text)
    self.assertIn("Omitted: the records are <gone>.", text)
    self.assertIn("Omitted: no predictions", text)
    self.assertIn("No steps logged yet", text)

  def test_no_stage_at_all_is_drawn_too(self):
    _Reader(page.page(_report(stages=())))

  def test_many_classes_are_folded_away(self):
    rows = [page_data.ClassRow(str(i), i, {"cls": .5}) for i in range(80)]
    curve = precision_recall.from_hits([True], 1)
    drawn = _section(dataclasses.replace(
        _report(("cls",)), class_rows=rows, curves={"cls": [curve] * 80}),
                     "curves")
    self.assertIn("<summary>80 classes</summary>", drawn)
    self.assertEqual(drawn.count("<svg"), 80)

  def test_of_very_many_classes_a_hundred_curves_are_drawn(self):
    rows = [page_data.ClassRow(f"c{i}", 300 - i, {"cls": 1 - i / 300})
            for i in range(300)]
    curve = precision_recall.from_hits([True], 1)
    report = dataclasses.replace(
        _report(("cls",)), class_rows=rows, curves={"cls": [curve] * 300})
    drawn = _section(report, "curves")
    self.assertEqual(drawn.count("<svg"), 100)
    self.assertIn("100 of 300 classes: the most frequent", drawn)
    for name in ("c0", "c49", "c299", "c250"):
      self.assertIn(f">{name}<", drawn)
    self.assertNotIn(">c50<", drawn)
    # The table has all of them.
    self.assertEqual(_section(report, "classes").count("<tr"), 301)

  def test_losses_that_say_nothing_are_not_drawn(self):
    drawn = _section(_report(("cls",)), "training")
    self.assertIn("hard loss", drawn)
    self.assertNotIn("zero loss", drawn)


class SummaryTest(absltest.TestCase):

  def _summary(self, **maps):
    report = dataclasses.replace(_report(tuple(maps)), rows=[
        _row(stage, value) for stage, value in maps.items()])
    lead = re.search('<p class="lead">(.*?)</p>', page.page(report), re.DOTALL)
    return re.sub("[ \n]+", " ", html.unescape(lead.group(1)))

  def test_names_the_three_metrics_and_the_gain(self):
    text = self._summary(cls=.709, wsd=.786, kd_prediction=.746)
    for words in ("14 images of split test", "70.9\u00a0%", "78.6\u00a0%",
                  "74.6\u00a0%",
                  "improves the student by 3.7 points"):
      self.assertIn(words, text)
    # 3.7 of the 7.7 points between student and teacher.
    self.assertIn("48\u00a0% of the gap", text)

  def test_a_loss_is_called_a_loss(self):
    self.assertIn("lowers the student's mAP by 1.0 points", self._summary(
        cls=.71, wsd=.8, kd_prediction=.70))
    self.assertIn("no difference", self._summary(
        cls=.71, kd_prediction=.7101))
    self.assertIn("exceeds its teacher", self._summary(
        cls=.5, wsd=.6, kd_prediction=.7))
    self.assertNotIn("gap", self._summary(
        cls=.5, wsd=.4, kd_prediction=.7))

  def test_what_is_missing_is_named(self):
    self.assertIn("S-Cls with KD not measured",
                  self._summary(cls=.5, wsd=.6))
    self.assertIn("mAP is undefined", self._summary(cls=None))


if __name__ == "__main__":
  absltest.main()
