"""What a part of a benchmark took."""

import dataclasses
import os
import time


@dataclasses.dataclass(frozen=True)
class Taken:
  """What a part took.

  Attributes:
    images: number of images.
    seconds: by the clock.
    core_seconds: of the processor, in all threads and child processes.
    disk_bytes: written by the part; 0 for none.
    remark: further figures.
  """
  images: int
  seconds: float
  core_seconds: float
  disk_bytes: int = 0
  remark: str = ""


class Clock:
  """Time since it was made."""

  def __init__(self):
    self._start, self._cores = time.monotonic(), self._processor()

  def taken(self, images, **further):
    """`Taken` since then."""
    return Taken(images, time.monotonic() - self._start,
                 self._processor() - self._cores, **further)

  @staticmethod
  def _processor():
    times = os.times()
    return (times.user + times.system + times.children_user
            + times.children_system)


def size(folder):
  """Bytes of all files below a folder."""
  return sum(os.path.getsize(os.path.join(place, name))
             for place, _, names in os.walk(folder) for name in names)
