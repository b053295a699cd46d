"""One seed, one command, one result: chains of runs trained several times.

Bit for bit equal must be: two runs of one command; and runs whose images are
decoded anew, kept in memory, or kept on disk. What is kept in float16, the
teacher's features and the maps of frozen stages, and what the teacher computes
in batches of one, may move the last bits; how far is measured against the way
that training has moved the weights. All RoIs are taught, for a last bit may
change which are the best. Another seed must give other weights.
"""

import dataclasses
import os
import shutil

import numpy as np

from tests.soak import lives
from tests.soak import programs
from tests.soak import state

_COMMON = {
    "optimizer": "sgd", "learning_rate": 1e-2, "schedule": "cosine",
    "eval_interval": 0, "keep_checkpoints": 9, "cutout_size": 8,
    "teacher_cache": "off", "train_sizes": "32,48", "top_k_rois": 8,
}
_FROZEN = {"train_sizes": "48", "frozen_stages": 1, "cutout_size": 0}

# Share of the way from the first weights to the last. Maps in float16 moved
# `cls` by 0.019 to 0.027 with four seeds; in float32 they move it by 3e-7.
CLOSE = 5e-2


@dataclasses.dataclass(frozen=True)
class Variant:
  """A way to train the chain.

  Attributes:
    name: in words.
    flags: besides those that all have; `seed` is added to the soak's.
    same_as: name of an earlier variant whose weights must be the same, bit for
      bit; of the stages before `until` only, if that is given.
    close_to: name of an earlier variant whose weights must be close.
    unlike: name of an earlier variant whose weights must be others.
    until: see `same_as`.
  """
  name: str
  flags: dict
  same_as: str = ""
  close_to: str = ""
  unlike: str = ""
  until: str = ""


VARIANTS = (
    Variant("cache none", {}),
    Variant("cache none again", {}, same_as="cache none"),
    Variant("cache memory", {"cache": "memory"}, same_as="cache none"),
    Variant("cache disk", {"cache": "disk"}, same_as="cache none"),
    Variant("teacher cache", {"teacher_cache": "on"}, same_as="cache none",
            close_to="cache none", until="kd_feature"),
    Variant("teacher cache again, cache disk",
            {"teacher_cache": "on", "cache": "disk"}, same_as="teacher cache"),
    Variant("frozen stages", _FROZEN),
    Variant("frozen cache", {**_FROZEN, "frozen_cache": "true"},
            close_to="frozen stages"),
    Variant("frozen cache again, cache memory",
            {**_FROZEN, "frozen_cache": "true", "cache": "memory"},
            same_as="frozen cache"),
    Variant("another seed", {"seed": 1}, unlike="cache none"),
)


def check(source, place, seed, tell, variants=VARIANTS):
  """Trains all variants and compares them.

  Args:
    source: folder with `records`.
    place: folder to work in.
    seed: of the runs.
    tell: function of a line of text.
    variants: `Variant`s, in order.

  Returns:
    (list of problems, what was measured, in words).

  Raises:
    lives.DeathError: a run failed.
  """
  trained, problems, measured, equal = {}, [], [], 0
  for number, variant in enumerate(variants):
    folder = os.path.join(place, f"{number:02d}", "work")
    flags = {**_COMMON, **variant.flags}
    flags["seed"] = seed + flags.get("seed", 0)
    program = programs.training(variant.name, **flags)
    program.lay_out(folder, source)
    attempt = lives.run(program, folder)
    trained[variant.name] = read(os.path.join(folder, "run"))
    shutil.rmtree(folder)
    found = compare(variant, trained)
    problems += found.problems
    measured += found.measured
    equal += bool(variant.same_as)
    tell("; ".join([f"{variant.name}, {attempt.seconds:.0f} s",
                    *found.problems, *found.measured]))
  return problems, "; ".join([
      f"{len(variants)} chains, {equal} equal to another bit for bit",
      *measured])


def read(chain):
  """Weights of a chain: {stage: (first, last)}, each {name: array}."""
  return {stage: tuple(state.weights(os.path.join(
      chain, stage, "checkpoints", f"ckpt-{step}")) for step in (
          0, programs.TRAIN_STEPS)) for stage in programs.STAGES}


@dataclasses.dataclass(frozen=True)
class Found:
  """What a comparison has found, in words."""
  problems: list
  measured: list


def compare(variant, trained):
  """Compares a variant with earlier ones.

  Args:
    variant: a `Variant`.
    trained: {name: `read`}, its own among them.

  Returns:
    A `Found`.
  """
  problems, measured = [], []
  mine = trained[variant.name]
  for stage in programs.STAGES:
    if stage == variant.until:
      break
    if variant.same_as:
      problems += [
          f"{variant.name} differs from {variant.same_as} in {stage}, {line}"
          for line in state.differences(
              trained[variant.same_as][stage][1], mine[stage][1])]
    if variant.unlike and not state.differences(
        trained[variant.unlike][stage][1], mine[stage][1]):
      problems.append(f"{variant.name} is the same as {variant.unlike} in "
                      f"{stage}")
  if variant.close_to:
    shares = {stage: apart(trained[variant.close_to][stage], mine[stage])
              for stage in programs.STAGES}
    text = ", ".join(f"{stage} {share:.1e}" for stage, share in shares.items())
    measured.append(f"{variant.name} apart from {variant.close_to}: {text}")
    if not all(share <= CLOSE for share in shares.values()):  # Nor is NaN.
      problems.append(f"{measured.pop()}, expected at most {CLOSE:.0e}")
  return Found(problems, measured)


def apart(expected, received):
  """How far two trainings ended from one another.

  Args:
    expected: (first, last) weights, {name: array}.
    received: likewise.

  Returns:
    Distance of the last weights of the models, as a share of the way from
    first to last.
  """
  first, last = expected
  names = [name for name in last if name.startswith("model/")]
  if set(names) != {n for n in received[1] if n.startswith("model/")}:
    return float("nan")

  def norm(one, other):
    return np.sqrt(sum(np.sum(np.square(np.float64(one[n]) - other[n]))
                       for n in names))

  return norm(last, received[1]) / norm(last, first)
