"""The list of faults to plant fits the package as it is."""

import pathlib

from tests.planted_faults import catalogue

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def test_every_fault_can_be_planted():
  faults = catalogue.faults()
  assert len(faults) >= 60
  assert catalogue.problems(faults, _ROOT) == []


def test_a_fault_that_no_longer_fits_is_reported(tmp_path):
  (tmp_path / "a.py").write_text("x = 1\nx = 2\n", encoding="utf-8")
  for before, after, problem in (
      ("y", "z", "expected this once: 'y'. Received: 0 times."),
      ("x", "z", "expected this once: 'x'. Received: 2 times."),
      ("x = 1", "x =", "expected Python."),
      ("x = 1", "x = 3", "expected test files. Received: no b.py.")):
    fault = catalogue.Fault("a.py:1", "a.py", before, after, ("b.py",))
    line, *_ = catalogue.problems([fault], tmp_path)
    assert f"a.py:1: {problem}" in line


def test_names_are_chosen_by_a_pattern():
  some = catalogue.faults("kdwsd/evaluation/*")
  assert {fault.path.split("/")[1] for fault in some} == {"evaluation"}
  assert len({fault.name for fault in some}) == len(some)
