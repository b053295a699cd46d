"""A target with faults that no parser should have, to try the harness on."""

import os
import signal
import time

from hypothesis import strategies as st

PLACES = "^x: "


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
    time.sleep(1000)
