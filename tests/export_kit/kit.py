"""Where the serving kit lies, and its client as a module."""

import importlib.util
import pathlib

FOLDER = pathlib.Path(__file__).resolve().parent.parent.parent / "export"


def client():
  """Imports client.py, which is in no package."""
  spec = importlib.util.spec_from_file_location(
      "kit_client", FOLDER / "client.py")
  module = importlib.util.module_from_spec(spec)
  spec.loader.exec_module(module)
  return module
