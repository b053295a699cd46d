from unittest import mock

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from sklearn import metrics as sklearn_metrics

from kdwsd.evaluation import classification
from kdwsd.evaluation import precision_recall
from tests.evaluation import fakes


def _random_split(seed, num_images=40, num_classes=5, digits=2):
  rng = np.random.default_rng(seed)
  labels = rng.random([num_images, num_classes]) < 0.3
  labels[0] = True
  scores = np.round(rng.random(labels.shape) * 0.7 + labels * 0.3, digits)
  return labels, np.ones_like(labels), scores.astype(np.float32)


class LabelsTest(absltest.TestCase):

  def test_unknown_labels_are_neither_present_nor_absent(self):
    images = [fakes.image([[0, 0, 1, 1]], [2], unknown=[0]),
              fakes.image([], [])]
    labels, known = classification.label_arrays(images, num_classes=3)
    self.assertEqual(labels.tolist(), [[False, False, True], [False] * 3])
    self.assertEqual(known.tolist(), [[False, True, True], [True] * 3])


class CurvesTest(parameterized.TestCase):

  @parameterized.parameters((0, 1), (1, 1), (2, 2), (3, 8))
  def test_ap_is_scikit_learns(self, seed, digits):
    labels, known, scores = _random_split(seed, digits=digits)
    curves = classification.curves(labels, known, scores)
    for class_id, curve in enumerate(curves):
      self.assertAlmostEqual(
          precision_recall.ap(curve),
          sklearn_metrics.average_precision_score(
              labels[:, class_id], scores[:, class_id]))

  def test_order_of_images_does_not_matter_even_with_ties(self):
    labels, known, scores = _random_split(5, digits=1)
    order = np.random.default_rng(0).permutation(len(labels))
    for one, other in zip(
        classification.curves(labels, known, scores),
        classification.curves(labels[order], known[order], scores[order])):
      np.testing.assert_array_equal(one.precision, other.precision)
      self.assertEqual(precision_recall.voc07_ap(one),
                       precision_recall.voc07_ap(other))

  def test_unknown_labels_are_left_out(self):
    labels, known, scores = _random_split(6)
    known[3:20, 1] = False
    curve = classification.curves(labels, known, scores)[1]
    rows = known[:, 1]
    self.assertAlmostEqual(
        precision_recall.ap(curve),
        sklearn_metrics.average_precision_score(
            labels[rows, 1], scores[rows, 1]))

  def test_saturated_scores_give_the_share_of_positives(self):
    labels, known, scores = _random_split(7)
    for curve, column in zip(
        classification.curves(labels, known, np.ones_like(scores)), labels.T):
      self.assertAlmostEqual(precision_recall.ap(curve), column.mean())


class PrecisionRecallF1Test(parameterized.TestCase):

  def test_worked_by_hand(self):
    labels = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 0], [0, 1, 0]], bool)
    chosen = np.array([[1, 0, 1], [1, 1, 0], [0, 1, 0], [0, 1, 0]], bool)
    # Class 0: 2 right of 2 given, 3 present: P 1, R 2/3, F1 4/5.
    # Class 1: 1 right of 3 given, 2 present: P 1/3, R 1/2, F1 2/5.
    # Class 2: never present: in no mean over classes; its 1 given label is
    # wrong and counts in O-P.
    figures = classification.precision_recall_f1(
        labels, np.ones_like(labels), chosen)
    precision, recall = (1 + 1 / 3) / 2, (2 / 3 + 1 / 2) / 2
    self.assertAlmostEqual(figures["C-P"], precision)
    self.assertAlmostEqual(figures["C-R"], recall)
    self.assertAlmostEqual(
        figures["C-F1"], 2 * precision * recall / (precision + recall))
    self.assertAlmostEqual(figures["C-F1_mean"], (4 / 5 + 2 / 5) / 2)
    self.assertAlmostEqual(figures["O-P"], 3 / 6)
    self.assertAlmostEqual(figures["O-R"], 3 / 5)
    self.assertAlmostEqual(figures["O-F1"], 2 * 3 / (6 + 5))

  def test_unknown_labels_count_nowhere(self):
    labels = np.array([[1, 0], [1, 1]], bool)
    known = np.array([[1, 0], [1, 1]], bool)
    chosen = np.array([[1, 1], [1, 1]], bool)  # The wrong one is unknown.
    figures = classification.precision_recall_f1(labels, known, chosen)
    self.assertEqual(set(figures.values()), {1.0})

  @parameterized.parameters(range(4))
  def test_is_scikit_learns(self, seed):
    labels, known, scores = _random_split(seed)
    chosen = classification.at_threshold(scores)
    figures = classification.precision_recall_f1(labels, known, chosen)
    for names, average in ((("C-P", "C-R", "C-F1_mean"), "macro"),
                           (("O-P", "O-R", "O-F1"), "micro")):
      expected = sklearn_metrics.precision_recall_fscore_support(
          labels, chosen, average=average, zero_division=0)
      np.testing.assert_allclose([figures[n] for n in names], expected[:3])

  def test_nothing_given_is_zero_and_nothing_present_is_nan(self):
    none = np.zeros([2, 2], bool)
    known = ~none
    self.assertEqual(set(classification.precision_recall_f1(
        known, known, none).values()), {0.0})
    self.assertTrue(np.isnan(list(classification.precision_recall_f1(
        none, known, known).values())).all())


class ChoiceTest(absltest.TestCase):

  def test_top_k_gives_k_labels_whatever_their_score(self):
    chosen = classification.top_k([[.1, .2, .3, .0], [.5, .5, .5, .5]], k=3)
    self.assertEqual(chosen.astype(int).tolist(), [[1, 1, 1, 0]] * 2)

  def test_top_k_in_parts_is_top_k(self):
    scores = np.round(np.random.default_rng(0).random([7, 9]), 1)
    expected = classification.top_k(scores)
    self.assertEqual(expected.sum(), 7 * 3)
    with mock.patch.object(classification, "_IMAGES", 3):
      np.testing.assert_array_equal(classification.top_k(scores), expected)

  def test_top_k_of_fewer_classes_is_all(self):
    self.assertTrue(classification.top_k([[.1, .2]], k=3).all())

  def test_threshold_is_included(self):
    self.assertEqual(
        classification.at_threshold([[.5, .4999]]).tolist(), [[True, False]])


if __name__ == "__main__":
  absltest.main()
