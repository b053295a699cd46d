"""Where annotated boxes lie in the image that is recorded.

Boxes serve evaluation only, so that a fault in one never costs an image or its
labels. A box that sticks out of the image is clipped; a box that has no area,
none within the image, or no valid coordinates is dropped. Both are counted.

An annotation may give the size of another image than the file is. Where the
two differ by a common factor, the image was resized after it was annotated, and
the boxes are scaled with it. Otherwise nothing says where the boxes lie, and
all of the image are dropped.

An image that loses its every box has unknown objects, like one whose source
has no boxes: detections in it would all count as wrong. An image that keeps
some stays in the metrics of boxes.
"""

import dataclasses

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.data import images

# A box that sticks out less is within its annotation's rounding.
_ROUNDING_PIXELS = 0.5

# Boxes that stick out of the frame further than another convention's pixel or
# two were not made for the frame, so the factor to scale them by is not known.
_OTHER_CONVENTION_PIXELS = 2.0


@dataclasses.dataclass(frozen=True)
class Placed:
  """The objects of one image as recorded, and what became of the others.

  Attributes:
    boxes: [K, 4] float32 `kdwsd.boxes` fractions of the upright image; None
      where the objects are not known.
    kept: [K] indices into the `sources.Objects`.
    clipped: boxes that stuck out of the image, among `boxes`.
    dropped: boxes left out, by the source or here.
    scaled: boxes of an annotation made for the image in another size, among
      `boxes`.
    fault: the first thing that was wrong, in words; "" for nothing.
  """
  boxes: np.ndarray
  kept: np.ndarray
  clipped: int = 0
  dropped: int = 0
  scaled: int = 0
  fault: str = ""


def place(item, image):
  """Brings the objects of an image into fractions of the upright image.

  The frame of an annotation is the upright image, or the image as stored where
  only that has the size the annotation gives. Where the annotation's height
  and width are merely exchanged, its pixels are those of the image.

  Args:
    item: a `sources.Item` with objects.
    image: an `images.DecodedImage`.

  Returns:
    A `Placed`.
  """
  objects = item.objects
  edges = objects.boxes                                           # [M, 4]
  if objects.fractions:
    edges = box_ops.to_pixels(edges, image.height, image.width)
  frame, turn, scale = _frame(objects, image)
  if frame is None:
    dropped = len(edges) + objects.dropped
    if not dropped:  # Nothing to place.
      return Placed(boxes=edges, kept=np.arange(0))
    return Placed(
        boxes=None, kept=np.arange(0), dropped=dropped,
        fault=_fault(item, f"annotated as {objects.frame[1]} x "
                     f"{objects.frame[0]} pixels, but {image.width} x "
                     f"{image.height}"))
  limit = np.array([*frame] * 2, np.float32)                      # [4]
  with np.errstate(invalid="ignore"):
    boxes = box_ops.clip(edges / limit)
    outside = _outside(edges, frame, _ROUNDING_PIXELS)            # [M]
  good = ((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
          & np.isfinite(edges).all(axis=1))                       # [M]
  kept = np.flatnonzero(good)
  dropped = len(good) - len(kept) + objects.dropped
  fault = objects.fault
  if not fault and np.any(outside | ~good):
    first = int(np.argmax(outside | ~good))
    fault = (f"object {first + 1} with edges ymin, xmin, ymax, xmax = "
             f"{edges[first].tolist()} in {frame[1]} x {frame[0]} pixels")
  if not fault and scale and len(kept):
    fault = (f"annotated as {frame[1]} x {frame[0]} pixels, but {image.width} "
             f"x {image.height}")
  if dropped and not len(kept):
    return Placed(boxes=None, kept=kept, dropped=dropped,
                  fault=_fault(item, fault))
  boxes = boxes[kept]
  if turn:
    boxes = images.turn_boxes(boxes, image.orientation)
  return Placed(
      boxes=box_ops.clip(boxes), kept=kept,
      clipped=int(np.sum(outside & good)), dropped=dropped,
      scaled=len(kept) if scale else 0, fault=fault and _fault(item, fault))


def _frame(objects, image):
  """The frame of the boxes, in pixels, and how it relates to the image.

  Returns:
    (height, width) or None if it cannot be told; whether the frame is the image
    as stored, to be turned upright; whether it is the image in another size.
  """
  upright = image.height, image.width
  stored = upright[::-1] if image.orientation in (5, 6, 7, 8) else upright
  frame = objects.frame or upright
  if frame == upright:
    return upright, False, False
  if frame == stored:
    return frame, True, False
  if frame[::-1] == upright:
    return upright, False, False
  fits = not _outside(objects.boxes, frame, _OTHER_CONVENTION_PIXELS).any()
  return frame if fits and _same_shape(frame, upright) else None, False, True


def _same_shape(first, second):
  """Whether two sizes are one image's, up to the rounding of its sides."""
  (height, width), (other_height, other_width) = sorted((first, second))
  return min(abs(height * other_width / other_height - width),
             abs(width * other_height / other_width - height)) < 1


def _outside(edges, frame, slack):
  """[M] whether a box sticks out of a frame by more than `slack` pixels."""
  limit = np.array([*frame] * 2, np.float32)                      # [4]
  return np.any((edges < -slack) | (edges > limit + slack), axis=1)


def _fault(item, what):
  return f"{item.where}: {item.image_path}: {what}"
