"""The prediction of one image as data, as text and as a picture."""

import dataclasses

import numpy as np

from kdwsd import boxes as box_ops
from kdwsd.evaluation import contact_sheets
from kdwsd.evaluation import detection
from kdwsd.evaluation import lettering
from kdwsd.evaluation import pictures

# Minimum and maximum of a picture's longer side; others are resized.
_LEAST_PIXELS, _MOST_PIXELS = 320, 800


@dataclasses.dataclass(frozen=True)
class Choice:
  """Selects which classes and boxes are reported.

  Attributes:
    top_k: maximum number of classes; 0 for all.
    threshold: minimum probability of a class.
    max_boxes: maximum number of boxes per reported class.
    box_share: minimum score of a box, as a fraction of its class's best score.
    box_threshold: minimum score of a box.
    nms_iou: IoU above which non-maximum suppression removes a box.
  """
  top_k: int = 5
  threshold: float = 0.1
  max_boxes: int = 3
  box_share: float = 0.25
  box_threshold: float = 0.05
  nms_iou: float = 0.4


def make(path, image, scores, classes, choice):
  """Selects the reported classes and boxes of an image.

  Args:
    path: path of the image.
    image: an `images.DecodedImage`.
    scores: object with `probabilities` [C], `boxes` [N, 4] and
      `proposal_scores` [N, C]; the last two are None for a classifier.
    classes: C names.
    choice: a `Choice`.

  Returns:
    JSON-serializable dict: `image`, `width`, `height`, `predictions`, a list
    of `class` and `probability`, best first; for a detector also `boxes`, a
    list of `class`, `score`, `ymin`, `xmin`, `ymax`, `xmax`, in pixels of the
    upright image, in the order of the reported classes and best first.
  """
  order = _best(scores.probabilities, choice)
  answer = {
      "image": path, "width": image.width, "height": image.height,
      "predictions": [
          {"class": classes[i], "probability": _round(scores.probabilities[i])}
          for i in order]}
  if scores.proposal_scores is not None:
    answer["boxes"] = _boxes(image, scores, classes, order, choice)
  return answer


def as_text(answer, choice):
  """An answer as lines for the terminal."""
  width = max((lettering.columns(p["class"]) for p in answer["predictions"]),
              default=0)
  lines = [answer["image"]]
  if not answer["predictions"]:
    lines.append(f"  {_none(choice)}")
  for prediction in answer["predictions"]:
    name = prediction["class"]
    padded = lettering.padded(name, width)
    lines.append(f"  {padded}  {prediction['probability']:.3f}")
    for box in answer.get("boxes", ()):
      if box["class"] == name:
        lines.append(
            f"  {'':<{width}}    box {box['score']:.3f}, "
            f"x {box['xmin']:.0f} to {box['xmax']:.0f}, "
            f"y {box['ymin']:.0f} to {box['ymax']:.0f}")
  return "\n".join(lines)


def draw(answer, image, classes, choice):
  """Draws an answer: boxes on the image, class names below it.

  Args:
    answer: from `make`.
    image: the `images.DecodedImage`.
    classes: C names.
    choice: the `Choice`.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  found = answer.get("boxes", ())
  corners = [[box[edge] for edge in ("ymin", "xmin", "ymax", "xmax")]
             for box in found]
  sides = np.array([image.height, image.width] * 2, np.float32)
  best = sorted(range(len(found)), key=lambda k: -found[k]["score"])
  overlay = pictures.detection_overlay(
      (np.reshape(corners, [-1, 4]) / sides)[best],
      [classes.index(found[k]["class"]) for k in best],
      [found[k]["score"] for k in best], classes)
  lines = tuple(f"{p['class']}  {p['probability']:.2f}"
                for p in answer["predictions"]) or (_none(choice),)
  longer = max(image.height, image.width)
  return contact_sheets.contact_sheet(
      [contact_sheets.Tile(image.pixels, (overlay,), lines)],
      tile_pixels=min(max(longer, _LEAST_PIXELS), _MOST_PIXELS))


def _none(choice):
  return f"no class with probability >= {choice.threshold:g}"


def _best(probabilities, choice):
  order = np.argsort(-probabilities, kind="stable")
  order = order[:choice.top_k] if choice.top_k else order
  return [int(i) for i in order if probabilities[i] >= choice.threshold]


def _boxes(image, scores, classes, named, choice):
  reported = []
  for class_id in named:
    found = detection.detect(
        scores.boxes, scores.proposal_scores[:, [class_id]],
        nms_iou=choice.nms_iou)
    least = max(choice.box_threshold,
                choice.box_share * np.max(found.scores, initial=0))
    keep = np.flatnonzero(found.scores >= least)[:choice.max_boxes]
    pixels = box_ops.to_pixels(found.boxes[keep], image.height, image.width)
    for score, edges in zip(found.scores[keep], pixels):
      reported.append({
          "class": classes[class_id], "score": _round(score),
          **{edge: round(float(value), 1) for edge, value in zip(
              ("ymin", "xmin", "ymax", "xmax"), edges)}})
  return reported


def _round(value):
  """Rounds to six significant digits, the precision of float32."""
  return float(f"{float(value):.6g}")
