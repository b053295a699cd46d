"""Keeps TensorFlow's remarks, none of them a user's business, off the screen.

What goes wrong is raised, not written.
"""

import contextlib
import logging as python_logging
import os
import warnings

from absl import logging


@contextlib.contextmanager
def logs():
  """Without lines of Python's TensorFlow, as on names of inputs."""
  # Not `set_verbosity`, which cannot be taken back where it was never set.
  logger = logging.get_absl_logger()
  before = logger.level
  logger.setLevel(python_logging.ERROR)
  try:
    with warnings.catch_warnings():
      warnings.simplefilter("ignore")
      yield
  finally:
    logger.setLevel(before)


@contextlib.contextmanager
def everything():
  """Also without what C++ writes to standard error, as a converter's tables."""
  kept = os.dup(2)
  try:
    with open(os.devnull, "wb") as nowhere:
      os.dup2(nowhere.fileno(), 2)
    with logs():
      yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
