"""Tests of kdwsd.evaluation.measurable."""

from unittest import mock

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.data import label_counts
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import measurable
from kdwsd.evaluation import metrics
from kdwsd.evaluation import summary


def _split(counts, num_objects=None):
  return record_files.RecordSet("data", "test", (), {
      "classes": list(counts), "num_images": 10, "images_per_class": counts,
      "num_objects": num_objects})


def _told(record_set, detector):
  label_counts.warn.cache_clear()
  with mock.patch.object(label_counts.logging, "warning") as warned:
    measurable.log_limits(record_set, detector=detector)
  return [call[0][0] % call[0][1:] for call in warned.call_args_list]


@pytest.mark.parametrize("detector", [False, True])
def test_figures_are_those_that_a_measurement_gives(detector):
  """Against `metrics.score`, on 20 images that have and detect all classes."""
  random = np.random.RandomState(0)
  truth = records.Truth(np.array([[0, 0, 1, 1]] * 2, np.float32),
                        np.arange(2), np.zeros(2, bool), np.zeros(2, bool))
  images = [records.LabelledImage(
      str(n), 10, 10, np.arange(2), np.zeros(0, np.int64), truth)
            for n in range(20)]
  found = [detection.detect([[0, 0, 1, 1]], random.uniform(size=[1, 2]))
           for _ in images] if detector else None
  measured = metrics.score(metrics.Results(
      images, random.uniform(size=[20, 2]).astype(np.float32), found, None))
  assert sorted(measurable.figures(detector=detector)) == sorted(
      summary.figures(measured))


@pytest.mark.parametrize("name", [
    "classification/mpa", "map", "", "corloc/corloc", "detection/map"])
def test_unknown_figure_is_told_with_the_known(name):
  with pytest.raises(errors.InputError) as caught:
    measurable.check_figure(name, _split({"a": 3, "b": 4}), detector=False)
  assert "--best_figure: expected one of classification/map, " in str(
      caught.value)
  assert f"Received: {name!r}." in str(caught.value)


@pytest.mark.parametrize("name, counts, num_objects, lacks", [
    ("classification/map", {"a": 0, "b": 0}, 7, "images with labels"),
    ("classification/all/C-F1", {"a": 0, "b": 0}, 7, "images with labels"),
    ("detection/voc07_map", {"a": 3, "b": 4}, None, "boxes"),
    ("detection/voc07_map", {"a": 3, "b": 4}, 0, "boxes"),
    ("classification/map_frequent", {"a": 3, "b": 19}, 7,
     "a class with 20 images or more")])
def test_split_that_cannot_give_the_figure_is_refused(
    name, counts, num_objects, lacks):
  with pytest.raises(errors.InputError) as caught:
    measurable.check_figure(name, _split(counts, num_objects), detector=True)
  assert str(caught.value).startswith(f"data/test.json: expected {lacks}")
  assert "--eval_split=''." in str(caught.value)


@pytest.mark.parametrize("name, counts, num_objects", [
    ("classification/map", {"a": 1, "b": 0}, None),
    ("classification/voc07_map_frequent", {"a": 20, "b": 0}, None),
    ("detection/map", {"a": 1, "b": 0}, 1)])
def test_split_that_gives_the_figure_passes(name, counts, num_objects):
  measurable.check_figure(name, _split(counts, num_objects), detector=True)


def test_card_without_counts_passes():
  record_set = record_files.RecordSet("data", "test", (), {
      "classes": ["a", "b"], "num_images": 3})
  measurable.check_figure("detection/map", record_set, detector=True)
  assert _told(record_set, True) == []


def test_what_is_left_out_is_told():
  assert _told(_split({"a": 1, "b": 0, "c": 0}, 5), True) == [
      "data/test.json: 2 of 3 classes have no positive image and are excluded "
      "from the means: b, c."]
  assert _told(_split({"a": 0, "b": 0}), True) == [
      "data/test.json: no image has a label: classification is not measured.",
      "data/test.json: no boxes: detection is not measured."]
  assert _told(_split({"a": 1, "b": 1}), False) == []
