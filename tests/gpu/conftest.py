"""Marks the tests of this folder `gpu`, which they need no pytest to be."""

import os

import pytest

_FOLDER = os.path.dirname(os.path.abspath(__file__))


def pytest_collection_modifyitems(items):
  """Before pytest chooses by marks."""
  for item in items:
    if os.path.dirname(str(item.path)) == _FOLDER:
      item.add_marker(pytest.mark.gpu)
