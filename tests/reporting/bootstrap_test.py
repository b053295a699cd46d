"""Intervals of differences in mAP, against plain repetition of the images."""

import numpy as np
import pytest

from kdwsd.evaluation import classification
from kdwsd.evaluation import precision_recall
from kdwsd.reporting import bootstrap


def _map(labels, scores):
  curves = classification.curves(labels > 0, labels >= 0, scores)
  values = [precision_recall.ap(curve) for curve in curves]
  return np.nanmean(values)


def test_average_precision_is_that_of_the_repeated_images():
  random = np.random.RandomState(0)
  truth = random.uniform(size=40) < 0.3
  scores = np.round(random.uniform(size=40), 1)  # With ties.
  times = random.randint(0, 4, size=[7, 40])
  times[3, truth] = 0
  found = bootstrap.weighted_ap(truth, scores, times)
  for row, value in zip(times, found):
    repeated = np.repeat(np.arange(40), row)
    curve, = classification.curves(
        truth[repeated, None], np.ones([len(repeated), 1], bool),
        scores[repeated, None])
    np.testing.assert_allclose(value, precision_recall.ap(curve), rtol=1e-12)
  assert np.isnan(found[3])


def test_differences_are_those_of_samples_of_the_images():
  random = np.random.RandomState(1)
  labels = random.randint(-1, 2, size=[30, 3])
  one, two, three = (random.uniform(size=[30, 3]) for _ in range(3))
  found = bootstrap.differences(labels, [(one, two), (one, three)], seed=5)
  assert len(found) == bootstrap.num_samples(30, 3) == 1000
  generator = np.random.default_rng(5)
  for value in found[:5]:
    rows = generator.integers(30, size=30)
    before, *after = (_map(labels[rows], scores[rows])
                      for scores in (one, two, three))
    np.testing.assert_allclose(value, np.mean(after) - before, rtol=1e-9)


def test_the_interval_covers_the_true_gain_about_as_often_as_it_says():
  # Scores of known quality: the true difference is that of many images.
  def draw(random, count):
    labels = (random.uniform(size=[count, 2]) < 0.3).astype(int)
    noise = random.normal(size=[count, 2])
    return labels, [(labels + 1.5 * noise + random.normal(size=[count, 2]),
                     labels + 1.2 * noise)]

  random = np.random.RandomState(0)
  labels, pairs = draw(random, 100000)
  (before, after), = pairs
  truth = _map(labels, after) - _map(labels, before)
  covered = 0
  for _ in range(30):
    low, high = bootstrap.interval(
        bootstrap.differences(*draw(random, 80)))
    covered += low <= truth <= high
    assert -1 < low < high < 1
  assert covered >= 25


@pytest.mark.parametrize("images, classes, expected", [
    (100, 20, 1000), (40137, 80, 200), (5000, 100, 400), (0, 3, 1000)])
def test_large_splits_get_fewer_samples(images, classes, expected):
  assert bootstrap.num_samples(images, classes) == expected


def test_samples_without_any_positive_image_have_no_difference():
  labels = np.array([[1], [0], [0]])
  scores = np.array([[0.9], [0.5], [0.1]])
  found = bootstrap.differences(labels, [(scores, scores)])
  assert np.isnan(found).any()
  assert bootstrap.interval(found) == (0.0, 0.0)
