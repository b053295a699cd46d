"""Many cases before one parser: some generated, the others damaged."""

import contextlib
import dataclasses
import random
import time
import warnings

import hypothesis

from tests.fuzz import cases
from tests.fuzz import judging
from tests.fuzz import mutations

# Generated cases take ten times the time of damaged ones, but what they hold
# is damaged, too.
_GENERATED, _LEAST_GENERATED = 0.05, 20
# Cases of one run of hypothesis, which keeps in memory what it has tried.
_AT_ONCE = 1000
_KEPT, _KEPT_BYTES = 1000, 20_000
_REDUCTIONS, _REDUCTION_SECONDS = 200, 30


@dataclasses.dataclass
class Counts:
  """What came of the cases of a target so far."""
  tried: int = 0
  accepted: int = 0
  refused: int = 0
  failed: int = 0
  slowest: float = 0.0  # seconds of CPU

  def add(self, verdict):
    """Counts a `judging.Verdict`."""
    self.tried += 1
    self.accepted += verdict.outcome == judging.ACCEPTED
    self.refused += verdict.outcome == judging.REFUSED
    self.failed += verdict.outcome == judging.FAILED
    self.slowest = max(self.slowest, verdict.seconds)


@dataclasses.dataclass(frozen=True)
class Failure:
  """A fault that was found: the smallest case known, and its verdict."""
  case: dict
  verdict: judging.Verdict


def run(target, num_inputs, seed, folder, on_progress=lambda counts: None):
  """Tries cases: first of the target's grammar, then damaged ones.

  Args:
    target: as of `judging.judge`, with `examples()`, a list of sound cases,
      and `grammar()`, a hypothesis strategy of cases. It may have `damage`,
      in place of `mutations.mutate`.
    num_inputs: how many to try. The tries that make a failing case smaller
      are not counted.
    seed: int.
    folder: to write the cases in.
    on_progress: called with the `Counts` after each try.

  Returns:
    `Counts` and a list of `Failure`, one for each signature.
  """
  runner = _Runner(target, folder, on_progress)
  generated = min(
      num_inputs, max(_LEAST_GENERATED, int(_GENERATED * num_inputs)))
  runner.generate(generated, seed)
  runner.damage(num_inputs - generated, seed)
  return runner.counts, list(runner.failures.values())


class _Failed(Exception):
  """Tells hypothesis that a case fails."""


class _Runner:

  def __init__(self, target, folder, on_progress):
    self._target, self._folder = target, folder
    self._on_progress = on_progress
    self._generated = []
    self.counts, self.failures = Counts(), {}

  def _judge(self, case):
    return judging.judge(self._target, case, self._folder)

  def _count(self, verdict):
    self.counts.add(verdict)
    self._on_progress(self.counts)

  def generate(self, num_inputs, seed):
    """Cases of the grammar; hypothesis makes failing ones smaller."""
    goal = self.counts.tried + num_inputs
    grammar = self._target.grammar()
    while self.counts.tried < goal:
      before = self.counts.tried
      self._generate_some(
          grammar, min(_AT_ONCE, goal - before), f"{seed} {before}")
      if self.counts.tried == before:  # A grammar of very few cases.
        break

  def _generate_some(self, grammar, num_inputs, seed):
    found = []  # The signature made smaller, and its last Failure.

    @hypothesis.seed(seed)
    @hypothesis.settings(
        max_examples=num_inputs, database=None, deadline=None,
        phases=[hypothesis.Phase.generate, hypothesis.Phase.shrink],
        suppress_health_check=list(hypothesis.HealthCheck),
        report_multiple_bugs=False, print_blob=False,
        verbosity=hypothesis.Verbosity.quiet)
    @hypothesis.given(grammar)
    def try_one(case):
      verdict = self._judge(case)
      if not found:
        self._count(verdict)
        if (len(self._generated) < _KEPT
            and cases.size(case) <= _KEPT_BYTES):
          self._generated.append(case)
        if (verdict.outcome == judging.FAILED
            and verdict.signature not in self.failures):
          found.append(verdict.signature)
      else:
        self._on_progress(self.counts)  # It lives.
      if found and verdict.signature == found[0]:
        self.failures[found[0]] = Failure(case, verdict)
        raise _Failed

    with contextlib.suppress(
        _Failed, hypothesis.errors.Flaky), warnings.catch_warnings():
      # Of cases too long to print, which nobody asked it to.
      warnings.simplefilter("ignore", hypothesis.errors.HypothesisWarning)
      try_one()

  def damage(self, num_inputs, seed):
    """Damages examples and generated cases, by halves.

    A failing case is made smaller here.
    """
    examples = self._target.examples()
    for index in range(num_inputs):
      dice = random.Random(f"{seed} {self._target.__name__} {index}")
      whole = dice.choice(dice.choice((examples, self._generated or examples)))
      mutate = getattr(self._target, "damage", mutations.mutate)
      case = mutate(whole, dice, examples)
      verdict = self._judge(case)
      self._count(verdict)
      if (verdict.outcome == judging.FAILED
          and verdict.signature not in self.failures):
        self.failures[verdict.signature] = Failure(case, verdict)
        self.failures[verdict.signature] = self._reduce(case, verdict)

  def _reduce(self, case, verdict):
    """Leaves out files, then parts of files, while the failure is the same."""
    until, tries = time.monotonic() + _REDUCTION_SECONDS, _REDUCTIONS

    def still_fails(smaller):
      nonlocal tries, verdict
      tries -= 1
      self._on_progress(self.counts)
      said = self._judge(smaller)
      if said.signature == verdict.signature:
        verdict = said
        return True
      return False

    step = max(cases.size(case) // 2, 1)
    while tries > 0 and time.monotonic() < until:
      for smaller in _smaller(case, step):
        if tries <= 0 or time.monotonic() >= until:
          break
        if still_fails(smaller):
          case = smaller
          break
      else:
        if step == 1:
          break
        step = max(step // 2, 1)
    return Failure(case, verdict)


def _smaller(case, step):
  """Yields a case without one file, or without `step` bytes of one."""
  for name in sorted(case):
    content = case[name]
    if len(content) <= step:
      yield {other: case[other] for other in case if other != name}
      if step > 1:
        continue
    for start in range(0, len(content), step):
      yield {**case, name: content[:start] + content[start + step:]}
