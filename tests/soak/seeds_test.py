"""The comparison of trainings with one seed notices what differs."""

import numpy as np

from tests.soak import programs
from tests.soak import seeds

_VARIANTS = {variant.name: variant for variant in seeds.VARIANTS}


def _trained(**added):
  """Weights that went from 0 to 1, plus some."""
  return {stage: ({"model/w": np.zeros(4)}, {
      "model/w": np.ones(4) + added.get(stage, 0.0),
      "optimizer/m": np.ones(1)}) for stage in programs.STAGES}


def _compare(name, other, mine):
  variant = _VARIANTS[name]
  earlier = variant.same_as or variant.close_to or variant.unlike
  return seeds.compare(variant, {earlier: other, name: mine})


def test_equal_weights_are_no_problem():
  found = _compare("cache none again", _trained(), _trained())
  assert (found.problems, found.measured) == ([], [])


def test_one_weight_of_one_stage_is_a_problem():
  found = _compare("cache disk", _trained(),
                   _trained(kd_feature=[0, 0, 0, 1e-9]))
  (problem,) = found.problems
  assert problem.startswith("cache disk differs from cache none in kd_feature")
  assert "1 of 4 numbers differ, by up to 1e-09" in problem


def test_the_teacher_cache_may_move_the_students_a_little_only():
  found = _compare("teacher cache", _trained(), _trained(kd_feature=1e-4))
  assert found.problems == []
  assert "kd_feature 1.0e-04" in found.measured[0]
  found = _compare("teacher cache", _trained(), _trained(kd_prediction=0.1))
  assert "expected at most 5e-02" in found.problems[0]
  found = _compare("teacher cache", _trained(), _trained(wsd=1e-9))
  assert "differs from cache none in wsd" in found.problems[0]


def test_weights_that_are_not_numbers_are_not_close():
  found = _compare("frozen cache", _trained(), _trained(cls=np.nan))
  assert len(found.problems) == 1


def test_another_seed_must_change_every_stage():
  found = _compare("another seed", _trained(), _trained(
      wsd=1.0, cls=1.0, kd_feature=1.0))
  assert found.problems == [
      "another seed is the same as cache none in kd_prediction"]


def test_every_variant_is_compared_with_an_earlier_one():
  names = []
  for variant in seeds.VARIANTS:
    for other in (variant.same_as, variant.close_to, variant.unlike):
      assert not other or other in names
    names.append(variant.name)
  assert len(set(names)) == len(names)
