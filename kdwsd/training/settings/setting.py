"""What is declared of a setting, and the checks that follow from it.

A topic is a dataclass: its docstring is the topic's title, its fields are
made by `declare`. `topics` puts them together. No module of this package
imports TensorFlow, so that `--help` is fast.
"""

import dataclasses
import math
from typing import Any
from typing import Optional

# In the order in which they build on each other.
STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")
TEACHER = ("wsd",)
STUDENTS = ("cls", "kd_feature", "kd_prediction")
DISTILLATION = ("kd_feature", "kd_prediction")
STAGE_1 = ("kd_feature",)
STAGE_2 = ("kd_prediction",)
# Those that read the labels: they can be validated.
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
    default: of the flag and of the field.
    text: the flag's help: what it does, its unit, when to change it.
    stages: those that read it.
    choices: the values it may have.
    flag_choices: those of the flag, where they differ.
    lower: the least number allowed, in a tuple for each.
    upper: the greatest, likewise.
    lengths: of a tuple: (least, greatest) number of values.
    fixed: why a run cannot be resumed with another value; empty if it can.
    caffe: the value that --caffe_parity sets; left out for none.
    older: the value of runs whose config.json was written before the setting
      existed; left out for those that were there from the beginning.

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
    name: of the field and of the flag.
    type: the annotation of the field.
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
    """What is expected where a value is not allowed, in words; None if it is.

    Args:
      value: of the setting's type, or None.
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
  """The settings of some topics, in their order: {name: Setting}."""
  found = {}
  for topic in topics:
    for field in dataclasses.fields(topic):
      if "text" in field.metadata:
        found[field.name] = Setting(
            name=field.name, type=field.type, default=field.default,
            topic=topic.__doc__.splitlines()[0].rstrip("."), **field.metadata)
  return found
