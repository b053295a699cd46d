"""Pictures of records: labels, ground truth, proposals and detections."""

import numpy as np
import tensorflow as tf

from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import tuning
from kdwsd.evaluation import contact_sheets

# P. Tol's "bright" colour-blind safe scheme, without grey and with yellow last.
_COLOURS = ((68, 119, 170), (238, 102, 119), (34, 136, 51), (170, 51, 119),
            (102, 204, 238), (204, 187, 68))
_TRUTH = (255, 255, 255)
_MOST_NAMED = 20  # Unknown labels of an image; there may be thousands.
_BEST, _WORST = np.array((255, 96, 0)), np.array((70, 110, 255))


def class_colour(class_id):
  """Colour of a class, RGB in 0..255; repeats after six classes."""
  return _COLOURS[class_id % len(_COLOURS)]


def truth_overlay(truth, classes):
  """Overlay of annotated objects: dashed white, with class names.

  Args:
    truth: a `records.Truth`, or None for no boxes.
    classes: C names.

  Returns:
    `contact_sheets.Overlay`.
  """
  if truth is None:
    return contact_sheets.Overlay(np.zeros([0, 4]), (), ())
  names = tuple(
      classes[class_id] + (" difficult" if difficult else "")
      + (" crowd" if crowd else "")
      for class_id, difficult, crowd in zip(
          truth.class_ids, truth.difficult, truth.crowd))
  return contact_sheets.Overlay(
      truth.boxes, (_TRUTH,) * len(names), names, dashed=True)


def proposal_overlay(boxes):
  """Overlay of proposals, from orange (best) to blue, the best on top.

  Args:
    boxes: [N, 4], best first.

  Returns:
    `contact_sheets.Overlay`.
  """
  boxes = np.asarray(boxes).reshape(-1, 4)
  share = np.linspace(0, 1, max(len(boxes), 2))[:len(boxes), np.newaxis]
  colours = np.rint(_BEST + share * (_WORST - _BEST)).astype(int)  # [N, 3]
  return contact_sheets.Overlay(
      boxes[::-1], tuple(map(tuple, colours[::-1].tolist())),
      ("",) * len(boxes), width=1)


def detection_overlay(boxes, class_ids, scores, classes):
  """Overlay of detections in their class colours, with names and scores.

  Args:
    boxes: [K, 4], best first.
    class_ids: [K].
    scores: [K].
    classes: C names.

  Returns:
    `contact_sheets.Overlay`.
  """
  order = list(range(len(class_ids)))[::-1]
  return contact_sheets.Overlay(
      np.asarray(boxes).reshape(-1, 4)[order],
      tuple(class_colour(class_ids[k]) for k in order),
      tuple(f"{classes[class_ids[k]]} {scores[k]:.2f}" for k in order),
      width=3)


def read(record_set, positions):
  """Reads pixels, proposals and ground truth of records.

  The converter shuffles records, so that any range is a fair sample.

  Args:
    record_set: a `record_files.RecordSet`.
    positions: positions of the records in the split, in any order; those
      beyond the split are ignored.

  Yields:
    (position, image [H, W, 3] uint8 RGB, proposals [N, 4],
    `records.LabelledImage`), in the order of the split.

  Raises:
    errors.InputError: a record is invalid.
  """
  wanted, num_classes = set(positions), len(record_set.classes)
  if not wanted:
    return
  first, last = min(wanted), max(wanted)
  stretch = tuning.untuned(
      tf.data.TFRecordDataset(list(record_set.paths)).skip(first))
  with record_files.naming_faults(record_set):
    for position, serialized in enumerate(
        stretch.take(last - first + 1), first):
      if position in wanted:
        parsed = records.parse(serialized, records.FEATURES, num_classes)
        parsed = {key: value.numpy() for key, value in parsed.items()}
        image = tf.io.decode_jpeg(parsed["image/encoded"], channels=3)
        yield (position, image.numpy(),
               parsed["proposals/boxes"].reshape(-1, 4),
               records.labelled_image(parsed))


def detection_sheet(record_set, detections, *, num_images=12, most_boxes=5,
                    least_share=0.25, tile_pixels=320):
  """Draws detections and ground truth on the first images of a split.

  Args:
    record_set: a `record_files.RecordSet`.
    detections: detections of each record, in order: objects with `boxes`
      [K, 4], `class_ids` [K] and `scores` [K], best first.
    num_images: number of images on the sheet.
    most_boxes: maximum number of boxes drawn per image.
    least_share: minimum score of a drawn box, as a fraction of the image's best
      score.
    tile_pixels: longer side of an image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  classes = record_set.classes
  tiles = []
  for found, (_, image, _, about) in zip(
      detections, read(record_set, range(num_images))):
    drawn = np.flatnonzero(
        found.scores >= least_share * np.max(found.scores, initial=0)
    )[:most_boxes]
    tiles.append(contact_sheets.Tile(
        image,
        (truth_overlay(about.truth, classes),
         detection_overlay(found.boxes[drawn], found.class_ids[drawn],
                           found.scores[drawn], classes)),
        (_names(about, classes),)))
  return contact_sheets.contact_sheet(tiles, tile_pixels=tile_pixels)


def record_sheet(record_set, *, num_images=12, num_proposals=20, first=0,
                 tile_pixels=320):
  """Draws records with their labels, ground truth and best proposals.

  Args:
    record_set: a `record_files.RecordSet`.
    num_images: number of images on the sheet.
    num_proposals: number of proposals drawn per image, best first.
    first: position of the first record in the split.
    tile_pixels: longer side of an image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  classes = record_set.classes
  tiles = [
      contact_sheets.Tile(image, (proposal_overlay(proposals[:num_proposals]),
                   truth_overlay(about.truth, classes)),
           (_names(about, classes),
            f"{about.image_id}: {about.width} x {about.height}, "
            f"{len(proposals)} proposals"))
      for _, image, proposals, about in read(
          record_set, range(first, first + num_images))]
  return contact_sheets.contact_sheet(tiles, tile_pixels=tile_pixels)


def localization_sheet(counts, record_set, *, columns=4, tile_pixels=240):
  """Draws what a detector's best boxes are: a row for each kind.

  The detector's box is orange, the proposal that hits an object of the class
  best is blue, and the objects of the class are dashed.

  Args:
    counts: a `localization.CorLoc` of the split.
    record_set: a `record_files.RecordSet`.
    columns: images in a row.
    tile_pixels: longer side of an image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  classes = record_set.classes
  rows = [examples[:columns] for examples in counts.examples.values()
          if examples]
  found = {position: (image, about) for position, image, _, about in read(
      record_set, [one.position for row in rows for one in row])}

  def tile(one):
    image, about = found[one.position]
    objects = about.truth.boxes[about.truth.class_ids == one.class_id]
    return contact_sheets.Tile(image, (
        contact_sheets.Overlay(objects, (_TRUTH,) * len(objects),
                               ("",) * len(objects), dashed=True),
        contact_sheets.Overlay(
            np.stack([one.best_proposal, one.box]),
            (tuple(_WORST.tolist()), tuple(_BEST.tolist())), ("", ""),
            width=3)), (
                f"{one.kind}: {classes[one.class_id]}",
                f"IoU {one.iou:.2f}, best proposal {one.best_iou:.2f}"))

  blank = contact_sheets.Tile(np.full([1, 1, 3], 255, np.uint8))
  return contact_sheets.contact_sheet(
      [one for row in rows for one in
       [*map(tile, row), *[blank] * (columns - len(row))]],
      columns=columns, tile_pixels=tile_pixels)


def _names(about, classes):
  """Label names of a `records.LabelledImage`; unknown ones in brackets."""
  names = [classes[i] for i in about.label_ids]
  names += [f"({classes[i]}?)" for i in about.unknown_label_ids[:_MOST_NAMED]]
  more = len(about.unknown_label_ids) - _MOST_NAMED
  return ", ".join(names + [f"{more} more"] * (more > 0)) or "no label"
