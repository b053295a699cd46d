"""Pictures of boxes on images, gathered on contact sheets.

Drawn with Pillow at the size they are looked at, so that lines and letters
stay sharp whatever the size of the image.
"""

import dataclasses
import functools

import numpy as np
from PIL import Image
from PIL import ImageDraw
from PIL import ImageFont
import tensorflow as tf

from kdwsd import boxes as box_ops
from kdwsd import files
from kdwsd.data import record_faults
from kdwsd.data import records
from kdwsd.evaluation import lettering

# Told apart by colour-blind readers: after P. Tol's "bright" scheme, without
# its grey, and with its yellow last.
_COLOURS = ((68, 119, 170), (238, 102, 119), (34, 136, 51), (170, 51, 119),
            (102, 204, 238), (204, 187, 68))
_TRUTH = (255, 255, 255)
_BEST, _WORST = np.array((255, 96, 0)), np.array((70, 110, 255))
_INK, _PAPER = (30, 30, 30), (255, 255, 255)
_GAP = 8
_FONT_PIXELS = 12
_LINE = 16
_CAPTION = 16  # pixels, the height of a caption


@dataclasses.dataclass(frozen=True)
class Overlay:
  """Boxes to draw in one style; later boxes lie on top.

  Attributes:
    boxes: [K, 4] fractions of the image.
    colours: K RGB triples in 0..255.
    captions: K texts, "" for none.
    width: of the lines, pixels.
    dashed: whether the lines are broken.
  """
  boxes: np.ndarray
  colours: tuple
  captions: tuple
  width: int = 2
  dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Tile:
  """One image of a contact sheet.

  Attributes:
    image: [H, W, 3] uint8 RGB.
    overlays: `Overlay`s, drawn in order.
    lines: texts under the image; what does not fit is cut.
  """
  image: np.ndarray
  overlays: tuple = ()
  lines: tuple = ()


def class_colour(class_id):
  """Colour of a class; they come again after six."""
  return _COLOURS[class_id % len(_COLOURS)]


def truth_overlay(truth, classes):
  """Annotated objects: dashed white, with names.

  Args:
    truth: a `records.Truth`, or None for no boxes.
    classes: C names.

  Returns:
    An `Overlay`.
  """
  if truth is None:
    return Overlay(np.zeros([0, 4]), (), ())
  names = tuple(
      classes[class_id] + (" difficult" if difficult else "")
      + (" crowd" if crowd else "")
      for class_id, difficult, crowd in zip(
          truth.class_ids, truth.difficult, truth.crowd))
  return Overlay(truth.boxes, (_TRUTH,) * len(names), names, dashed=True)


def proposal_overlay(boxes):
  """Proposals, best first: orange to blue, the best on top.

  Args:
    boxes: [N, 4].

  Returns:
    An `Overlay`.
  """
  boxes = np.asarray(boxes).reshape(-1, 4)
  share = np.linspace(0, 1, max(len(boxes), 2))[:len(boxes), np.newaxis]
  colours = np.rint(_BEST + share * (_WORST - _BEST)).astype(int)  # [N, 3]
  return Overlay(boxes[::-1], tuple(map(tuple, colours[::-1].tolist())),
                 ("",) * len(boxes), width=1)


def detection_overlay(boxes, class_ids, scores, classes):
  """Detections in their classes' colours, with names and scores.

  Args:
    boxes: [K, 4], best first.
    class_ids: [K].
    scores: [K].
    classes: C names.

  Returns:
    An `Overlay`.
  """
  order = list(range(len(class_ids)))[::-1]
  return Overlay(
      np.asarray(boxes).reshape(-1, 4)[order],
      tuple(class_colour(class_ids[k]) for k in order),
      tuple(f"{classes[class_ids[k]]} {scores[k]:.2f}" for k in order),
      width=3)


def annotate(image, overlays, scale=1.0):
  """Draws overlays on an image.

  Args:
    image: [H, W, 3] uint8 RGB.
    overlays: `Overlay`s, drawn in order; all captions lie above all lines.
    scale: by which the image is resized first.

  Returns:
    [H', W', 3] uint8 RGB.
  """
  picture = Image.fromarray(np.asarray(image))
  width, height = (max(1, round(side * scale)) for side in picture.size)
  if picture.size != (width, height):
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
  pen = ImageDraw.Draw(picture)
  for overlay in overlays:
    pixels = box_ops.to_pixels(overlay.boxes, height, width)
    for (top, left, bottom, right), colour in zip(pixels, overlay.colours):
      _rectangle(pen, (left, top, right, bottom), colour, overlay)
  for overlay in overlays:
    pixels = box_ops.to_pixels(overlay.boxes, height, width)
    for (top, left, _, _), colour, caption in zip(
        pixels, overlay.colours, overlay.captions):
      if caption:
        _label(pen, left, top, caption, colour, (width, height))
  return np.asarray(picture)


def contact_sheet(tiles, *, columns=None, tile_pixels=320):
  """Lays images out in rows, each fitted into a square.

  Args:
    tiles: `Tile`s.
    columns: images a row; None for about as many as rows.
    tile_pixels: longer side of each image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  tiles = list(tiles)
  columns = columns or max(1, int(np.ceil(np.sqrt(len(tiles)))))
  grid = [tiles[i:i + columns] for i in range(0, len(tiles), columns)]
  fitted = [[annotate(tile.image, tile.overlays,
                      tile_pixels / max(tile.image.shape[:2]))
             for tile in row] for row in grid]
  # A row is as high as its highest image, with its lines of text.
  heights = [max(part.shape[0] for part in row)
             + _LINE * max(len(tile.lines) for tile in tiles_of_row) + _GAP
             for row, tiles_of_row in zip(fitted, grid)]
  sheet = Image.new(
      "RGB", (columns * (tile_pixels + _GAP) + _GAP, sum(heights) + _GAP),
      _PAPER)
  pen = ImageDraw.Draw(sheet)
  top = _GAP
  for row, tiles_of_row, height in zip(fitted, grid, heights):
    text_top = top + max(part.shape[0] for part in row)
    for place, (part, tile) in enumerate(zip(row, tiles_of_row)):
      left = _GAP + place * (tile_pixels + _GAP)
      sheet.paste(Image.fromarray(part), (left, text_top - part.shape[0]))
      for number, line in enumerate(tile.lines):
        _write(pen, left, text_top + number * _LINE + 1,
               _cut(pen, line, tile_pixels), _INK)
    top += height
  return np.asarray(sheet)


def write_png(path, image):
  """Writes [H, W, 3] uint8 RGB as PNG, atomically.

  Args:
    path: of the file.
    image: [H, W, 3] uint8 RGB.

  Raises:
    errors.InputError: the place cannot be written.
  """
  with files.atomic_path(path) as temporary:
    Image.fromarray(np.asarray(image)).save(temporary, format="PNG")


def read(record_set, num_images, first=0):
  """Reads the pixels and proposals of consecutive records, with their truth.

  The converter shuffles records, so that any stretch is a fair sample.

  Args:
    record_set: a `records.RecordSet`.
    num_images: at most so many.
    first: position of the first in the split.

  Yields:
    (image [H, W, 3] uint8 RGB, proposals [N, 4], `records.LabelledImage`).

  Raises:
    errors.InputError: a record cannot be used.
  """
  with record_faults.named(record_set):
    yield from _read(record_set, num_images, first)


def _read(record_set, num_images, first):
  skip = first
  for path in record_set.paths:
    if num_images <= 0:
      return
    labelled = records.read_labelled_images(
        [path], len(record_set.classes))
    here = slice(skip, skip + num_images)
    stretch = tf.data.TFRecordDataset(path).skip(skip).take(num_images)
    for serialized, about in zip(stretch, labelled[here]):
      parsed = records.parse_for_training(serialized)
      image = tf.io.decode_jpeg(parsed["encoded"], channels=3)
      yield image.numpy(), parsed["proposals"].numpy(), about
      num_images -= 1
    skip = max(0, skip - len(labelled))


def read_at(record_set, positions):
  """Reads the pixels of chosen records.

  Args:
    record_set: a `records.RecordSet`.
    positions: of the records in the split, in any order.

  Returns:
    Dict of position to (image [H, W, 3] uint8 RGB, image id); positions beyond
    the split are left out.

  Raises:
    errors.InputError: a record cannot be used.
  """
  wanted, found = set(map(int, positions)), {}
  everything = tf.data.TFRecordDataset(list(record_set.paths))
  stretch = everything.take(max(wanted, default=-1) + 1)
  with record_faults.named(record_set):
    for position, serialized in enumerate(stretch):
      if position in wanted:
        parsed = records.parse_for_training(serialized)
        image = tf.io.decode_jpeg(parsed["encoded"], channels=3).numpy()
        found[position] = image, parsed["image_id"].numpy().decode("utf-8")
  return found


def detection_sheet(record_set, detections, *, num_images=12, most_boxes=5,
                    least_share=0.25, tile_pixels=320):
  """Detections beside the truth, on the first images of a split.

  Args:
    record_set: a `records.RecordSet`.
    detections: what was found in each record, in order: objects with
      `boxes` [K, 4], `class_ids` [K] and `scores` [K], best first.
    num_images: on the sheet.
    most_boxes: drawn on an image.
    least_share: of the image's best score that a drawn box has.
    tile_pixels: longer side of an image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  classes = record_set.classes
  tiles = []
  for found, (image, _, about) in zip(
      detections, read(record_set, num_images)):
    drawn = np.flatnonzero(
        found.scores >= least_share * np.max(found.scores, initial=0)
    )[:most_boxes]
    tiles.append(Tile(
        image,
        (truth_overlay(about.truth, classes),
         detection_overlay(found.boxes[drawn], found.class_ids[drawn],
                           found.scores[drawn], classes)),
        (_names(about, classes),)))
  return contact_sheet(tiles, tile_pixels=tile_pixels)


def record_sheet(record_set, *, num_images=12, num_proposals=20, first=0,
                 tile_pixels=320):
  """Records with labels, boxes and best proposals.

  Args:
    record_set: a `records.RecordSet`.
    num_images: on the sheet.
    num_proposals: drawn on each, the best.
    first: position of the first record in the split.
    tile_pixels: longer side of an image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  classes = record_set.classes
  tiles = [
      Tile(image, (proposal_overlay(proposals[:num_proposals]),
                   truth_overlay(about.truth, classes)),
           (_names(about, classes),
            f"{about.image_id}: {about.width} x {about.height}, "
            f"{len(proposals)} proposals"))
      for image, proposals, about in read(record_set, num_images, first)]
  return contact_sheet(tiles, tile_pixels=tile_pixels)


def _names(about, classes):
  """Labels of a `records.LabelledImage`; unknown ones in brackets."""
  names = [classes[i] for i in about.label_ids]
  names += [f"({classes[i]}?)" for i in about.unknown_label_ids]
  return ", ".join(names) or "no label"


def _rectangle(pen, corners, colour, overlay):
  left, top, right, bottom = (int(round(float(c))) for c in corners)
  right, bottom = max(right - 1, left), max(bottom - 1, top)
  if not overlay.dashed:
    pen.rectangle((left, top, right, bottom), outline=colour,
                  width=overlay.width)
    return
  # Black between the dashes: seen on any ground.
  pen.rectangle((left, top, right, bottom), outline=(0, 0, 0),
                width=overlay.width)
  wide = overlay.width - 1
  for x in range(left, right + 1, 12):
    end = min(x + 6, right)
    pen.rectangle((x, top, end, top + wide), fill=colour)
    pen.rectangle((x, bottom - wide, end, bottom), fill=colour)
  for y in range(top, bottom + 1, 12):
    end = min(y + 6, bottom)
    pen.rectangle((left, y, left + wide, end), fill=colour)
    pen.rectangle((right - wide, y, right, end), fill=colour)


def _label(pen, left, top, caption, colour, size):
  """Writes a caption above a box's corner, moved inside the picture."""
  caption = _cut(pen, caption, max(1, size[0] - 4))
  width = _length(pen, caption) + 4
  x = min(max(0, left), max(0, size[0] - width))
  y = top - _CAPTION if top >= _CAPTION else top
  pen.rectangle((x, y, x + width, y + _CAPTION), fill=colour)
  bright = np.dot(colour, (0.299, 0.587, 0.114)) > 140
  _write(pen, x + 2, y + 1, caption, _INK if bright else _PAPER)


def _write(pen, left, top, text, colour):
  """Writes a text, each part in a font that has it, on one base line."""
  base = top + _font(lettering.standard()).getmetrics()[0]
  for part, path in lettering.runs(text):
    pen.text((left, base), part, colour, _font(path), anchor="ls")
    left += pen.textlength(part, font=_font(path))


def _length(pen, text):
  return sum(pen.textlength(part, font=_font(path))
             for part, path in lettering.runs(text))


def _cut(pen, line, pixels):
  if _length(pen, line) <= pixels:
    return line
  line = line[:pixels]
  while line and _length(pen, line + "...") > pixels:
    line = line[:-1]
  return line + "..."


@functools.cache
def _font(path):
  return ImageFont.truetype(path, _FONT_PIXELS)
