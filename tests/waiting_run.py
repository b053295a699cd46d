"""`kdwsd.train` that waits at a step to be killed or told to stop.

`python -m tests.waiting_run STEP FLAGS` goes on at once when it is told to, and
after ten minutes anyway, so that the program that started it may be late.
"""

import sys
import time

from kdwsd import command_line
from kdwsd import interruption
from kdwsd import train
from kdwsd.training import history

_PATIENCE = 600.0  # Seconds.


def _waiting(append, step):
  """`history.append` that waits once it has told of a step."""

  def append_and_wait(path, entry):
    append(path, entry)
    deadline = time.monotonic() + _PATIENCE
    while (entry["step"] >= step and not interruption.pending()
           and time.monotonic() < deadline):
      time.sleep(0.01)

  return append_and_wait


if __name__ == "__main__":
  history.append = _waiting(history.append, int(sys.argv.pop(1)))
  command_line.run(train.main)
