"""A target with faults that no parser should have, to try the harness on."""

import os
import pathlib
import signal
import time

from hypothesis import strategies as st

PLACES = "^x: "

# Variable with the path of a file to make when it hangs, if any.
HANGING = "KDWSD_PLANTED_HANGING"


def examples():
  """A case that nothing is wrong with."""
  return [{"x": b"fine"}]


def grammar():
  """Cases that say themselves what they do."""
  return st.sampled_from([b"fine", b"crash", b"hang"]).map(
      lambda content: {"x": content})


def check(folder):
  """Ends the process, or never ends, as the case has it."""
  with open(os.path.join(folder, "x"), "rb") as file:
    content = file.read()
  if content == b"crash":
    os.kill(os.getpid(), signal.SIGSEGV)
  if content == b"hang":
    if HANGING in os.environ:
      pathlib.Path(os.environ[HANGING]).touch()
    time.sleep(3600)
