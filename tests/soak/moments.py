"""Moments at which a program is killed: by the clock, or by what it does."""

import dataclasses
import os
import re


@dataclasses.dataclass(frozen=True)
class AtTime:
  """Some seconds after the start.

  Attributes:
    seconds: after the start.
  """
  seconds: float

  def __str__(self):
    return f"at {self.seconds:.1f} s"

  def watch(self, folder):
    """Function of the seconds since the start: whether the moment has come."""
    del folder  # Unused.
    return lambda elapsed: elapsed >= self.seconds


@dataclasses.dataclass(frozen=True)
class Aim:
  """A file or folder that appears, or grows, where the program runs.

  Attributes:
    name: what the program is doing then, in words.
    root: folder to look in, with all below, relative.
    pattern: regular expression of the whole path below the root.
    text: what must have come into the file; empty for anything.
    delay: seconds from seeing it to the kill.
    stage: of a chain that is then being trained; empty for the program's end,
      or for a program without stages.
  """
  name: str
  root: str
  pattern: str
  text: str = ""
  delay: float = 0.0
  stage: str = ""

  def __str__(self):
    return f"aimed at {self.name}"

  def watch(self, folder):
    """Function of the seconds since the start: whether the moment has come.

    What is there when this is called does not count until it has grown, or has
    gone and come again.
    """
    root, pattern = os.path.join(folder, self.root), re.compile(self.pattern)
    before = dict(_sizes(root, pattern))
    seen = []

    def has_come(elapsed):
      if not seen:
        now = dict(_sizes(root, pattern))
        for path in set(before) - set(now):
          del before[path]
        if any(size != before.get(path) and self._has_text(
            path, before.get(path, 0)) for path, size in now.items()):
          seen.append(elapsed)
      return bool(seen) and elapsed >= seen[0] + self.delay

    return has_come

  def _has_text(self, path, start):
    if not self.text:
      return True
    try:
      with open(path, "rb") as file:
        file.seek(start)
        return self.text.encode() in file.read()
    except OSError:  # Gone by now.
      return False


def _sizes(root, pattern, below=""):
  """Yields (path, bytes) of what matches; a folder counts as 0 bytes."""
  try:
    entries = list(os.scandir(os.path.join(root, below)))
  except OSError:  # Not made yet, or gone by now.
    return
  for entry in entries:
    name = os.path.join(below, entry.name)
    try:
      folder = entry.is_dir(follow_symlinks=False)
      if pattern.fullmatch(name):
        yield entry.path, 0 if folder else entry.stat().st_size
    except OSError:
      continue
    if folder:
      yield from _sizes(root, pattern, name)
