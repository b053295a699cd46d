"""Runs test files under pytest: the main file of Bazel's tests."""

import sys

import pytest

if __name__ == "__main__":
  status = pytest.main(["-c", ".pytest.ini", "-p", "no:cacheprovider",
                        *sys.argv[1:]])
  # A file may have only tests that .pytest.ini leaves out by their marks.
  sys.exit(0 if status == pytest.ExitCode.NO_TESTS_COLLECTED else status)
