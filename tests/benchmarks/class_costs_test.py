"""The benchmark of wide label sets runs."""

import pytest

from benchmarks import class_costs


@pytest.mark.one_lane
def test_every_column_is_measured_and_shown():
  row = {"classes": 1203}
  for heading, function, arguments, _ in class_costs.COLUMNS:
    if function == "classification":
      arguments = (10,)
    repeats = {"repeats": 1} if function in (
        "step", "detections", "labels") else {}
    value = getattr(class_costs, function)(7, *arguments, **repeats)
    assert value > 0
    row[heading] = {"value": value, "peak_mib": 1000.0}
  heading, rule, line = class_costs.table([row]).splitlines()
  assert line.startswith("| 1,203 | ")
  assert line.count("(1,000)") == len(class_costs.COLUMNS)
  assert heading.count("|") == rule.count("|") == line.count("|")


def test_a_record_grows_with_its_unknown_labels():
  known, few, many = (
      class_costs.record(num_classes, unknown)
      for num_classes, unknown in ((9600, False), (10, True), (9600, True)))
  assert known < few < many
  assert 15 < many - known < 25  # Two bytes each.
