"""Programs are killed again and again, and must end as if they had not been."""

import collections
import dataclasses
import itertools
import os
import random
import shutil

from tests.soak import lives
from tests.soak import moments
from tests.soak import programs
from tests.soak import state

# Of all kills, those at a moment of the clock, and those of the first process
# alone instead of all.
_BY_THE_CLOCK = 0.5
_ALONE = 0.25


@dataclasses.dataclass(frozen=True)
class Reference:
  """What a program does undisturbed.

  Attributes:
    program: a `programs.Program`.
    source: folder with what it needs.
    folder: where it ran.
    state: what it left, see `state.read`.
    start_up: seconds to its first word.
    seconds: in all.
  """
  program: programs.Program
  source: str
  folder: str
  state: dict
  start_up: float
  seconds: float


def undisturbed(program, source, place):
  """Runs a program to its end.

  Args:
    program: a `programs.Program`.
    source: folder with what it needs.
    place: folder to make for it.

  Returns:
    A `Reference`.

  Raises:
    lives.DeathError: it failed.
  """
  folder = os.path.join(place, "work")
  program.lay_out(folder, source)
  attempt = lives.run(program, folder)
  return Reference(program, source, folder, state.read(folder),
                   attempt.start_up, attempt.seconds)


def live(reference, place, choose, tell):
  """Runs a program, killed at chosen moments, and compares what it left.

  Args:
    reference: a `Reference`.
    place: folder to make for it.
    choose: function of the list of `lives.Attempt`s killed so far that gives
      the next (moment, alone), see `lives.run`, or None for no more.
    tell: function of a killed `lives.Attempt` and a line about it.

  Returns:
    (list of the `lives.Attempt`s that were killed, lines of
    `state.differences`).

  Raises:
    lives.DeathError: it failed.
  """
  program, killed = reference.program, []
  folder = os.path.join(place, "work")
  program.lay_out(folder, reference.source)
  while True:
    moment, alone = choose(killed) or (None, False)
    attempt = lives.run(program, folder, moment, alone=alone)
    if not attempt.killed:
      return killed, state.differences(reference.state, state.read(folder))
    killed.append(attempt)
    tell(attempt, f"{program.name}, killed{' alone' if alone else ''} after "
         f"{attempt.seconds:.1f} s ({moment}) in {attempt.where}: "
         f"{attempt.doing}")


class Soak:
  """Kills by chance, until there have been enough."""

  def __init__(self, place, seed, tell=print):
    """Names the place.

    Args:
      place: folder for all of it.
      seed: of the moments.
      tell: function of a line of text.
    """
    self._place, self._tell = place, tell
    self._random = random.Random(seed)
    self._places, self._last_place = 0, place
    self.lives = 0
    self.hits = collections.Counter()
    self.problems = []

  def prepare_records(self):
    """Draws scenes and converts them.

    Returns:
      (folder with `records`, the conversion's `Reference`).

    Raises:
      lives.DeathError: a program failed.
    """
    scenes = os.path.join(self._place, "scenes")
    programs.draw_scenes(scenes)
    conversion = self._undisturbed(programs.conversion(), scenes)
    test = self._undisturbed(programs.conversion("test", "records of test"),
                             scenes)
    source = os.path.join(self._place, "source")
    for reference in (conversion, test):
      shutil.copytree(os.path.join(reference.folder, "records"),
                      os.path.join(source, "records"), dirs_exist_ok=True)
    return source, conversion

  def prepare(self):
    """Runs everything undisturbed.

    Returns:
      List of `Reference`s.

    Raises:
      lives.DeathError: a program failed.
    """
    source, conversion = self.prepare_records()
    apart = self._undisturbed(programs.kept_apart(), source)
    front = self._undisturbed(programs.kept_in_front(), source)
    export = self._undisturbed(programs.export(), apart.folder)
    return [apart, conversion, front, export]

  def run(self, references, count):
    """Kills until there have been enough; sets `hits` and `problems`.

    Args:
      references: from `prepare`, taken in turn.
      count: of kills.
    """
    aims = {reference.program.name: self._random.sample(
        reference.program.aims, len(reference.program.aims))
            for reference in references}
    for reference in itertools.cycle(references):
      left = count - sum(self.hits.values())
      if left <= 0:
        return
      try:
        self._live(reference, aims[reference.program.name], left)
      except lives.DeathError as error:
        self._fail(str(error))
        return

  def _live(self, reference, aims, most):
    program = reference.program
    most = min(most, program.most_kills)
    place = self._new_place(program.name)
    killed, differences = live(
        reference, place, lambda killed: self.draw(
            reference, aims, killed) if len(killed) < most else None,
        self._tell_kill)
    self.lives += 1
    if differences:
      self._fail(f"{program.name}, killed {len(killed)} times, differs from an "
                 "undisturbed run:\n  " + "\n  ".join(differences))
    else:
      self._tell(f"{program.name}: killed {len(killed)} times, and ended with "
                 "nothing different.")
      shutil.rmtree(place)

  def draw(self, reference, aims, killed):
    """A moment, and whether to kill the first process alone.

    Aims that have been taken come last. Those of stages that this life has
    behind it are passed by.
    """
    alone = self._random.random() < _ALONE
    if self._random.random() >= _BY_THE_CLOCK:
      done = programs.STAGES[:max(
          (programs.STAGES.index(attempt.where) for attempt in killed
           if attempt.where in programs.STAGES), default=0)]
      for moment in aims:
        if moment.stage not in done:
          aims.remove(moment)
          aims.append(moment)
          delay = self._random.uniform(0, 2 * moment.delay)
          return dataclasses.replace(moment, delay=delay), alone
    return moments.AtTime(self._random.uniform(
        reference.start_up, reference.seconds)), alone

  def _undisturbed(self, program, source):
    reference = undisturbed(program, source, self._new_place(program.name))
    self._tell(f"{program.name}, undisturbed: {reference.seconds:.1f} s, of "
               f"which {reference.start_up:.1f} s to its first word; "
               f"{len(reference.state)} things to compare.")
    return reference

  def _new_place(self, name):
    self._places += 1
    self._last_place = os.path.join(
        self._place, f"{self._places:03d}-{name.replace(' ', '-')}")
    os.makedirs(self._last_place)
    return self._last_place

  def _tell_kill(self, attempt, line):
    self.hits[attempt.where] += 1
    self._tell(f"kill {sum(self.hits.values())}: {line}")

  def _fail(self, problem):
    self.problems.append(problem)
    self._tell(f"FAILED, see {self._last_place}: {problem}")
