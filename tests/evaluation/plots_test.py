"""Tests of kdwsd.evaluation.plots: odd names, and many classes."""

import time
from unittest import mock

from matplotlib import figure as figure_lib
import numpy as np
from PIL import Image
import pytest

from kdwsd.evaluation import plots
from kdwsd.evaluation import precision_recall

_ODD = ("Ca$$h", "$5 & $10 bill", "a_b^c", "{}", "%s", "<b>", "_hidden",
        "$x$", "\\frac{1}", "a$b", "שלום", "😀", "n" * 900)


def _draw(tmp_path, names, values=None, *, written=True):
  """Makes both plots; returns their figures. Most of it is to write them."""
  random = np.random.RandomState(0)
  curves = {"classification": [
      precision_recall.from_hits(random.uniform(size=50) < 0.5, 25)
      for _ in names]}
  values = values or [precision_recall.ap(c) for c in curves["classification"]]
  drawn, save = [], figure_lib.Figure.savefig

  def keep(figure, *arguments, **options):
    if written:
      save(figure, *arguments, **options)
    drawn.append(figure)

  counts = list(range(len(names), 0, -1))
  with mock.patch.object(figure_lib.Figure, "savefig", keep):
    plots.precision_recall(str(tmp_path / "curves.png"), names, curves,
                           precision_recall.panels(values, counts))
    plots.average_precision(str(tmp_path / "bars.png"), names,
                            {"classification": values}, counts)
  return drawn


def _titles(figure):
  return [axes.get_title() for axes in figure.axes if axes.get_title()]


def _labels(figure):
  return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_names_are_drawn_as_they_are(tmp_path):
  """A formula that is none would end it; one that is would lose its dollars."""
  curves, bars = _draw(tmp_path, _ODD)
  assert _titles(curves)[:-1] == list(_ODD[:-1])
  assert _titles(curves)[-1] == "n" * 19 + "..."
  assert {label.split(" (")[0] for label in _labels(bars)} == {
      *_ODD[:-1], "n" * 37 + "..."}
  for text in [axes.title for axes in curves.axes[:len(_ODD)]] + list(
      bars.axes[0].get_yticklabels()):
    assert not text.get_parse_math()


def test_all_of_a_hundred_classes_are_drawn(tmp_path):
  curves, bars = _draw(
      tmp_path, [f"c{n}" for n in range(100)], written=False)
  assert len(_titles(curves)) == 100
  assert len(_labels(bars)) == 100


def test_of_many_classes_the_frequent_and_the_worst_are_drawn(tmp_path):
  # Class n has AP n / 300, but for 10 without an image; 0 is the most frequent.
  values = [n / 300 for n in range(290)] + [None] * 10
  names = [f"c{n}" for n in range(300)]
  curves, bars = _draw(tmp_path, names, values)
  assert _titles(curves) == names[:50] + names[50:100]
  order = [label.split(" ")[0] for label in _labels(bars)]
  assert order == names[289:239:-1] + names[49::-1]
  for figure, texts in ((curves, [t.get_text() for t in curves.texts]),
                        (bars, _titles(bars))):
    assert any(text.startswith("100 of 300 classes: ") for text in texts)
    assert max(figure.get_size_inches()) < 30
  with Image.open(tmp_path / "bars.png") as picture:
    assert max(picture.size) < 4000


def test_frequent_classes_are_not_drawn_twice():
  values, counts = [0.5] * 300, list(range(300))
  chosen = precision_recall.panels(values, counts)
  assert chosen == list(range(299, 249, -1)) + list(range(50))
  assert precision_recall.panels(values[:100], counts[:100]) == list(range(100))
  few = precision_recall.panels([None] * 298 + [0.1, 0.2], counts)
  assert few == list(range(299, 249, -1))  # Those without AP are not "worst".


@pytest.mark.slow
def test_panels_cost_in_proportion_to_their_number(tmp_path):
  seconds = []
  for count in (25, 100):
    started = time.process_time()
    _draw(tmp_path, [f"c{n}" for n in range(count)])
    seconds.append(time.process_time() - started)
  assert seconds[1] < 8 * seconds[0]


def test_a_curve_of_a_million_points_keeps_those_that_are_seen():
  random = np.random.default_rng(0)
  hits = random.uniform(size=200_000) < np.linspace(0.9, 0.01, 200_000)
  curve = precision_recall.from_hits(hits, hits.sum())
  recall, precision = plots._seen(curve)
  assert len(recall) < 5000
  assert recall[0] == curve.recall[0] and recall[-1] == curve.recall[-1]
  # Between two points that are kept, it does not leave the place of the first.
  at = np.searchsorted(recall, curve.recall, side="right") - 1
  away = np.abs(curve.precision - precision[at])
  assert np.quantile(away, 0.999) < 1 / 400
  few = precision_recall.from_hits(hits[:2000], 10)
  np.testing.assert_array_equal(plots._seen(few)[0], few.recall)
