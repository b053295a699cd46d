"""TF_CPP_MIN_LOG_LEVEL holds for both of TensorFlow's C++ logs."""

import os
import subprocess
import sys
import textwrap

import pytest

from kdwsd import legacy_keras
from kdwsd import native_logs

# TensorFlow 2.15 does not let the level of absl's log be set.
_SETTABLE = not legacy_keras.tensorflow_version().startswith("2.15.")
_needs_settable = pytest.mark.skipif(
    not _SETTABLE, reason="this TensorFlow hides its copy of absl's log")

# Compiling a function is noted by absl's log, once in a process.
_NOTED_BY_ABSL = """
    from kdwsd import native_logs
    {}
    import tensorflow as tf
    tf.function(lambda x: x + 1, jit_compile=True)(tf.constant(1.0))
    """


def _run(code, level):
  done = subprocess.run(
      [sys.executable, "-W", "ignore", "-c", textwrap.dedent(code)],
      capture_output=True, text=True, check=True, timeout=600,
      env={**os.environ, native_logs.VARIABLE: level})
  return done.stderr


@pytest.mark.slow
def test_absls_log_is_shown_without_us():
  assert "absl::InitializeLog()" in _run(_NOTED_BY_ABSL.format(""), "3")


@_needs_settable
@pytest.mark.parametrize("before", [
    "native_logs.follow()", "import tensorflow; native_logs.follow()"])
def test_absls_log_follows_the_variable(before):
  assert _run(_NOTED_BY_ABSL.format(before), "3") == ""


def test_the_note_on_compilation_is_hidden_in_both_lanes():
  code = _NOTED_BY_ABSL.format(
      "native_logs.follow(); native_logs.compile_quietly()")
  assert _run(code, "3") == ""


def test_who_asks_for_notes_gets_them():
  code = _NOTED_BY_ABSL.format(
      "native_logs.follow(); native_logs.compile_quietly()")
  assert "Compiled cluster" in _run(code, "0")


def test_nothing_is_loaded_before_tensorflow_is():
  assert _run("""
      import sys
      from kdwsd import native_logs
      native_logs.follow()
      assert "tensorflow" not in sys.modules
      import json, xml.dom
      assert any(type(one) is native_logs._Import for one in sys.meta_path)
      import tensorflow
      assert not any(type(one) is native_logs._Import for one in sys.meta_path)
      """, "3") == ""


@pytest.mark.parametrize("level, settable", [
    ("3", _SETTABLE), ("", False), ("4", False), ("all", False)])
def test_another_level_is_left_alone(monkeypatch, level, settable):
  monkeypatch.setenv(native_logs.VARIABLE, level)
  assert native_logs.set_level() == settable


def test_a_tensorflow_of_another_build_keeps_its_notes(monkeypatch):
  monkeypatch.setenv(native_logs.VARIABLE, "3")
  monkeypatch.setattr(native_logs, "_FUNCTION", "_ZN4absl6others")
  assert not native_logs.set_level()
  monkeypatch.setattr(native_logs, "_LIBRARY", "another.dylib")
  assert not native_logs.set_level()
