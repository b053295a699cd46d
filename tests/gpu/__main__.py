"""Runs the tests of this folder without pytest: `python -m tests.gpu`.

    python -m tests.gpu -k precision     those whose names contain a text
    KDWSD_REHEARSE_GPU_TESTS=1 python -m tests.gpu      on a CPU

The options are those of `python -m unittest discover`. Exit status: 0, all
passed; 1, one failed, or TensorFlow sees no GPU.
"""

import logging
import os
import sys
import time
import unittest

import kdwsd  # noqa: F401  Chooses Keras 2, so before TensorFlow.

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("MPLBACKEND", "Agg")

from tests.gpu import case  # noqa: E402

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
      if test.id().endswith(".test_session"):  # Of every tf.test.TestCase.
        return
      outcome = f"skipped ({self.skipped[-1][1]})"
    self.stream.writeln(
        f"{outcome} {time.perf_counter() - self._began:5.1f} s "
        f"{test.id().replace('tests.gpu.', '')}")
    self.stream.flush()


def main(arguments):
  """Runs the tests; returns the exit status."""
  began = time.perf_counter()
  if not case.has_gpu():
    print(f"error: {case.MISSING}. Received: none; `python -m kdwsd.train "
          "--device=gpu` says why.", file=sys.stderr)
    return 1
  case.split_cpu()
  logging.getLogger("tensorflow").setLevel(logging.ERROR)  # On retracing.
  program = unittest.main(
      module=None, exit=False, testRunner=unittest.TextTestRunner(
          sys.stdout, resultclass=_Result, verbosity=0),
      argv=["python -m tests.gpu", "discover", "--start-directory", _FOLDER,
            "--top-level-directory", _ROOT, "--pattern", "*_test.py",
            *arguments])
  print(f"{time.perf_counter() - began:.0f} s on {case.gpu()}"
        f"{', in a rehearsal' if case.rehearses() else ''}")
  return 0 if program.result.wasSuccessful() else 1


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
