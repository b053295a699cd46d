"""Declarations of settings, and the checks that follow from them.

A topic is a dataclass: its docstring is the topic's title, and its fields are
made by `declare`. `topics` combines them. No module of this package imports
TensorFlow, so that `--help` is fast.
"""

import dataclasses
import math
from typing import Any
from typing import Optional

# In training order: later stages use the results of earlier ones.
STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")
TEACHER = ("wsd",)
STUDENTS = ("cls", "kd_feature", "kd_prediction")
DISTILLATION = ("kd_feature", "kd_prediction")
STAGE_1 = ("kd_feature",)
STAGE_2 = ("kd_prediction",)
# Stages that use the labels and can therefore be validated.
LABELLED = ("wsd", "cls", "kd_prediction")
LABELLED_STUDENTS = ("cls", "kd_prediction")

# Why a run cannot be resumed with another value.
WEIGHTS = "the shape or the scale of the weights depends on them"
TRAINED_FOR = "the weights were trained for them"
OPTIMIZER = "the variables of the optimizer depend on them"

UNSET = dataclasses.MISSING


def declare(default, text, *, stages=STAGES, choices=(), flag_choices=(),
            lower=None, upper=None, lengths=None, fixed="", caffe=UNSET,
            older=UNSET):
  """Declares a setting: a field of a topic.

  Args:
    default: default of the flag and of the field.
    text: help of the flag: what it does, its unit, when to change it.
    stages: stages that read the setting.
    choices: allowed values; empty for no restriction.
    flag_choices: allowed values of the flag, if they differ.
    lower: minimum of a number, or of each number in a tuple.
    upper: maximum of a number, or of each number in a tuple.
    lengths: for a tuple: (minimum, maximum) number of values.
    fixed: why a run cannot be resumed with another value; empty if it can.
    caffe: value that --caffe_parity sets; unset for none.
    older: value in runs whose config.json was written before the setting
      existed; unset for settings that have always existed.

  Returns:
    A dataclass field.
  """
  return dataclasses.field(default=default, metadata=dict(
      text=text, stages=stages, choices=choices,
      flag_choices=flag_choices or choices, lower=lower, upper=upper,
      lengths=lengths, fixed=fixed, caffe=caffe, older=older))


@dataclasses.dataclass(frozen=True)
class Setting:
  """A declared setting: the arguments of `declare`, and these attributes.

  Attributes:
    name: name of the field and of the flag.
    type: annotation of the field.
    topic: title of the topic.
  """
  name: str
  type: Any
  topic: str
  default: Any
  text: str
  stages: tuple[str, ...]
  choices: tuple[str, ...]
  flag_choices: tuple[str, ...]
  lower: Optional[float]
  upper: Optional[float]
  lengths: Optional[tuple[int, int]]
  fixed: str
  caffe: Any
  older: Any

  def expected(self, value):
    """Describes what is expected instead of a value; None if it is allowed.

    Args:
      value: value of the setting's type, or None.
    """
    values = value if isinstance(value, tuple) else (value,)
    numbers = [one for one in values
               if isinstance(one, (int, float)) and not isinstance(one, bool)]
    if not all(math.isfinite(one) for one in numbers if isinstance(one, float)):
      return "finite numbers"
    if self.choices and not all(
        one in self.choices for one in values if isinstance(one, str)):
      return "one of " + ", ".join(self.choices)
    if self.lower is not None and any(one < self.lower for one in numbers):
      return f"{self.lower:g} or more"
    if self.upper is not None and any(one > self.upper for one in numbers):
      return f"{self.upper:g} or less"
    if self.lengths and isinstance(value, tuple):
      least, most = self.lengths
      if not least <= len(value) <= most:
        count = f"{least}" if least == most else f"{least} to {most}"
        return f"{count} values"
    return None


def declared(*topics):
  """The settings of the given topics, in order: {name: Setting}."""
  found = {}
  for topic in topics:
    for field in dataclasses.fields(topic):
      if "text" in field.metadata:
        found[field.name] = Setting(
            name=field.name, type=field.type, default=field.default,
            topic=topic.__doc__.splitlines()[0].rstrip("."), **field.metadata)
  return found
