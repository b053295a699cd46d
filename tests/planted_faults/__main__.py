"""Plants faults in the package, one at a time: which do the tests catch?

    python -m tests.planted_faults --only='*/evaluation/*'

Each fault is a change of a few characters, made in a temporary copy of the
checkout. The tests named for it run there, by default those that mirror the
changed module. Where none fails the fault has survived, and a test is missing.
Ends with a line of counts; status 1 if a fault survived. All faults take an
hour or more on two cores, so that CI runs none.
"""

import argparse
import datetime
import importlib
import os
import pathlib
import re
import shutil
import signal
import sys
import tempfile
import time

import pytest

from tests.planted_faults import catalogue

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_LEFT_BEHIND = (".git", ".venv*", "runs", "__pycache__", "*_cache")
_KILLER = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
_PASSED, _FAILED = 0, 1  # pytest's exit statuses.
# What most tests import: once, here, and not again for each fault.
_SLOW_TO_IMPORT = ("tensorflow", "tensorflow_addons", "orbit",
                   "official.vision.ops.augment", "matplotlib.pyplot")


def main():
  """Runs what the command line names; returns the exit status."""
  parser = argparse.ArgumentParser(
      prog="python -m tests.planted_faults", description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--only", default="*", metavar="GLOB",
                      help="plant only faults whose name matches")
  parser.add_argument("--list", action="store_true",
                      help="print the faults and plant none")
  parser.add_argument("--wider", action="store_true",
                      help="run all tests of the package on a survivor")
  parser.add_argument("--trust", action="store_true",
                      help="do not run the tests without a fault first: they "
                      "are known to pass")
  parser.add_argument("--timeout", type=float, default=600.0, metavar="S",
                      help="seconds after which tests hang, which catches a "
                      "fault; default %(default)g")
  options = parser.parse_args()
  faults = catalogue.faults(options.only)
  problems = catalogue.problems(faults, _ROOT)
  if problems or not faults:
    print("\n".join(problems) or f"no fault is named {options.only}")
    return 2
  if options.list:
    for fault in faults:
      print(f"{fault.name}\n- {fault.before}\n+ {fault.after}")
    return 0
  os.environ.update(MPLBACKEND="Agg", TF_CPP_MIN_LOG_LEVEL="3",
                    PYTHONDONTWRITEBYTECODE="1")
  for name in _SLOW_TO_IMPORT:
    importlib.import_module(name)
  with tempfile.TemporaryDirectory(prefix="kdwsd-faults-") as place:
    copy = pathlib.Path(place, "checkout")
    shutil.copytree(_ROOT, copy, ignore=shutil.ignore_patterns(*_LEFT_BEHIND))
    return _plant_all(faults, copy, options)


def _plant_all(faults, copy, options):
  """Plants all faults; returns the exit status."""
  tests = sorted({test for fault in faults for test in fault.tests})
  status = _PASSED
  if not options.trust:
    status, output = _run(copy, tests, 10 * options.timeout)
  if status != _PASSED:
    print(f"{output}\nwithout any fault: expected {len(tests)} test files to "
          f"pass. Received: status {status}.")
    return 2
  began, survivors = time.monotonic(), []
  for number, fault in enumerate(faults, 1):
    killer = _plant(fault, copy, options)
    if not killer:
      survivors.append(fault.name)
    left = (time.monotonic() - began) / number * (len(faults) - number)
    print(f"{number}/{len(faults)} {'killed' if killer else 'SURVIVED'} "
          f"{fault.name}{' by ' + killer if killer else ''} | ETA "
          f"{datetime.timedelta(seconds=round(left))}", flush=True)
  print(f"{len(faults)} planted, {len(faults) - len(survivors)} killed, "
        f"{len(survivors)} survived{': ' * bool(survivors)}"
        f"{' '.join(survivors)}")
  return 1 if survivors else 0


def _plant(fault, copy, options):
  """Names the test that catches a fault; "" if none does."""
  path = copy / fault.path
  sound = path.read_text(encoding="utf-8")
  path.write_text(sound.replace(fault.before, fault.after), encoding="utf-8")
  try:
    for tests in (fault.tests, fault.wider_tests(copy) * options.wider):
      if tests:
        status, output = _run(copy, tests, options.timeout)
        if status is None or status < 0:
          return "a hang or a crash"
        if status != _PASSED:
          killers = _KILLER.findall(output)
          if status != _FAILED and not killers:
            raise RuntimeError(
                f"{fault.name}: expected tests that pass or fail. Received: "
                f"pytest's status {status}.\n{output}")
          return killers[0]
  finally:
    path.write_text(sound, encoding="utf-8")
  return ""


def _run(copy, tests, timeout):
  """Runs test files; returns pytest's status, None for a hang, and output."""
  output = copy.parent / "output.txt"
  child = os.fork()
  if not child:
    _run_here(copy, tests, output)
  deadline = time.monotonic() + timeout
  while not (ended := os.waitpid(child, os.WNOHANG))[0]:
    if time.monotonic() > deadline:
      os.killpg(child, signal.SIGKILL)
      os.waitpid(child, 0)
      return None, ""
    time.sleep(0.1)
  return (os.waitstatus_to_exitcode(ended[1]),
          output.read_text(encoding="utf-8", errors="replace"))


def _run_here(copy, tests, output):
  """Ends this process, a child's, with pytest's status."""
  os.setsid()
  with open(output, "w", encoding="utf-8") as file:
    for stream in (1, 2):
      os.dup2(file.fileno(), stream)
  os.chdir(copy)
  os.environ["PYTHONPATH"] = sys.path[0] = str(copy)
  for name in list(sys.modules):
    if name.split(".")[0] in ("kdwsd", "tests"):
      del sys.modules[name]
  sys.dont_write_bytecode = True
  status = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests])
  sys.stdout.flush()
  os._exit(status)


if __name__ == "__main__":
  sys.exit(main())
