"""Defines the settings as absl flags, and reads their values from flagfiles."""

import os
import re
import typing

from absl import flags

from kdwsd import errors
from kdwsd import shipped
from kdwsd.data import texts
from kdwsd.training.settings import topics


class _TupleParser(flags.ListParser):
  """Parses values separated by commas into a tuple of their type."""

  def __init__(self, declared):
    super().__init__()
    self._declared = declared
    self._type, = set(typing.get_args(declared.type)) - {...}

  def parse(self, argument):
    """Parses text; a tuple is returned unchanged.

    Raises:
      ValueError: a value that the setting does not allow.
    """
    if isinstance(argument, tuple):
      return argument
    value = tuple(map(self._parse_one, super().parse(argument)))
    expected = self._declared.expected(value)
    if expected:
      raise ValueError(f"expected {expected}")
    return value

  def _parse_one(self, text):
    # int() would also accept underscores and digits of other scripts.
    if self._type is int and not re.fullmatch("[0-9]{1,9}", text):
      raise ValueError("expected whole numbers, separated by commas")
    try:
      return self._type(text)
    except ValueError as error:
      raise ValueError("expected numbers, separated by commas") from error


def define(flag_values):
  """Defines a flag for each setting.

  Args:
    flag_values: `flags.FLAGS`, or another `flags.FlagValues`.
  """
  for name, one in topics.SETTINGS.items():
    given = (name, one.default, one.text)
    bounds = {"lower_bound": one.lower, "upper_bound": one.upper}
    if typing.get_origin(one.type) is tuple:
      flags.DEFINE(_TupleParser(one), *given, flag_values,
                   flags.CsvListSerializer(","))
    elif one.flag_choices:
      flags.DEFINE_enum(name, one.default, one.flag_choices, one.text,
                        flag_values)
    elif one.type is bool:
      flags.DEFINE_bool(*given, flag_values)
    elif one.type is int:
      flags.DEFINE_integer(*given, flag_values=flag_values, **bounds)
    elif float in (one.type, *typing.get_args(one.type)):
      flags.DEFINE_float(*given, flag_values=flag_values, **bounds)
    else:
      flags.DEFINE_string(*given, flag_values)
  flags.register_multi_flags_validator(
      ["data", "workdir"],
      lambda values: not values["data"] or bool(values["workdir"]),
      message="--data needs a --workdir", flag_values=flag_values)
  flags.register_multi_flags_validator(
      ["recipe", "stage"],
      lambda values: not values["recipe"] or values["stage"] == "all",
      message="--recipe needs --stage=all; for a single stage, use --flagfile",
      flag_values=flag_values)


def _way_out(path):
  """What to do where a flagfile of a recipe is missing."""
  folder, name = os.path.split(path)
  if os.path.isfile(folder):
    return f"for a flagfile, use --flagfile={folder}"
  others = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
  if name == "wsd.flags" and "cls.flags" in others:
    return "a recipe without a teacher needs --teacher=RUN"
  if "all.flags" in others:
    return f"use --flagfile={os.path.join(folder, 'all.flags')}"
  return "`python -m kdwsd.recipes` lists those that come with kdwsd"


def read_recipe(path):
  """Values of all flags as set by a flagfile alone.

  Args:
    path: path of the flagfile.

  Returns:
    {name: value}.

  Raises:
    errors.InputError: no such file, or it does not consist of these flags.
  """
  if not os.path.exists(path):
    raise errors.InputError(
        f"--recipe: expected a flagfile for each stage. Received: no {path}; "
        f"{_way_out(path)}.")
  alone = flags.FlagValues()
  shipped.find_flagfiles(alone)
  define(alone)
  try:
    alone(["", f"--flagfile={path}"])
  # absl does not catch all errors: other encodings, wrong numbers, NUL bytes.
  except (flags.Error, ValueError, RecursionError) as error:
    raise errors.InputError(
        f"{path}: expected flags of kdwsd.train. Received: "
        f"{texts.shown(str(error))}.") from error
  return alone.flag_values_dict()
