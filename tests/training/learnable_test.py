"""Tests of kdwsd.training.learnable and kdwsd.data.label_counts."""

from unittest import mock

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.data import label_counts
from kdwsd.data import record_files
from kdwsd.training import learnable


def _split(counts, num_images=10, unknown=None):
  """A split by its card alone; `counts` are images by class."""
  card = {"classes": list(counts), "num_images": num_images,
          "images_per_class": counts, "unknown_per_class": unknown or {}}
  return record_files.RecordSet("data", "train", (), card)


def _warnings(stage, record_set):
  label_counts.warn.cache_clear()
  with mock.patch.object(label_counts.logging, "warning") as warned:
    learnable.check(stage, record_set)
  return [call[0][0] % call[0][1:] for call in warned.call_args_list]


@pytest.mark.parametrize("positive", [0, 4, 10])
def test_one_class_is_refused_for_the_teacher(positive):
  with pytest.raises(errors.InputError) as caught:
    learnable.check("wsd", _split({"cat": positive}))
  told = str(caught.value)
  assert told.startswith("data/train.json: expected two classes or more")
  assert "Received: cat. Train --stage=cls, or" in told
  assert "\n" not in told


def test_one_class_is_for_a_classifier_to_learn():
  assert _warnings("cls", _split({"cat": 4})) == []


def test_two_classes_with_images_of_both_kinds_say_nothing():
  split = _split({"a": 1, "b": 9})
  for stage in ("wsd", "cls", "kd_feature", "kd_prediction"):
    assert _warnings(stage, split) == []


def test_classes_without_positive_or_negative_images_are_named():
  split = _split({"a": 0, "b": 10, "c": 8, "d": 3}, unknown={"c": 2})
  assert _warnings("wsd", split) == [
      "data/train.json: 1 of 4 classes have no positive image and will be "
      "never predicted: a.",
      "data/train.json: 2 of 4 classes have no negative image and will be "
      "predicted for every image: b, c."]
  assert _warnings("kd_feature", split) == []  # It learns from no label.


def test_of_many_classes_the_first_are_named():
  told, = _warnings("cls", _split(
      {f"c{n}": int(n >= 1000) for n in range(1203)}))
  assert "1000 of 1203 classes have no positive image" in told
  assert told.endswith(": c0, c1, c2, c3, c4 and 995 more.")


def test_no_label_at_all_is_refused():
  split = _split({"a": 0, "b": 0})
  for stage in ("wsd", "cls", "kd_prediction"):
    with pytest.raises(errors.InputError, match=(
        "expected images with labels to train on. Received: none in 10 im")):
      learnable.check(stage, split)
  learnable.check("kd_feature", split)


def test_each_line_is_told_once():
  split = _split({"a": 0, "b": 5})
  label_counts.warn.cache_clear()
  with mock.patch.object(label_counts.logging, "warning") as warned:
    for stage in ("wsd", "cls", "kd_prediction"):
      learnable.check(stage, split)
  assert warned.call_count == 1


@pytest.mark.parametrize("card", [
    {}, {"images_per_class": None}, {"images_per_class": [1, 2]},
    {"images_per_class": {"a": 1}}, {"images_per_class": {"a": 1, "b": "2"}},
    {"images_per_class": {"a": 1, "b": 2}, "unknown_per_class": [3]},
    {"images_per_class": {"a": -1, "b": 2}}])
def test_card_without_counts_says_nothing(card):
  record_set = record_files.RecordSet("data", "train", (), {
      "classes": ["a", "b"], "num_images": 3, **card})
  assert label_counts.read(record_set) is None
  learnable.check("wsd", record_set)


def test_counts_are_of_known_labels():
  counts = label_counts.read(_split({"a": 2, "b": 0}, unknown={"a": 3}))
  np.testing.assert_array_equal(counts.positive, [2, 0])
  np.testing.assert_array_equal(counts.negative, [5, 10])
  assert counts.num_objects is None


@pytest.mark.parametrize("received, told", [
    ("abx", "3 classes, of which number 3 is x, not c"),
    ("bac", "3 classes, of which number 1 is b, not a"),
    ("ab", "2 classes, a, b"), ("abcdefgh", "8 classes, a, b, c, d, e and 3 m"),
])
def test_classes_that_differ_are_told_by_the_first(received, told):
  assert label_counts.difference(("a", "b", "c"), tuple(received)).startswith(
      told)
