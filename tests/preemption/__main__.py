"""What happens on a machine that is taken away: `python -m tests.preemption`.

Such a machine sends SIGTERM and is gone after 30 seconds. Each program gets the
signal at the moments that take it longest or cost it most, and is started again
by the same command. Prints a table; the exit status is 1 if a program took
longer. A temporary file that it leaves is removed when it is started again.
"""

import os
import re
import shutil
import sys
import tempfile

from absl import flags

from kdwsd import command_line
from tests.preemption import cases
from tests.preemption import clusters
from tests.preemption import notices

_NOTICE = flags.DEFINE_float(
    "notice", 30.0, "Seconds that a program may take.", lower_bound=0)
_QUICK = flags.DEFINE_bool(
    "quick", False, "Small models and images, to try it out.")
_PHOTOGRAPHS = flags.DEFINE_string(
    "photographs", None, "VOCdevkit to convert; drawn images if left out.")
_ONLY = flags.DEFINE_string(
    "only", "", "Regular expression of programs and moments, such as "
    "'train: .*step|serve'; all if left out.")
_PLACE = flags.DEFINE_string(
    "place", None, "Folder to work in, 8 GB; a temporary one if left out. What "
    "was prepared there before is used again.")


_WORKERS = flags.DEFINE_bool(
    "workers", False, "Give one of two workers the signal instead.")


def main(_):
  """Goes through all cases."""
  place = os.path.abspath(_PLACE.value or tempfile.mkdtemp(
      prefix="kdwsd-preemption-"))
  late = (_workers if _WORKERS.value else _programs)(place)
  if not _PLACE.value:
    shutil.rmtree(place)
  if late:
    print(f"{late} took longer than {_NOTICE.value:g} s.")
    sys.exit(1)


def _workers(place):
  """Prints a row for each moment; returns how many were late."""
  folder = os.path.join(place, "work")
  if not os.path.exists(folder):
    clusters.prepare(folder)
  print("| moment of SIGTERM to one of two workers | this one ends after, s | "
        "status | the other | status | all, started again |\n|---|---|---|---|"
        "---|---|")
  late = 0
  for case in clusters.cases():
    for name in ("run/new", "records/teacher_cache"):
      shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
    outcome = clusters.give(case, folder)
    ends = outcome.ends if case.alone or not case.index else outcome.ends[::-1]
    late += ends[0][0] > _NOTICE.value
    ends = [f"{seconds:.1f} | {status}" for seconds, status in ends]
    print(f"| {case.moment} | {' | '.join([*ends, ' | '][:2])} | "
          f"{outcome.resumed} |", flush=True)
  return late


def _programs(place):
  """Prints a row for each moment; returns how many were late."""
  folder = os.path.join(place, "work")
  made = cases.Cases(folder, cases.QUICK if _QUICK.value else cases.FULL,
                     _PHOTOGRAPHS.value and os.path.abspath(_PHOTOGRAPHS.value))
  if not os.path.exists(folder):
    made.prepare()
  print("| program | moment of SIGTERM | ends after, s | exit status | "
        "its last line | the same command |\n|---|---|---|---|---|---|")
  late = 0
  for case in made.all():
    if not re.search(_ONLY.value, f"{case.name}: {case.moment}"):
      continue
    made.clean()
    outcome = notices.give(case, folder)
    seconds = outcome.seconds + outcome.orphans
    late += seconds > _NOTICE.value
    resumed = outcome.resumed
    resumed = resumed if isinstance(resumed, str) else ", ".join(resumed)
    print(f"| {case.name} | {case.moment} | {outcome.seconds:.1f}"
          f"{f' + {outcome.orphans:.1f}' if outcome.orphans > 0.1 else ''} | "
          f"{outcome.status} | {outcome.last[-110:]} | {resumed}"
          f"{f'; {outcome.left} temporary left' if outcome.left else ''} |",
          flush=True)
  return late


if __name__ == "__main__":
  command_line.run(main)
