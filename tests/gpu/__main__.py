"""Runs the tests of this folder without pytest: `python -m tests.gpu`.

    python -m tests.gpu -k precision     those whose names contain a text
    KDWSD_REHEARSE_GPU_TESTS=1 python -m tests.gpu --processes=1 \
      --seconds=1200    on a CPU

The options are those of `python -m unittest discover`, and

    --seconds    150 by default: no test starts later
    --processes  6 by default: they share the GPU, because compilation keeps
                 one core busy, and the GPU hardly

Exit status: 0, all passed; 1, one failed or was left out, or TensorFlow sees no
GPU.
"""

import argparse
import logging
import os
import subprocess
import sys
import time
import unittest

_FOLDER = os.path.dirname(os.path.abspath(__file__))
_ROOT = os.path.dirname(os.path.dirname(_FOLDER))


class _Result(unittest.TextTestResult):
  """Prints a line for each test: what came of it, its seconds, its name."""

  def startTest(self, test):
    self._began = time.perf_counter()
    self._before = len(self.failures) + len(self.errors)
    self._skipped = len(self.skipped)
    super().startTest(test)

  def stopTest(self, test):
    super().stopTest(test)
    outcome = "passed"
    if len(self.failures) + len(self.errors) > self._before:
      outcome = "FAILED"
    elif len(self.skipped) > self._skipped:
      outcome = f"skipped ({self.skipped[-1][1]})"
    self.stream.writeln(
        f"{outcome} {time.perf_counter() - self._began:5.1f} s "
        f"{test.id().replace('tests.gpu.', '')}")
    self.stream.flush()


class _Loader(unittest.TestLoader):
  """Loads every n-th test."""

  def __init__(self, first, step):
    super().__init__()
    self._first, self._step = first, step

  def discover(self, *args, **kwargs):
    tests = [test for test in _flat(super().discover(*args, **kwargs))
             if not test.id().endswith(".test_session")]  # TensorFlow's own.
    return self.suiteClass(tests[self._first::self._step])


def _flat(tests):
  """The tests of a suite and of those within it."""
  for test in tests:
    if isinstance(test, unittest.TestSuite):
      yield from _flat(test)
    else:
      yield test


def main(arguments):
  """Runs the tests; returns the exit status."""
  parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
  parser.add_argument("--seconds", type=float, default=150.0)
  parser.add_argument("--processes", type=int, default=6)
  parser.add_argument("--part", type=int, default=0)
  own, others = parser.parse_known_args(arguments)
  if own.processes <= 1 or "--part" in " ".join(arguments):
    return _run(own, others)
  began = time.perf_counter()
  # As several processes share the memory of the GPU.
  environment = {**os.environ, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
  parts = [subprocess.Popen(
      [sys.executable, "-m", "tests.gpu", f"--part={part}", *arguments],
      cwd=_ROOT, env=environment, text=True, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT) for part in range(own.processes)]
  for part in parts:
    sys.stdout.write(part.communicate()[0])
    sys.stdout.flush()
  print(f"{time.perf_counter() - began:.0f} s in {own.processes} processes")
  return int(any(part.returncode for part in parts))


def _run(own, others):
  """Runs a part of the tests in this process; returns the exit status."""
  # pylint: disable=import-outside-toplevel
  from kdwsd import native_logs  # Chooses Keras 2, so before TensorFlow.

  os.environ.setdefault(native_logs.VARIABLE, "3")
  native_logs.follow()
  os.environ.setdefault("MPLBACKEND", "Agg")
  from tests.gpu import case
  # pylint: enable=import-outside-toplevel
  case.end_after(own.seconds)
  if not case.has_gpu():
    print(f"error: {case.MISSING}. Received: none; `python -m kdwsd.train "
          "--device=gpu` says why.", file=sys.stderr)
    return 1
  case.split_cpu()
  logging.getLogger("tensorflow").setLevel(logging.ERROR)  # On retracing.
  native_logs.compile_quietly()
  program = unittest.main(
      module=None, exit=False, testRunner=unittest.TextTestRunner(
          sys.stdout, resultclass=_Result, verbosity=0),
      testLoader=_Loader(own.part, max(1, own.processes)),
      argv=["python -m tests.gpu", "discover", "--start-directory", _FOLDER,
            "--top-level-directory", _ROOT, "--pattern", "*_test.py", *others])
  print(f"On {case.gpu()}{', in a rehearsal' if case.rehearses() else ''}")
  late = [test for test, why in program.result.skipped if why == case.LATE]
  return 0 if program.result.wasSuccessful() and not late else 1


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
