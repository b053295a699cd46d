import math

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd.evaluation import precision_recall


def _voc07_by_loop(recall, precision):
  """VOC 2007's rule as its development kit writes it, levels made exact."""
  total = 0.0
  for tenths in range(11):
    reached = [p for r, p in zip(recall, precision)
               if round(r * 1e6) >= tenths * 10 ** 5]
    total += max(reached, default=0.0) / 11
  return total


def _area_by_loop(recall, precision):
  """VOC 2010's rule as its development kit writes it."""
  recall = [0.0, *recall, 1.0]
  precision = [0.0, *precision, 0.0]
  for i in reversed(range(len(precision) - 1)):
    precision[i] = max(precision[i], precision[i + 1])
  return sum((recall[i] - recall[i - 1]) * precision[i]
             for i in range(1, len(recall)) if recall[i] != recall[i - 1])


class PrecisionRecallTest(parameterized.TestCase):

  def test_worked_by_hand(self):
    # Ranks:      1    2    3    4    5
    # hit         yes  no   yes  yes  no     4 objects, one never found
    # precision   1    1/2  2/3  3/4  3/5
    # recall      1/4  1/4  2/4  3/4  3/4
    curve = precision_recall.from_hits([1, 0, 1, 1, 0], num_positives=4)
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 3 / 4, 3 / 5])
    np.testing.assert_allclose(curve.recall, [0.25, 0.25, 0.5, 0.75, 0.75])
    # Precision at each hit, over all objects.
    self.assertAlmostEqual(
        precision_recall.ap(curve), (1 + 2 / 3 + 3 / 4 + 0) / 4)
    # Best precision at recall >= 0, .1, .2: 1; .3 to .7: 3/4; .8, .9, 1: 0.
    self.assertAlmostEqual(
        precision_recall.voc07_ap(curve), (3 * 1 + 5 * 3 / 4 + 3 * 0) / 11)
    # Envelope: 1 up to recall 1/4, then 3/4 up to 3/4.
    self.assertAlmostEqual(
        precision_recall.area_ap(curve), 1 / 4 * 1 + 2 / 4 * 3 / 4)

  @parameterized.parameters(range(1, 21))
  def test_all_found_at_once_is_one(self, count):
    curve = precision_recall.from_hits([1] * count, num_positives=count)
    for average in (precision_recall.ap, precision_recall.voc07_ap,
                    precision_recall.area_ap):
      self.assertAlmostEqual(average(curve), 1.0)

  @parameterized.parameters(1, 2, 3, 6, 7, 9)
  def test_a_level_that_is_reached_exactly_counts(self, tenths):
    # Of 10 objects, `tenths` found at once: levels 0 to tenths / 10.
    curve = precision_recall.from_hits([1] * tenths, num_positives=10)
    self.assertAlmostEqual(precision_recall.voc07_ap(curve), (tenths + 1) / 11)

  @parameterized.parameters(range(20))
  def test_matches_loops_over_the_rules(self, seed):
    rng = np.random.default_rng(seed)
    hits = rng.random(rng.integers(1, 60)) < 0.4
    curve = precision_recall.from_hits(hits, int(hits.sum()) + seed % 4 + 1)
    self.assertAlmostEqual(
        precision_recall.voc07_ap(curve),
        _voc07_by_loop(curve.recall, curve.precision))
    self.assertAlmostEqual(
        precision_recall.area_ap(curve),
        _area_by_loop(curve.recall, curve.precision))

  def test_nothing_found_is_zero_and_nothing_to_find_is_nan(self):
    for average in (precision_recall.ap, precision_recall.voc07_ap,
                    precision_recall.area_ap):
      self.assertEqual(average(precision_recall.from_hits([], 3)), 0.0)
      self.assertEqual(average(precision_recall.from_hits([0, 0], 3)), 0.0)
      self.assertTrue(math.isnan(
          average(precision_recall.from_hits([0, 0], 0))))


if __name__ == "__main__":
  absltest.main()
