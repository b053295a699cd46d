"""Runs the tests of this folder without pytest: `python -m tests.gpu`.

    python -m tests.gpu -k precision     those whose names contain a text
    KDWSD_REHEARSE_GPU_TESTS=1 python -m tests.gpu --seconds=1200    on a CPU

The options are those of `python -m unittest discover`, and --seconds, 150 by
default: no test starts later. Exit status: 0, all passed; 1, one failed or was
left out, or TensorFlow sees no GPU.
"""

import logging
import os
import sys
import time
import unittest

from kdwsd import native_logs  # Chooses Keras 2, so before TensorFlow.

os.environ.setdefault(native_logs.VARIABLE, "3")
native_logs.follow()
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
  seconds = [one for one in arguments if one.startswith("--seconds=")]
  arguments = [one for one in arguments if one not in seconds]
  case.end_after(float(seconds[-1].partition("=")[2]) if seconds else 150.0)
  began = time.perf_counter()
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
      argv=["python -m tests.gpu", "discover", "--start-directory", _FOLDER,
            "--top-level-directory", _ROOT, "--pattern", "*_test.py",
            *arguments])
  print(f"{time.perf_counter() - began:.0f} s on {case.gpu()}"
        f"{', in a rehearsal' if case.rehearses() else ''}")
  late = [test for test, why in program.result.skipped if why == case.LATE]
  return 0 if program.result.wasSuccessful() and not late else 1


if __name__ == "__main__":
  sys.exit(main(sys.argv[1:]))
