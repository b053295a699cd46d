"""Long tests of what a run survives: `make soak`.

Kills training, conversion and export with SIGKILL, by the clock and at aimed
moments, starts them again by the same command until they end, and compares what
they left with undisturbed runs, weights bit for bit. Then trains with one seed
several times. Ends with a line for each part; the exit status is 1 if one of
them found a difference, whose folder is then kept.
"""

import datetime
import os
import shutil
import sys
import tempfile
import time

from absl import flags

from kdwsd import command_line

_PARTS = ("kills", "seeds")

_KILLS = flags.DEFINE_integer("kills", 24, "Kills in all.", lower_bound=1)
_SEED = flags.DEFINE_integer(
    "seed", 0, "Of the moments of the kills; and the one of the runs whose "
    "weights must be equal.", lower_bound=0)
_SOAKED = flags.DEFINE_multi_enum(
    "part", list(_PARTS), _PARTS, "What to do; may be given several times.")
_PLACE = flags.DEFINE_string(
    "place", None, "Folder to work in; a temporary one if left out.")


def main(_):
  """Does the parts, one after the other."""
  from tests.soak import lives  # pylint: disable=import-outside-toplevel
  place = os.path.abspath(_PLACE.value or tempfile.mkdtemp(
      prefix="kdwsd-soak-"))
  summaries, failed = [], False
  for part in _SOAKED.value:
    began = time.monotonic()
    try:
      problems, summary = _PART[part](os.path.join(place, part))
    except lives.DeathError as error:
      _tell(f"FAILED: {error}")
      problems, summary = [error], part
    if problems:
      summary += f": {len(problems)} PROBLEMS, told above; see {place}"
    summaries.append(f"soak: {summary}, in "
                     f"{(time.monotonic() - began) / 60:.0f} min.")
    failed = failed or bool(problems)
  print("\n".join(summaries))
  if failed:
    sys.exit(1)
  if not _PLACE.value:
    shutil.rmtree(place)


def _kills(place):
  """Returns problems, and what was done in words."""
  from tests.soak import kills  # pylint: disable=import-outside-toplevel
  soak = kills.Soak(place, _SEED.value, _tell)
  soak.run(soak.prepare(), _KILLS.value)
  where = ", ".join(f"{name} {count}" for name, count in soak.hits.items())
  summary = (f"{sum(soak.hits.values())} kills ({where}) of {soak.lives} runs, "
             f"seed {_SEED.value}")
  if not soak.problems:
    summary += ", all weights equal bit for bit"
  return soak.problems, summary


def _seeds(place):
  """Returns problems, and what was measured in words."""
  # pylint: disable=import-outside-toplevel
  from tests.soak import kills
  from tests.soak import seeds
  # pylint: enable=import-outside-toplevel
  source = kills.Soak(place, _SEED.value, _tell).prepare_records()[0]
  return seeds.check(source, place, _SEED.value, _tell)


_PART = {"kills": _kills, "seeds": _seeds}


def _tell(line):
  print(f"{datetime.datetime.now():%H:%M:%S} {line}", flush=True)


if __name__ == "__main__":
  command_line.run(main)
