"""Runs test files under pytest: the main file of Bazel's tests."""

import sys

import pytest

if __name__ == "__main__":
  sys.exit(pytest.main(["-c", ".pytest.ini", "-p", "no:cacheprovider",
                        *sys.argv[1:]]))
