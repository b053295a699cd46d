"""The most memory this process has held, since it was last told to forget."""

import resource
import sys


def forget():
  """Starts anew, where the system can: Linux, with its own /proc writable.

  Returns:
    Whether it could. If not, `read` goes on from the largest ever.
  """
  try:
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
      file.write("5")
    return True
  except OSError:
    return False


def read():
  """The peak of what is resident, in bytes."""
  try:
    # Not of `getrusage`: that never falls, and a child inherits its parent's.
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
      for line in file:
        if line.startswith("VmHWM:"):
          return int(line.split()[1]) * 1024
  except OSError:
    pass
  peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
  return peak if sys.platform == "darwin" else peak * 1024
