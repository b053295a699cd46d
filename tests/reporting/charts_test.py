"""Tests of charts: where points lie, and that any input can be drawn."""

import re
import xml.etree.ElementTree as ElementTree

from absl.testing import parameterized
import numpy as np

from kdwsd.evaluation import precision_recall
from kdwsd.reporting import charts


def _paths(svg):
  """Numbers of each curve's path, by style class."""
  return {path.get("class"): np.reshape(
      [float(n) for n in re.findall(r"[\d.]+", path.get("d"))], [-1, 2])
          for path in ElementTree.fromstring(svg).iter("path")}


class ChartsTest(parameterized.TestCase):

  def test_loss_falls_down_the_picture_and_the_figure_rises(self):
    svg = charts.line_chart(
        [("loss", [(0, 4.0), (50, 2.0), (100, 1.0)])],
        [(50, 0.25), (100, 0.75)], label="of <it>")
    paths = _paths(svg)
    loss, figure = paths["curve loss"], paths["curve figure"]
    self.assertTrue((np.diff(loss[:, 1]) > 0).all())
    self.assertTrue((np.diff(figure[:, 1]) < 0).all())
    # Steps 50 and 100 are at the same places in both.
    np.testing.assert_allclose(loss[1:, 0], figure[:, 0])
    self.assertAlmostEqual(loss[1, 0], (loss[0, 0] + loss[2, 0]) / 2, places=1)
    # Half of the axis is half of the height: 0.25 and 0.75.
    ticks = {text.text: float(text.get("y"))
             for text in ElementTree.fromstring(svg).iter("text")
             if text.get("class") == "figure-text"}
    self.assertAlmostEqual(
        figure[0, 1] - figure[1, 1], (ticks["0"] - ticks["100"]) / 2, places=1)
    self.assertIn('aria-label="of &lt;it&gt;"', svg)

  @parameterized.parameters(
      ([],), ([(1, 3.0)],), ([(0, 0.0), (0, 0.0)],), ([(1, 2.0), (2, 2.0)],),
      ([(1, float("nan")), (2, 1.0)],), ([(1, 1e-6), (70000, 1e6)],))
  def test_any_loss_can_be_drawn(self, points):
    svg = charts.line_chart([("loss", points)], [], label="loss")
    for path in _paths(svg).values():
      self.assertTrue(np.isfinite(path).all())
    self.assertNotIn("nan", svg)

  def test_neighbours_are_averaged(self):
    thinned = charts.thin([(i, float(i % 2)) for i in range(1000)], most=100)
    self.assertLen(thinned, 100)
    self.assertEqual(thinned[0], (4.5, 0.5))
    self.assertEqual(charts.thin([(1, 2.0)]), [(1.0, 2.0)])

  def test_precision_is_up_and_recall_to_the_right(self):
    curve = precision_recall.from_hits([True, False, True], 2)
    path = _paths(charts.precision_recall([("with", curve)], label="x"))[
        "curve with"]
    self.assertLen(path, 4)
    self.assertEqual(path[0, 1], path[1, 1])  # Precision 1 up to recall 1/2.
    self.assertAlmostEqual(path[1, 0] - path[0, 0],
                           path[3, 0] - path[1, 0], places=1)
    # Precision 1, 1/2, 2/3: the drop is 3 times the rise.
    self.assertAlmostEqual((path[2, 1] - path[1, 1])
                           / (path[2, 1] - path[3, 1]), 3, places=1)

  def test_long_curves_are_thinned_to_their_ends(self):
    hits = np.random.default_rng(0).random(20000) < .5
    whole = precision_recall.from_hits(hits, int(hits.sum()))
    svg = charts.precision_recall([("with", whole)], label="x")
    self.assertLess(len(svg), 5000)
    path = _paths(svg)["curve with"]
    self.assertEqual(path[-1, 0] - path[0, 0], 118.0)  # Recall 0 to 1.

  def test_a_class_without_images_says_so(self):
    empty = precision_recall.from_hits([False], 0)
    svg = charts.precision_recall([("with", empty)], label="x")
    self.assertIn("no image", svg)
    self.assertEmpty(_paths(svg))

  def test_bars_and_dots_are_as_long_as_their_shares(self):
    bars = charts.bars(
        [("mAP", [("a<b", "without", .25), ("c", "with", None)])], label="x")
    self.assertIn("width:25.00%", bars)
    self.assertIn("a&lt;b", bars)
    self.assertIn(">-</span>", bars)
    dots = charts.dots([("without", "w", .5), ("teacher", "t", None),
                        ("with", "k", .75)])
    self.assertIn('style="left:50.00%;width:25.00%"', dots)
    self.assertEqual(dots.count('class="dot '), 2)
    self.assertNotIn("<span", charts.dots([("with", "k", None)]))


if __name__ == "__main__":
  parameterized.absltest.main()
