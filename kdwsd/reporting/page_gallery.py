"""The gallery of a report's page: images, proposals, what the models say."""

import base64

from kdwsd.reporting import comparison
from kdwsd.reporting import gallery
from kdwsd.reporting import markup

_LABELLED_BOXES = 3
# Of the frame that `style` gives a picture, pixels; a letter's width.
_WIDTH, _HEIGHT, _LETTER = 320, 250, 7
_element, _join = markup.element, markup.join


def section(report):
  """The gallery, or a note why there is none; `markup.Html`."""
  heading = _element("h2", "Images and what the models say")
  if report.gallery_note:
    return _join(heading, _element(
        "p", f"Left out: {report.gallery_note}.".replace("..", "."),
        class_="note"))
  parts, shown = [], None
  titles = {
      gallery.DISAGREE: "Where the two students disagree most",
      gallery.SPACED: "At even spacing over the rest of the split"}
  for picture in report.gallery:
    if picture.why != shown:
      shown = picture.why
      parts.append(_element("h3", titles[shown], class_="gallery-heading"))
    parts.append(_shot(picture))
  boxes = any(picture.boxes for picture in report.gallery)
  switch = (
      _element("input", type="checkbox", id="boxes", checked=True),
      _element("label", "show the teacher's 10 best proposals", for_="boxes",
               class_="switch")) if boxes else ()
  return _join(
      heading,
      _element("p", "The 3 best labels of each model with their "
               "probabilities: ", _element("span", "✓ right", class_="up"),
               ", ", _element("span", "✗ wrong", class_="down"),
               ". An image with fewer than 3 labels has wrong ones among them "
               "by necessity. Chosen by rule, not by hand.", class_="note"),
      *switch, _element("div", *parts, class_="gallery"))


def _shot(picture):
  names = ", ".join(picture.labels) or "no label"
  alt = f"Image {picture.image_id}, labelled {names}."
  if picture.boxes:
    alt += " Proposals of the teacher: " + ", ".join(
        f"{box.name} {box.score:.2f}" for box in picture.boxes) + "."
  source = base64.b64encode(picture.jpeg).decode("ascii")
  ratio = picture.width / picture.height
  shown = _element(
      "div",
      _element("img", src=f"data:image/jpeg;base64,{source}", alt=alt,
               width=picture.width, height=picture.height),
      _boxes(picture.boxes, ratio) if picture.boxes else None,
      class_="picture", style=f"--ratio:{ratio:.4f}")
  shown = _element("div", shown, class_="frame")
  sides = [
      _element("div",
               _element("span", comparison.MODELS[stage], class_="who"),
               _element("ol", *map(_guess, guesses), class_="guesses"),
               class_="side")
      for stage, guesses in picture.guesses.items()]
  return _element(
      "figure", shown,
      _element("figcaption",
               _element("div", _element("b", names), class_="truth"),
               _element("div", *sides, class_="sides"),
               _element("div", picture.image_id, class_="id")),
      class_="shot")


def _guess(guess):
  style, mark = {True: ("right", "✓"), False: ("wrong", "✗"),
                 None: ("unknown", "?")}[guess.right]
  return _element(
      "li", _element("span", f"{mark} {guess.name}", class_="what",
                     title=guess.name),
      _element("span", f"{guess.probability:.2f}"), class_=style)


def _boxes(boxes, ratio):
  """Proposals as an SVG that lies on the picture, about a unit a pixel."""
  width = min(_WIDTH, _HEIGHT * ratio)
  height = width / ratio
  outlines, names, taken = [], [], []
  for rank, box in enumerate(boxes):
    text = f"{box.name} {box.score:.2f}"
    left, top = box.xmin * width, box.ymin * height
    outlines.append(_element(
        "rect", _element("title", text), x=f"{left:.1f}", y=f"{top:.1f}",
        width=f"{(box.xmax - box.xmin) * width:.1f}",
        height=f"{(box.ymax - box.ymin) * height:.1f}",
        stroke="rgb({},{},{})".format(*box.colour),
        stroke_width=3 if rank < _LABELLED_BOXES else 1.5))
    # Names stay inside the picture, and off the names of better boxes.
    length = _LETTER * len(text)
    left, bottom = max(0, min(left + 4, width - length)), top + 13
    if rank < _LABELLED_BOXES and all(
        abs(bottom - other_bottom) > 14 or left > other_right
        or left + length < other_left
        for other_left, other_right, other_bottom in taken):
      taken.append((left, left + length, bottom))
      names.append(_element("text", text, x=f"{left:.1f}", y=f"{bottom:.1f}"))
  # The best on top, and all names above all lines.
  return _element("svg", *outlines[::-1], *names, aria_hidden="true",
                  viewBox=f"0 0 {width:.1f} {height:.1f}")
