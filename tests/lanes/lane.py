"""The other lane: programs run with its Python, on this checkout's code.

KDWSD_OTHER_LANE names the Python of an environment of the other lane, in which
the package's requirements are installed. Programs are forked from a process of
each lane that has loaded TensorFlow, see `tests/programs.py`.
"""

import functools
import os
import sys

import pytest

from tests import programs

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

NO_OTHER = (
    "needs the other lane: set KDWSD_OTHER_LANE to the Python of its "
    "environment, such as .venv-modern/bin/python")

# This lane, the other one: who makes something and who uses it.
BOTH_WAYS = (("this", "other"), ("other", "this"))


def python(lane):
  """The Python of `this` lane or of the `other`; skips the test if missing."""
  if lane == "this":
    return sys.executable
  path = os.environ.get("KDWSD_OTHER_LANE")
  if not path:
    pytest.skip(NO_OTHER)
  # Relative to the checkout, as in `make`. A link is kept: it is what makes a
  # virtual environment.
  path = os.path.join(_ROOT, path)
  if not os.path.exists(path):
    pytest.fail(f"KDWSD_OTHER_LANE: expected a Python. Received: no {path}")
  return path


@functools.cache
def _server(executable):
  """Socket of a process with TensorFlow of a lane.

  Without oneDNN, of which each TensorFlow has another version: what differs
  then is not due to rounding.
  """
  return programs.start_server(executable, {"TF_ENABLE_ONEDNN_OPTS": "0"})


def start(lane, *arguments):
  """Starts `python -m` with some arguments in a lane: a `programs.Program`."""
  return programs.Program(
      *arguments, cwd=_ROOT, server=_server(python(lane)),
      environment={"TF_ENABLE_ONEDNN_OPTS": "0"})


def run(lane, *arguments, timeout=1200):
  """Runs `python -m` in a lane to its end; returns stdout and stderr."""
  process = start(lane, *arguments)
  out, err = process.communicate(timeout=timeout)
  assert process.returncode == 0, f"{lane}: {arguments}: {out}{err}"
  return out, err
