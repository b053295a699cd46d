"""Silences TensorFlow's own log lines, which mean nothing to a user.

Errors are raised as usual.
"""

import contextlib
import logging as python_logging
import os
import warnings

from absl import logging


@contextlib.contextmanager
def logs():
  """Silences log lines and warnings from Python, such as on input names."""
  # Not `set_verbosity`, which cannot be undone if it was never set.
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
  """Also silences standard error, where C++ converters print tables."""
  kept = os.dup(2)
  try:
    with open(os.devnull, "wb") as nowhere:
      os.dup2(nowhere.fileno(), 2)
    with logs():
      yield
  finally:
    os.dup2(kept, 2)
    os.close(kept)
