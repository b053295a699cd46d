"""Tests of what the report takes from files, and of what it refuses."""

import copy
import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized

from kdwsd import errors
from kdwsd import files
from kdwsd.reporting import measured

_METRICS = {
    "split": "test", "num_images": 5, "classes": ["cat", "dog"],
    "num_positive_images": [3, 2],
    "classification": {
        "map": 0.5, "all": {"C-F1": 0.4, "O-F1": None},
        "top3": {"C-F1": 1, "O-F1": 0.0}, "per_class": {"ap": [0.5, None]}},
    "detection": {"voc07_map": 0.25}, "corloc": None}
_HUGE, _NAN = 10 ** 400, float("nan")


def _with(document, *place_and_value):
  """A copy in which one place holds another value."""
  *place, last, value = place_and_value
  changed = inner = copy.deepcopy(document)
  for key in place:
    inner = inner[key]
  inner[last] = value
  return changed


class MeasuredTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(tempfile.mkdtemp(), "m.json")

  def _read(self, document, read=measured.read_metrics):
    with open(self.path, "w", encoding="utf-8") as file:
      json.dump(document, file)
    return read(self.path)

  def test_sound_metrics_come_back(self):
    content = self._read(_METRICS)
    self.assertEqual(content, _METRICS)
    measured.check_classes(content, self.path)

  @parameterized.parameters(
      ("classes", None), ("classes", []), ("classes", [1, 2]),
      ("classes", ["a\n"]), ("split", None), ("split", "\ud800"),
      ("num_images", "5"), ("num_images", -1), ("num_images", True),
      ("num_images", 5.0), ("num_images", _HUGE), ("classification", []),
      ("classification", "map", "x"), ("classification", "map", 1.5),
      ("classification", "map", _NAN), ("classification", "map", [0.5]),
      ("classification", "map", _HUGE), ("classification", "all", None),
      ("classification", "all", {}), ("classification", "top3", "O-F1", -1),
      ("detection", 5), ("detection", "voc07_map", {}), ("corloc", "x"))
  def test_metrics_that_are_none(self, *place_and_value):
    with self.assertRaisesRegex(
        errors.InputError, r"m\.json: .*expected .*Received: "):
      self._read(_with(_METRICS, *place_and_value))

  @parameterized.parameters(
      ("num_positive_images", [1]), ("num_positive_images", [1, None]),
      ("num_positive_images", None), ("classification", "per_class", None),
      ("classification", "per_class", "ap", [0.5]),
      ("classification", "per_class", "ap", [0.5, "x"]))
  def test_figures_of_classes_that_are_none(self, *place_and_value):
    content = self._read(_with(_METRICS, *place_and_value))
    with self.assertRaisesRegex(errors.InputError, r"m\.json: .*Received"):
      measured.check_classes(content, self.path)

  @parameterized.parameters([], [[1]], 5, None, "text")
  def test_another_document(self, *document):
    with self.assertRaisesRegex(errors.InputError, r"m\.json"):
      self._read(document)

  def test_costs(self):
    for cost in ({}, {"parameters": None}, {
        "parameters": 5, "images_per_second": 1.5, "device": "CPU"}):
      self.assertEqual(self._read(cost, measured.read_cost), cost)
    for cost in ([], {"parameters": 1.5}, {"images_per_second": "x"},
                 {"images_per_second": _NAN}, {"images_per_second": _HUGE},
                 {"device": 5}, {"device": "a\0"}):
      with self.assertRaisesRegex(errors.InputError, r"m\.json"):
        self._read(cost, measured.read_cost)

  def test_settings_of_any_version(self):
    measured.check_config({"a": 1, "b": [1.5, "x"], "c": None, "d": True}, "c")
    for config in ([], {"a": {}}, {"a": [[1]]}, {"a": "\ud800"}, {"data": 5},
                   {"best_figure": ["x"]}, {"a": _HUGE}):
      with self.assertRaisesRegex(errors.InputError, "^c.json"):
        measured.check_config(config, "c.json")

  def test_a_log_is_refused_by_entry(self):
    sound = [{"step": 5, "loss": 1.5, "learning_rate": "any"},
             {"step": 5, "loss": _NAN, "hard_loss": None},
             {"step": 10, "figures": {"map": 0.5, "corloc": None}}]
    measured.check_history(sound, "h.jsonl")
    for entry in ([], {}, {"step": "5"}, {"step": _HUGE},
                  {"step": 1, "loss": "x"}, {"step": 1, "soft_loss": []},
                  {"step": 1, "loss": 1e300}, {"step": 1, "figures": 5},
                  {"step": 1, "figures": {"map": "x"}},
                  {"step": 1, "figures": {"map": _NAN}}):
      with self.assertRaisesRegex(errors.InputError, r"^h\.jsonl: entry 4: "):
        measured.check_history([*sound, entry], "h.jsonl")

  def test_what_is_no_json_is_named(self):
    files.write_text(self.path, "{")
    with self.assertRaisesRegex(errors.InputError, r"m\.json: expected JSON"):
      measured.read_metrics(self.path)


if __name__ == "__main__":
  absltest.main()
