"""Tests of charts: where points lie, and that any input can be drawn."""

import re
import xml.etree.ElementTree as ElementTree

from absl.testing import parameterized
import numpy as np

from kdwsd.evaluation import precision_recall
from kdwsd.reporting import charts
from kdwsd.reporting import gallery
from kdwsd.reporting import page


def _draw(macro, *arguments):
  """What a macro of the charts' template makes of its arguments."""
  template = page.environment().get_template("charts.html.j2")
  return str(getattr(template.module, macro)(*arguments))


def _paths(svg):
  """Numbers of each curve's path, by style class."""
  return {path.get("class"): np.reshape(
      [float(n) for n in re.findall(r"[\d.]+", path.get("d").split("h")[0])],
      [-1, 2]) for path in ElementTree.fromstring(svg).iter("path")}


class ChartsTest(parameterized.TestCase):

  def test_loss_falls_down_the_picture_and_the_metric_rises(self):
    svg = _draw("training", charts.training(
        [("loss", [(0, 4.0), (50, 2.0), (100, 1.0)])],
        [(50, 0.25), (100, 0.75)]), "of <it>")
    paths = _paths(svg)
    loss, metric = paths["curve loss"], paths["curve metric"]
    self.assertTrue((np.diff(loss[:, 1]) > 0).all())
    self.assertTrue((np.diff(metric[:, 1]) < 0).all())
    # Steps 50 and 100 are at the same places in both.
    np.testing.assert_allclose(loss[1:, 0], metric[:, 0])
    self.assertAlmostEqual(loss[1, 0], (loss[0, 0] + loss[2, 0]) / 2, places=1)
    # Half of the axis is half of the height: 0.25 and 0.75.
    ticks = {text.text: float(text.get("y"))
             for text in ElementTree.fromstring(svg).iter("text")
             if text.get("class") == "metric-axis"}
    self.assertAlmostEqual(
        metric[0, 1] - metric[1, 1], (ticks["0"] - ticks["100"]) / 2, places=1)
    self.assertIn('aria-label="of &lt;it&gt;"', svg)

  @parameterized.parameters(
      ([],), ([(1, 3.0)],), ([(0, 0.0), (0, 0.0)],), ([(1, 2.0), (2, 2.0)],),
      ([(1, float("nan")), (2, 1.0)],), ([(1, 1e-6), (70000, 1e6)],),
      ([(1, -1e30), (2 ** 53, 1e30)],))
  def test_any_loss_can_be_drawn(self, points):
    chart = charts.training([("loss", points)], [])
    for place in [place for place, _ in chart["ticks"] + chart["steps"]] + [
        number for point in chart["losses"][0][1] for number in point]:
      self.assertBetween(place, -1e-9, 1 + 1e-9)
    svg = _draw("training", chart, "loss")
    for path in _paths(svg).values():
      self.assertTrue(np.isfinite(path).all())
    self.assertNotIn("nan", svg)

  @parameterized.parameters(
      ((0, 3.1), [0, 1, 2, 3, 4]), ((0.12, 0.48), [.1, .2, .3, .4, .5]),
      ((-3, 41), [-10, 0, 10, 20, 30, 40, 50]))
  def test_ticks_are_round_and_enclose_the_losses(self, losses, expected):
    chart = charts.training([("loss", list(enumerate(losses)))], [])
    self.assertEqual([text for _, text in chart["ticks"]],
                     [f"{tick:g}" for tick in expected])

  def test_neighbours_are_averaged(self):
    thinned = charts.thin([(i, float(i % 2)) for i in range(1000)], most=100)
    self.assertLen(thinned, 100)
    self.assertEqual(thinned[0], (4.5, 0.5))
    self.assertEqual(charts.thin([(1, 2.0)]), [(1.0, 2.0)])

  def test_precision_is_up_and_recall_to_the_right(self):
    points = charts.precision_recall(
        precision_recall.from_hits([True, False, True], 2))
    np.testing.assert_allclose(
        points, [(0, 1), (1 / 2, 1), (1 / 2, 1 / 2), (1, 2 / 3)])
    path = _paths(_draw("precision_recall", [("cls", points)], "x"))[
        "curve cls"]
    self.assertLen(path, 4)
    self.assertEqual(path[0, 1], path[1, 1])  # Precision 1 up to recall 1/2.
    self.assertAlmostEqual(path[1, 0] - path[0, 0],
                           path[3, 0] - path[1, 0], places=1)
    # Precision 1, 1/2, 2/3: the drop is 3 times the rise.
    self.assertAlmostEqual((path[2, 1] - path[1, 1])
                           / (path[2, 1] - path[3, 1]), 3, places=1)

  def test_long_curves_are_thinned_to_their_ends(self):
    hits = np.random.default_rng(0).random(20000) < .5
    points = charts.precision_recall(
        precision_recall.from_hits(hits, int(hits.sum())))
    self.assertLess(len(points), 150)
    self.assertEqual((points[0][0], points[-1][0]), (0, 1))

  def test_a_class_without_images_says_so(self):
    self.assertEmpty(charts.precision_recall(
        precision_recall.from_hits([False], 0)))
    svg = _draw("precision_recall", [], "x")
    self.assertIn("no image", svg)
    self.assertEmpty(_paths(svg))

  def test_bars_and_dots_are_as_long_as_their_shares(self):
    bars = _draw("bars", [
        {"name": "a<b", "stage": "cls", "map": .25},
        {"name": "c", "stage": "wsd", "map": None}], [("mAP", "map")], "x")
    self.assertIn("width:25.00%", bars)
    self.assertIn("a&lt;b", bars)
    self.assertIn(">-</span>", bars)
    models = {"cls": "w", "wsd": "t", "kd_prediction": "k"}
    dots = _draw("dots", {"cls": .5, "wsd": None, "kd_prediction": .75}, models)
    self.assertIn('style="left:50.00%;width:25.00%"', dots)
    self.assertEqual(dots.count('class="dot '), 2)
    self.assertIn('title="k: 75.0"', dots)
    self.assertNotIn("<span", _draw("dots", {"cls": None}, models))

  def test_labels_of_proposals_stay_inside_and_apart(self):
    def box(ymin, xmin, name):
      return gallery.Box(ymin, xmin, 1, 1, name, .5, (0, 0, 0))
    def labels(*boxes):
      return charts.proposals(gallery.Picture(
          "id", "spaced", [], {}, list(boxes), b"", 64, 50))
    drawing = labels(box(0, .99, "a"), box(.01, .98, "b"), box(.5, 0, "c"),
                     box(.8, 0, "d"))
    self.assertEqual((drawing["width"], drawing["height"]), (320, 250))
    # "b" would lie over "a", which is better; "d" is not among the best 3.
    self.assertEqual(drawing["labels"], [
        (320 - 7 * 6, 13, "a 0.50"), (4, 125 + 13, "c 0.50")])


if __name__ == "__main__":
  parameterized.absltest.main()
