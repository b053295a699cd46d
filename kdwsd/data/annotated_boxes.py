"""Converts annotated boxes to fractions of the recorded image.

Boxes are used for evaluation only, so a faulty box never removes an image or
its labels. A box that extends beyond the image is clipped. A box without valid
coordinates, without area or outside the image is dropped. Both are counted.

An annotation may give another size than that of the file. Where height and
width differ by a common factor, the image was resized after it was annotated,
and its boxes are scaled. Otherwise the position of its boxes is unknown, and
all of them are dropped.

An image that loses all its boxes has unknown objects, like an image of a source
without boxes, because all detections in it would count as wrong. An image that
keeps some of them remains in the detection metrics.
"""

import dataclasses

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.data import images

# A box that extends less beyond its frame does so by rounding.
_ROUNDING_PIXELS = 0.5

# Conventions differ by a pixel or two. Boxes that extend further beyond the
# frame belong to another frame, so the factor to scale them by is not known.
_OTHER_CONVENTION_PIXELS = 2.0


@dataclasses.dataclass(frozen=True)
class Placed:
  """The objects of one image as recorded, and counts of the others.

  Attributes:
    boxes: [K, 4] float32 `kdwsd.boxes` fractions of the upright image; None
      where the objects are not known.
    kept: [K] indices into the `sources.Objects`.
    clipped: how many of `boxes` were clipped to the image.
    dropped: boxes that the source or this module dropped.
    scaled: how many of `boxes` were annotated at another size of the image.
    fault: message on the first fault; "" for none.
  """
  boxes: np.ndarray
  kept: np.ndarray
  clipped: int = 0
  dropped: int = 0
  scaled: int = 0
  fault: str = ""


def place(item, image):
  """Converts the boxes of an image to fractions of the upright image.

  The frame of an annotation is the upright image, or the image as stored if
  only that has the annotated size. Where height and width of an annotation are
  merely swapped, its coordinates are those of the image.

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
    (height, width) or None if unknown; whether the frame is the image as
    stored, before EXIF rotation; whether it is the image at another size.
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
  """Whether two sizes have one aspect ratio, up to rounding of the sides."""
  (height, width), (other_height, other_width) = sorted((first, second))
  return min(abs(height * other_width / other_height - width),
             abs(width * other_height / other_width - height)) < 1


def _outside(edges, frame, slack):
  """[M] whether a box extends beyond a frame by more than `slack` pixels."""
  limit = np.array([*frame] * 2, np.float32)                      # [4]
  return np.any((edges < -slack) | (edges > limit + slack), axis=1)


def _fault(item, what):
  return f"{item.where}: {item.image_path}: {what}"
