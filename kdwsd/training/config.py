"""What a run was asked to do: one frozen value, kept beside its checkpoints."""

import dataclasses
import math
import os
import typing
from typing import Optional

from kdwsd import errors
from kdwsd import files

_FILE = "config.json"

# Fields that shape variables or their meaning: a run cannot go on with others.
_FIXED = ("stage", "classes", "backbone", "backbone_width", "fc_units",
          "roi_pooling", "score_scale", "score_bias", "class_temperature",
          "detection_temperature", "student_size", "feature_scale",
          "feature_layers", "feature_adapter", "ema_decay", "optimizer",
          "schedule", "mixed_precision")


@dataclasses.dataclass(frozen=True)
class Config:
  """Everything `kdwsd.train` needs; each field is the flag of that name.

  `classes` alone is no flag: it comes with the training records.
  """
  stage: str
  classes: tuple[str, ...]
  # Data.
  data: str
  train_split: str
  eval_split: Optional[str]
  train_sizes: tuple[int, ...]
  eval_size: int
  num_proposals: int
  mirror: bool
  cache: str
  shuffle_buffer: int
  # Model.
  backbone: str
  backbone_width: float
  backbone_weights: str
  frozen_stages: int
  fc_units: int
  dropout_rate: float
  roi_pooling: str
  score_scale: float
  score_bias: float
  class_temperature: float
  detection_temperature: float
  spatial_weight: float
  # The student.
  student_size: int
  randaugment_layers: int
  randaugment_magnitude: int
  cutout_size: int
  hard_loss: str
  focal_alpha: float
  focal_gamma: float
  asymmetric_gammas: tuple[float, ...]
  asymmetric_clip: float
  ema_decay: float
  # Distillation.
  teacher: str
  teacher_checkpoint: str
  teacher_dropout: bool
  teacher_cache: str
  feature_layers: tuple[str, ...]
  feature_adapter: str
  roi_weight: str
  top_k_rois: int
  feature_student: str
  teacher_temperature: float
  student_temperature: float
  hard_weight: float
  soft_weight: float
  # Optimisation.
  global_batch_size: int
  optimizer: str
  learning_rate: float
  backbone_rate: float
  classifier_rate: float
  momentum: float
  weight_decay: float
  schedule: str
  warmup_steps: int
  schedule_boundaries: tuple[int, ...]
  schedule_factor: float
  plateau_patience: int
  clip_norm: Optional[float]
  train_steps: int
  # The run.
  steps_per_loop: int
  checkpoint_interval: int
  eval_interval: int
  keep_checkpoints: int
  best_figure: str
  distribution_strategy: str
  num_replicas: int
  mixed_precision: str
  deterministic: bool
  seed: int
  # Came later: what runs of before have not said has this value.
  init_from: str = ""
  frozen_cache: bool = False
  rate_batch: int = 0
  student_factor: str = "teacher"
  feature_scale: float = 1.0

  def __post_init__(self):
    for field in dataclasses.fields(self):
      value = getattr(self, field.name)
      for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
          raise errors.InputError(
              f"--{field.name}: expected finite numbers. Received: {value}.")
    if (self.steps_per_loop < 1
        or self.checkpoint_interval % self.steps_per_loop):
      raise errors.InputError(
          "--checkpoint_interval: expected a multiple of --steps_per_loop, "
          f"{self.steps_per_loop}. Received: {self.checkpoint_interval}.")

  @property
  def scaled_rate(self):
    """The learning rate before multipliers and schedule.

    Linear scaling: Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    if not self.rate_batch:
      return self.learning_rate
    return self.learning_rate * self.global_batch_size / self.rate_batch


def path(workdir):
  """Where a run keeps its config."""
  return os.path.join(workdir, _FILE)


def write(config, workdir):
  """Writes the config of a run."""
  files.write_json(path(workdir), dataclasses.asdict(config))


def read(workdir):
  """Reads the config of a run.

  Raises:
    errors.InputError: not a work directory, or written by another version.
  """
  if not os.path.exists(path(workdir)):
    raise errors.InputError(
        f"{workdir}: expected the work directory of a training run. "
        f"Received: no {_FILE} there.")
  content = files.read_json(path(workdir))
  fields = dataclasses.fields(Config)
  names = {field.name for field in fields}
  needed = {field.name for field in fields
            if field.default is dataclasses.MISSING}
  if not isinstance(content, dict) or not needed <= set(content) <= names:
    odd = "?"
    if isinstance(content, dict):
      odd = _listed(sorted((needed - set(content)) | (set(content) - names)))
    raise errors.InputError(
        f"{path(workdir)}: expected the fields of this version of kdwsd. "
        f"Received: a file that differs in {odd}.")
  content = {key: tuple(value) if isinstance(value, list) else value
             for key, value in content.items()}
  for field in fields:
    value = content.get(field.name, field.default)
    if not _fits(value, field.type):
      raise errors.InputError(
          f"{path(workdir)}: expected {_named(field.type)} under "
          f"{field.name!r}. Received: {value!r:.100}.")
  try:
    return Config(**content)
  except errors.InputError as error:
    raise errors.InputError(f"{path(workdir)}: {error}") from error


def _listed(names, most=6):
  """Names for a message: of a file that is none of ours there may be many."""
  shown = ", ".join(f"{name!r:.40}" for name in names[:most])
  return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _fits(value, kind):
  """Whether a value of JSON is of a field's type; lists are tuples."""
  origin, inner = typing.get_origin(kind), typing.get_args(kind)
  if origin is tuple:
    return isinstance(value, tuple) and all(
        _fits(item, inner[0]) for item in value)
  if origin is typing.Union:
    return any(_fits(value, one) for one in inner)
  if kind is float:
    kind = (int, float)
  elif kind is bool:
    return isinstance(value, bool)
  return isinstance(value, kind) and not isinstance(value, bool)


def _named(kind):
  """A field's type in words."""
  return getattr(kind, "__name__", None) if isinstance(
      kind, type) and not typing.get_args(kind) else str(kind).replace(
          "typing.", "")


def changes(before, after):
  """Fields in which two configs differ: {name: (before, after)}."""
  return {
      field.name: (getattr(before, field.name), getattr(after, field.name))
      for field in dataclasses.fields(Config)
      if getattr(before, field.name) != getattr(after, field.name)}


def check_resumable(before, after, workdir):
  """Checks that a run may go on with another config.

  Returns:
    The differences, all of them harmless to the variables.

  Raises:
    errors.InputError: a field that shapes the variables has changed.
  """
  fatal = differences(before, after, _FIXED)
  if fatal:
    raise errors.InputError(
        f"{path(workdir)}: expected the settings this run was started with. "
        f"Received: {fatal}. Use another --workdir for another model.")
  return changes(before, after)


def differences(before, after, names):
  """In words, in which of some fields two configs differ; empty for none."""
  changed = changes(before, after)
  return "; ".join(
      f"--{name} was {changed[name][0]!r}, is {changed[name][1]!r}"
      for name in names if name in changed)
