"""The config of a run: a frozen dataclass, saved beside the checkpoints."""

import dataclasses
import glob
import os
import typing

from kdwsd import errors
from kdwsd import files
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics

_FILE = "config.json"


@dataclasses.dataclass(frozen=True)
class Config(topics.Fields):
  """The classes of the data, and a value for each setting.

  Raises:
    errors.InputError: a setting has a value that is not allowed.
  """

  def __post_init__(self):
    for name, declared in topics.CONFIG_SETTINGS.items():
      value = getattr(self, name)
      expected = declared.expected(value)
      if expected:
        raise errors.InputError(
            f"--{name}: expected {expected}. Received: {value!r:.100}.")
    if self.checkpoint_interval % self.steps_per_loop:
      raise errors.InputError(
          "--checkpoint_interval: expected a multiple of --steps_per_loop, "
          f"{self.steps_per_loop}. Received: {self.checkpoint_interval}.")

    if self.test_split and self.test_split == self.eval_split:
      raise errors.InputError(
          "--test_split: expected another split than --eval_split, on which "
          "the best checkpoint is chosen; make_records --validation_share cuts "
          f"one from the training images. Received: {self.test_split} for "
          "both.")
    if self.test_split and self.test_split == self.train_split:
      raise errors.InputError(
          "--test_split: expected another split than --train_split. Received: "
          f"{self.test_split} for both.")
    profile = self.profile_steps
    if profile and not (
        len(profile) == 2 and profile[0] <= profile[1] <= self.train_steps):
      raise errors.InputError(
          "--profile_steps: expected a first and a last step, such as 10,20, "
          f"up to --train_steps, {self.train_steps}. Received: "
          f"{','.join(map(str, profile))}.")

  @property
  def scaled_rate(self):
    """The learning rate before multipliers and schedule.

    Linear scaling: Goyal et al., "Accurate, Large Minibatch SGD", 2017.
    """
    if not self.rate_batch:
      return self.learning_rate
    return self.learning_rate * self.global_batch_size / self.rate_batch


def splits_to_measure(values):
  """Splits on which a finished run is measured; the last one is reported.

  Args:
    values: dict of settings, as in config.json; of older versions, too.

  Returns:
    List of up to two names: the validation split and the test split.
  """
  if values.get("stage") not in setting.LABELLED:
    return []
  return [values[name] for name in ("eval_split", "test_split")
          if values.get(name)]


def path(workdir):
  """Path of a run's config."""
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
        f"Received: {_instead(workdir)}.")
  content = files.read_json(path(workdir))
  fields = dataclasses.fields(Config)
  names = {field.name for field in fields}
  older = {name: declared.older
           for name, declared in topics.CONFIG_SETTINGS.items()
           if declared.older is not setting.UNSET}
  needed = names - set(older)
  if not isinstance(content, dict) or not needed <= set(content) <= names:
    odd = "?"
    if isinstance(content, dict):
      odd = _listed(sorted((needed - set(content)) | (set(content) - names)))
    raise errors.InputError(
        f"{path(workdir)}: expected the fields of this version of kdwsd. "
        f"Received: a file that differs in {odd}.")
  content = {key: tuple(value) if isinstance(value, list) else value
             for key, value in {**older, **content}.items()}
  for field in fields:
    value = content[field.name]
    if not _fits(value, field.type):
      raise errors.InputError(
          f"{path(workdir)}: expected {_named(field.type)} under "
          f"{field.name!r}. Received: {value!r:.100}.")
  try:
    return Config(**content)
  except errors.InputError as error:
    raise errors.InputError(f"{path(workdir)}: {error}") from error


def _instead(workdir):
  """What a directory without a config is."""
  runs = sorted(os.path.dirname(found) for found in glob.glob(
      os.path.join(glob.escape(workdir), "*", _FILE)))
  if runs:
    return f"that of a chain; name one of its runs, as {runs[-1]}"
  return f"no {_FILE} there"


def _listed(names, most=6):
  """Names for a message, at most `most` of them."""
  shown = ", ".join(f"{name!r:.40}" for name in names[:most])
  return shown + (f" and {len(names) - most} more" if len(names) > most else "")


def _fits(value, kind):
  """Whether a JSON value, its lists made tuples, has a field's type."""
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
  """The name of a field's type, for messages."""
  return (str(kind).replace("typing.", "") if typing.get_args(kind)
          else kind.__name__)


def changes(before, after):
  """Fields in which two configs differ: {name: (before, after)}."""
  return {
      field.name: (getattr(before, field.name), getattr(after, field.name))
      for field in dataclasses.fields(Config)
      if getattr(before, field.name) != getattr(after, field.name)}


def check_resumable(before, after, workdir):
  """Checks that a run may be resumed with another config.

  Returns:
    The changes, as `changes` returns them.

  Raises:
    errors.InputError: a setting that is fixed on resuming has changed.
  """
  fixed = {"classes": setting.WEIGHTS, **{
      name: declared.fixed for name, declared in topics.CONFIG_SETTINGS.items()
      if declared.fixed and before.stage in declared.stages}}
  fatal = differences(before, after, fixed)
  if fatal:
    reasons = dict.fromkeys(
        reason for name, reason in fixed.items()
        if name in changes(before, after))
    raise errors.InputError(
        f"{path(workdir)}: expected the settings this run was started with, "
        f"because {', and '.join(reasons)}. Received: {fatal}. Use another "
        "--workdir for another model.")
  return changes(before, after)


def model_fields(stage):
  """Names of the fields that the shape or scale of a stage's weights needs."""
  return ("classes", *(
      name for name, declared in topics.CONFIG_SETTINGS.items()
      if declared.fixed == setting.WEIGHTS and stage in declared.stages))


def differences(before, after, names):
  """Text that lists the named fields that differ; empty for none."""
  changed = changes(before, after)
  return "; ".join(
      f"--{name} was {changed[name][0]!r}, is {changed[name][1]!r}"
      for name in names if name in changed)
