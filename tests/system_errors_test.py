"""Tests of kdwsd.system_errors, with messages such as TensorFlow writes."""

import errno
import os

import pytest

from kdwsd import errors
from kdwsd import system_errors

_MESSAGES = (
    "{{function_node __wrapped__SaveV2_dtypes_2_device_/job:localhost/replica:"
    "0/task:0/device:CPU:0}} /w/ckpt-3_temp/part-0.tempstate17; {} [Op:SaveV2]",
    "/w/ckpt-3_temp/part-0.tempstate17; {}",
    "Failed to flush.\n/w/ckpt-3_temp/part-0.tempstate17; {}\n\t [[node]]",
)


@pytest.mark.parametrize("number", [
    errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EIO])
@pytest.mark.parametrize("message", _MESSAGES)
def test_tensorflows_message_is_read(message, number):
  reason = os.strerror(number)
  with pytest.raises(errors.InputError) as caught:
    with system_errors.reported("/w"):
      raise RuntimeError(message.replace("{}", reason))
  told = str(caught.value)
  assert told.startswith("/w/ckpt-3_temp/part-0.tempstate17: expected "), told
  assert f"Received: {reason}" in told
  assert "\n" not in told


@pytest.mark.parametrize("name, where", [(None, "/w"), ("/w/a", "/w/a")])
def test_pythons_error_is_read(name, where):
  with pytest.raises(errors.InputError, match=(
      f"{where}: expected free disk space. Received: No space left on device")):
    with system_errors.reported("/w"):
      raise OSError(errno.ENOSPC, "No space left on device", name)


@pytest.mark.parametrize("error", [
    FileNotFoundError(errno.ENOENT, "No such file or directory"),
    ValueError("No space left on device"), RuntimeError("OOM; try less"),
    KeyboardInterrupt()])
def test_other_errors_pass(error):
  with pytest.raises(type(error)) as caught:
    with system_errors.reported("/w"):
      raise error
  assert caught.value is error


@pytest.mark.parametrize("message, line", [
    ("{{function_node __x_/device:CPU:0}} Bundle at a: Checksum wrong "
     "[Op:RestoreV2] name: b\n\t more", "Bundle at a: Checksum wrong"),
    ("It ended.", "It ended"), ("", "ValueError"),
    ("Graph execution error:\n\nDetected at node A/B defined at (most recent "
     "call last):\n<stack traces unavailable>\nassertion failed: [images[0]: "
     "expected at most 5 pixels. Received: 6.]\n\t [[{{node A/B}}]] "
     "[Op:__inference_f_11]",
     "images[0]: expected at most 5 pixels. Received: 6"),
    ("Graph execution error:\n\nDetected at node 'A' defined at (most recent "
     "call last):\n    File \"/a b.py\", line 10, in <module>\n      f(2)\n"
     "Node: 'A'\nassertion failed: [expected 3. Received:] [[1 2]]\n"
     "\t [[{{node A}}]] [Op:__inference_f_11]",
     "expected 3. Received: [1 2]"),
    ("2 root error(s) found.\n  (0) INVALID_ARGUMENT:  Unknown image. x\n"
     "\t [[{{node B}}]]\n\t [[{{node C}}]]\n  (1) INVALID_ARGUMENT: y\n"
     "0 successful operations.\n0 derived errors ignored.", "Unknown image. x"),
    ("Graph execution error:\n", "ValueError")])
def test_first_line_is_what_matters(message, line):
  assert system_errors.first_line(ValueError(message)) == line


def test_first_line_is_that_of_a_graph():
  tf = pytest.importorskip("tensorflow")

  @tf.function
  def multiply(size):
    return tf.linalg.matmul(tf.zeros([size, 2]), tf.zeros([size, 3]))

  @tf.function
  def check(size):
    tf.debugging.Assert(size < 1, ["size: expected 0. Received:", size])

  for call, line in (
      (multiply, "Matrix size-incompatible: In[0]: [4,2], In[1]: [4,3]"),
      (check, "size: expected 0. Received: 4")):
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
      call(tf.constant(4))
    assert system_errors.first_line(caught.value) == line


def test_what_is_told_already_passes():
  with pytest.raises(errors.InputError, match="^x: No space left on device$"):
    with system_errors.reported("/w"):
      raise errors.InputError("x: No space left on device")
