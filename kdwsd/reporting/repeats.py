"""The student's gain from distillation, by seed, and how sure it is.

`--seeds` trains the students of a chain several times. Those of the first seed
are in the chain's own folders, the others in `seed_N`. The spread over seeds
says how much luck is in a run; the interval, how much is in the choice of the
test images.
"""

import dataclasses
import glob
import os
import re
from typing import Optional

from absl import logging
import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.evaluation import metrics
from kdwsd.evaluation import prediction_files
from kdwsd.evaluation import summary
from kdwsd.evaluation import table as table_lib
from kdwsd.reporting import bootstrap
from kdwsd.reporting import comparison
from kdwsd.reporting import measured

_STUDENTS = (comparison.WITHOUT, comparison.WITH)
_CONFIG = "config.json"  # `kdwsd.training.config` owns it.

# Settings that differ between seeds as they should, or without an effect on the
# weights.
_MAY_DIFFER = {
    "seed", "feature_student", "data", "teacher", "fold_teachers", "cache",
    "checkpoint_interval", "keep_checkpoints", "profile_steps",
    "steps_per_loop"}


@dataclasses.dataclass(frozen=True)
class Seed:
  """Classification mAPs in [0, 1] of the students of one seed.

  Attributes:
    seed: number.
    without: of the student without distillation.
    with_kd: of the one with it.
  """
  seed: int
  without: float
  with_kd: float

  @property
  def points(self):
    """Points of mAP gained."""
    return 100 * (self.with_kd - self.without)


@dataclasses.dataclass(frozen=True)
class FrequentGain:
  """The gain over the classes with enough images, where some have few.

  Attributes:
    points: mean over seeds, in points of mAP.
    interval: as in `Gain`.
    num_classes: number of classes with `metrics.FREQUENT` images or more.
  """
  points: float
  interval: tuple
  num_classes: int


@dataclasses.dataclass(frozen=True)
class Gain:
  """The gain of all seeds.

  Attributes:
    seeds: list of `Seed`, the chain's own first.
    points: mean over seeds, in points of mAP.
    spread: standard deviation over seeds, in points; None for one seed.
    interval: (low, high) in points, see `bootstrap`; None where predictions are
      missing or were made on different images.
    num_images: number of images of the interval.
    num_samples: number of its samples.
    differing: settings, besides the seed, in which the students of other seeds
      differ from those of the first: sorted names.
    frequent: `FrequentGain`; None without interval, or where all classes, or
      none, have enough images.
  """
  seeds: list
  points: float
  spread: Optional[float]
  interval: Optional[tuple]
  num_images: int
  num_samples: int
  differing: tuple = ()
  frequent: Optional[FrequentGain] = None


def folder(workdir, seed):
  """Folder of the students of another seed than the first."""
  return os.path.join(workdir, f"seed_{seed}")


def read(workdir, split):
  """Reads the gain of a chain's students.

  Args:
    workdir: work directory of the chain.
    split: name of the evaluated split.

  Returns:
    `Gain`; None unless both students of the chain were evaluated.

  Raises:
    errors.InputError: a file is invalid.
  """
  seeds, predictions, differing = [], [], set()
  for place in (workdir, *_folders(workdir)):
    paths = [comparison.evaluation_directory(place, stage, split)
             for stage in _STUDENTS]
    maps = [_map(os.path.join(path, summary.METRICS)) for path in paths]
    if None in maps:
      if place == workdir:
        return None
      logging.warning(
          "%s is left out of the gain: its students are not both measured on "
          "%s. Train the chain again with its seed, or measure them with "
          "kdwsd.evaluate.", place, split)
      continue
    differing |= _differing(workdir, place)
    seeds.append(Seed(_seed(os.path.join(place, comparison.WITH)), *maps))
    predictions.append([prediction_files.read(
        os.path.join(path, prediction_files.FILE)) for path in paths])
  points = [seed.points for seed in seeds]
  num_images, num_samples, interval = _interval(predictions)
  if interval is None:
    logging.warning(
        "%s: no interval of the gain, because predictions of %s are missing "
        "(kdwsd.evaluate writes them), or are of different images.", workdir,
        split)
  return Gain(
      seeds=seeds, points=float(np.mean(points)),
      spread=float(np.std(points, ddof=1)) if len(points) > 1 else None,
      interval=interval, num_images=num_images, num_samples=num_samples,
      differing=tuple(sorted(differing)),
      frequent=_frequent(predictions) if interval else None)


def _folders(workdir):
  found = glob.glob(os.path.join(glob.escape(workdir), "seed_*"))
  return sorted(
      (path for path in found
       if re.fullmatch("[0-9]+", os.path.basename(path)[len("seed_"):])),
      key=lambda path: int(os.path.basename(path)[len("seed_"):]))


def _map(path):
  if not os.path.exists(path):
    return None
  return measured.read_metrics(path)["classification"]["map"]


def _seed(directory):
  path = os.path.join(directory, _CONFIG)
  config = files.read_json(path)
  seed = config.get("seed") if isinstance(config, dict) else None
  if type(seed) is not int:
    raise errors.InputError(
        f"{path}: expected a number in `seed`. Received: {seed!r:.100}.")
  return seed


def _differing(workdir, place):
  """Names of settings in which students differ, see `Gain`."""
  names = set()
  for stage in _STUDENTS:
    paths = [os.path.join(directory, stage, _CONFIG)
             for directory in (workdir, place)]
    if not all(map(os.path.exists, paths)):
      continue
    first, other = map(files.read_json, paths)
    if isinstance(first, dict) and isinstance(other, dict):
      names |= {name for name in first.keys() & other.keys()
                if first[name] != other[name]}
  return names - _MAY_DIFFER


def _interval(predictions):
  """(images, samples, interval in points), or (0, 0, None)."""
  (first, *_), *_ = predictions
  for predicted in (one for pair in predictions for one in pair):
    if predicted is None or not (
        np.array_equal(predicted.image_ids, first.image_ids)
        and np.array_equal(predicted.labels, first.labels)):
      return 0, 0, None
  values = bootstrap.differences(first.labels, [
      (before.image_scores, after.image_scores)
      for before, after in predictions])
  if np.isnan(values).all():
    return 0, 0, None
  low, high = bootstrap.interval(100 * values)
  return len(first.image_ids), len(values), (low, high)


def _frequent(predictions):
  """`FrequentGain` of predictions of the same images, or None."""
  labels = predictions[0][0].labels
  keep = (labels > 0).sum(axis=0) >= metrics.FREQUENT             # [C]
  if keep.all() or not keep.any():
    return None
  pairs = [(before.image_scores[:, keep], after.image_scores[:, keep])
           for before, after in predictions]
  labels = labels[:, keep]
  return FrequentGain(
      points=100 * bootstrap.difference(labels, pairs),
      interval=bootstrap.interval(100 * bootstrap.differences(labels, pairs)),
      num_classes=int(keep.sum()))


def rows(gain):
  """Table of the seeds, headings first: list of lists of str."""
  lines = [[str(seed.seed), table_lib.percent(seed.without),
            table_lib.percent(seed.with_kd), f"{seed.points:+.1f}"]
           for seed in gain.seeds]
  columns = [[seed.without for seed in gain.seeds],
             [seed.with_kd for seed in gain.seeds]]
  means = [table_lib.percent(float(np.mean(values))) for values in columns]
  spreads = [table_lib.percent(float(np.std(values, ddof=1)))
             for values in columns]
  return [["seed", *(comparison.MODELS[stage] for stage in _STUDENTS), "gain"],
          *lines, ["mean", *means, f"{gain.points:+.1f}"],
          ["spread", *spreads, f"{gain.spread:.1f}"]]


def differing_text(gain):
  """Settings that differ between the seeds, as one line; "" for none."""
  if not gain.differing:
    return ""
  return ("The seeds differ in more than the seed, so mean and spread are not "
          f"of one training: --{', --'.join(gain.differing)}. Train the chain "
          "with --seeds again.")


def interval_text(gain):
  """The interval as one line of text; "" without one."""
  if gain.interval is None:
    return ""
  low, high = gain.interval
  of_seeds = (f", mean of {len(gain.seeds)} seeds" if len(gain.seeds) > 1
              else "")
  verdict = ("" if low > 0 or high < 0 else
             " It includes 0: on other images there may be no gain.")
  return (f"95 % interval of the gain{of_seeds}: {low:+.1f} to {high:+.1f} "
          f"points of mAP (paired bootstrap: {gain.num_samples} samples of "
          f"{gain.num_images} images).{verdict}{_frequent_text(gain.frequent)}")


def _frequent_text(frequent):
  if frequent is None:
    return ""
  low, high = frequent.interval
  of_classes = ("the one class" if frequent.num_classes == 1 else
                f"the {frequent.num_classes} classes")
  return (f" Over {of_classes} with {metrics.FREQUENT} images or more, "
          f"{frequent.points:+.1f} points: {low:+.1f} to {high:+.1f}.")


def format_lines(gain):
  """Lines for the terminal below the table of the models."""
  lines = []
  if len(gain.seeds) > 1:
    heading, *body = rows(gain)
    lines += ["", *table_lib.align(
        [heading, None, *body[:-2], None, *body[-2:]]), "",
              "mAP in percent; spread: standard deviation over seeds. The "
              f"models above are of seed {gain.seeds[0].seed}."]
  for text in differing_text(gain), interval_text(gain):
    lines += ["", text] if text else []
  return lines


def as_json(gain):
  """The gain as a JSON-serializable dict; None for None."""
  return None if gain is None else dataclasses.asdict(gain)
