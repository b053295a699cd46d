"""What is told of an image, on scores written by hand."""

import json
import types

import numpy as np

from kdwsd.data import images
from kdwsd.evaluation import answers

_CLASSES = ("cat", "dog", "emu", "fox")
_IMAGE = images.DecodedImage(
    np.full([100, 200, 3], 90, np.uint8), b"", orientation=1)


def _scores(probabilities, boxes=None, proposal_scores=None):
  return types.SimpleNamespace(
      probabilities=np.array(probabilities, np.float32),
      boxes=None if boxes is None else np.array(boxes, np.float32),
      proposal_scores=None if proposal_scores is None
      else np.array(proposal_scores, np.float32))


def _make(scores, **choice):
  return answers.make(
      "a.jpg", _IMAGE, scores, _CLASSES, answers.Choice(**choice))


def test_classes_come_best_first_and_bounded():
  scores = _scores([0.2, 0.9, 0.05, 0.5])
  told = _make(scores)
  assert told == {
      "image": "a.jpg", "width": 200, "height": 100, "predictions": [
          {"class": "dog", "probability": 0.9},
          {"class": "fox", "probability": 0.5},
          {"class": "cat", "probability": 0.2}]}
  assert len(_make(scores, top_k=1)["predictions"]) == 1
  assert len(_make(scores, top_k=0, threshold=0)["predictions"]) == 4
  # 0.5 is exact in float32: a threshold belongs to what it lets through.
  assert len(_make(scores, threshold=0.5)["predictions"]) == 2
  assert json.loads(json.dumps(told)) == told


def test_nothing_above_the_threshold_is_said():
  told = _make(_scores([0.01] * 4))
  assert told["predictions"] == []
  assert answers.as_text(told, answers.Choice()) == (
      "a.jpg\n  no class with probability >= 0.1")


def test_boxes_are_those_of_the_classes_named_after_suppression():
  boxes = [[0, 0, 0.5, 0.5], [0, 0, 0.5, 0.45], [0.5, 0.5, 1, 1],
           [0.2, 0.6, 0.4, 0.8]]
  told = _make(_scores(
      [0.0, 0.9, 0.02, 0.0], boxes,
      # dog: the second overlaps the first by 0.9, the fourth is too weak.
      [[0, .5, .4, 0], [0, .4, .4, 0], [0, .2, .4, 0], [0, .1, .4, 0]]))
  assert told["boxes"] == [
      {"class": "dog", "score": 0.5,
       "ymin": 0.0, "xmin": 0.0, "ymax": 50.0, "xmax": 100.0},
      {"class": "dog", "score": 0.2,
       "ymin": 50.0, "xmin": 100.0, "ymax": 100.0, "xmax": 200.0}]
  text = answers.as_text(told, answers.Choice())
  assert "box 0.500, x 0 to 100, y 0 to 50" in text
  assert text.index("dog") < text.index("box 0.500") < text.index("box 0.200")
  several = _scores([0, 1, 0, 0], boxes,
                    [[0, .5, 0, 0], [0, .4, 0, 0], [0, .2, 0, 0],
                     [0, .1, 0, 0]])
  assert len(_make(several, box_share=0, nms_iou=1)["boxes"]) == 3
  assert len(_make(several, box_share=0, nms_iou=1,
                   max_boxes=9)["boxes"]) == 4
  assert len(_make(several, box_threshold=0.3)["boxes"]) == 1
  assert _make(several, max_boxes=0)["boxes"] == []


def test_picture_has_the_box_in_its_colour_and_text_below():
  told = _make(_scores([0, 0.9, 0, 0], [[0.2, 0.1, 0.8, 0.6]], [[0, 1, 0, 0]]))
  picture = answers.draw(told, _IMAGE, _CLASSES, answers.Choice())
  # 200 pixels wide is enlarged to 320: 160 rows of image, then the text.
  grey = np.all(picture == 90, axis=-1)
  assert np.ptp(np.flatnonzero(grey.any(axis=0))) + 1 == 320
  coloured = np.all(picture == (238, 102, 119), axis=-1)
  rows, columns = np.nonzero(coloured)
  assert abs(rows.max() - (8 + 0.8 * 160)) <= 1
  assert abs(columns.max() - (8 + 0.6 * 320)) <= 1
  below = picture[8 + 160:]
  assert (below < 100).any()
  bare = answers.draw(_make(_scores([0.0] * 4)), _IMAGE, _CLASSES,
                      answers.Choice())
  assert not np.all(bare == (238, 102, 119), axis=-1).any()
