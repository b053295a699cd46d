"""One case before one parser: accepted, refused in words, or a failure."""

import dataclasses
import os
import re
import signal
import threading
import time
import traceback
import warnings

from kdwsd import errors
from tests.fuzz import cases
from tests.fuzz import oracle
from tests.fuzz import peak_memory

ACCEPTED, REFUSED, FAILED = "accepted", "refused", "failed"

SECONDS = 5.0  # Of CPU: a busy machine must not look like a slow parser.
MEBIBYTES = 400  # Beyond what the process holds before; see `peak_memory`.

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))


@dataclasses.dataclass(frozen=True)
class Verdict:
  """What came of a case.

  Attributes:
    outcome: `ACCEPTED`, `REFUSED` or `FAILED`.
    signature: of a failure: the same for the same fault.
    details: of a failure, for people.
    seconds: of CPU.
  """
  outcome: str
  signature: str = ""
  details: str = ""
  seconds: float = 0.0


class _TooSlow(BaseException):
  """Not an `Exception`, so that no parser takes it for its own."""


def judge(target, case, folder):
  """Gives a case to a target.

  Args:
    target: module with `check(folder)`, which returns if the input was
      accepted and all is as it should be, and `PLACES`, see `oracle.refusal`.
      It may have `REFUSALS`, error classes, and `refusal(error, folder)`.
    case: {path: bytes}.
    folder: where to write it; what is there is removed.

  Returns:
    A `Verdict`.
  """
  cases.write(case, folder)
  peak_memory.forget()
  before = peak_memory.read()
  started = time.process_time()
  outcome, signature, details = _outcome(target, folder)
  seconds = time.process_time() - started
  grown = peak_memory.read() - before
  if outcome != FAILED and seconds > SECONDS:
    outcome, signature = FAILED, "too slow"
    details = f"took {seconds:.1f} s of CPU"
  if outcome != FAILED and grown > MEBIBYTES * 2 ** 20:
    outcome, signature = FAILED, "too much memory"
    details = f"took {grown / 2 ** 20:.0f} MiB more than there was before"
  return Verdict(outcome, signature, details, seconds)


def _outcome(target, folder):
  refusals = getattr(target, "REFUSALS", (errors.InputError,))
  refusal = getattr(target, "refusal", None) or (
      lambda error, folder: oracle.refusal(error, folder, target.PLACES))
  try:
    with warnings.catch_warnings(), _watchdog():
      # NumPy's: an overflow a user would be told of in NumPy's words.
      warnings.simplefilter("error", RuntimeWarning)
      warnings.simplefilter("ignore", ResourceWarning)
      try:
        target.check(folder)
      except refusals as error:
        refusal(error, folder)
        return REFUSED, "", ""
    return ACCEPTED, "", ""
  except _TooSlow:
    return FAILED, "too slow", f"more than {SECONDS:.0f} s of CPU\n" + (
        traceback.format_exc(limit=-5))
  except (Exception, MemoryError) as error:  # Whatever it is, it is a fault.
    return FAILED, _signature(error), "".join(traceback.format_exception(
        type(error), error, error.__traceback__, limit=-12))[-6000:]


class _watchdog:  # pylint: disable=invalid-name
  """Ends what takes too long, where it is Python that takes it.

  What hangs in C is killed with its process, by the supervisor.
  """

  def __init__(self):
    self._here = threading.current_thread() is threading.main_thread()

  def __enter__(self):
    if self._here:
      self._before = signal.signal(signal.SIGPROF, _raise)
      signal.setitimer(signal.ITIMER_PROF, SECONDS)

  def __exit__(self, *_):
    if self._here:
      signal.setitimer(signal.ITIMER_PROF, 0)
      signal.signal(signal.SIGPROF, self._before)


def _raise(*_):
  raise _TooSlow


def _signature(error):
  """Type of an error and the place in the project it came through."""
  place = "?"
  for frame in traceback.extract_tb(error.__traceback__):
    path = os.path.abspath(frame.filename)
    if path.startswith(os.path.join(_ROOT, "kdwsd")) or (
        isinstance(error, oracle.Broken)
        and path.startswith(os.path.join(_ROOT, "tests", "fuzz", "targets"))):
      place = f"{os.path.relpath(path, _ROOT)}:{frame.name}:{frame.lineno}"
  kind = type(error).__name__
  if isinstance(error, oracle.Broken):
    # Without numbers, which make of one fault many.
    kind += " " + re.sub(r"\d+", "N", str(error).split(":")[0][:60])
  return f"{kind} at {place}"
