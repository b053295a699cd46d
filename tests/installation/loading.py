"""Loads the programs of .ci, which is in no package."""

import importlib.util
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]


def load(name):
  """The module of `.ci/NAME.py`."""
  spec = importlib.util.spec_from_file_location(
      name, ROOT / ".ci" / f"{name}.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
