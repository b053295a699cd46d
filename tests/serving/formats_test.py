"""Other formats than SavedModel, compared with it."""

import importlib.util
import os

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.serving import formats
from kdwsd.serving import native_session
from kdwsd.serving import saved_model
from tests.serving import fakes


def _images(count, seed=0):
  random = np.random.RandomState(seed)
  coarse = random.uniform(0, 255, [count, 4, 4, 3])
  return np.kron(coarse, np.ones([1, 8, 8, 1])).astype(np.float32)


@pytest.fixture(scope="module", name="student")
def fixture_student(tmp_path_factory):
  """(model, directory of its export)."""
  model = fakes.make_student()
  directory = str(tmp_path_factory.mktemp("student"))
  saved_model.write(fakes.servable_student(model), directory)
  return model, directory


def _write(student, *names):
  model, directory = student
  seen = []

  def measure(scores):
    seen.append(scores)
    return float(scores.mean())

  written = formats.write(
      directory, names, model, image_size=fakes.IMAGE_SIZE,
      representative=_images(8, seed=1), images=_images(6), measure=measure)
  return written, seen


@pytest.mark.parametrize("name, tolerance", [
    ("tflite_float16", 0.01), ("tflite_int16x8", 0.05), ("tflite_int8", 0.2)])
def test_lite_answers_nearly_as_the_saved_model(student, name, tolerance):
  written, (expected, scores) = _write(student, name)
  figures = written[name]
  assert expected.shape == scores.shape == (6, 3)
  assert figures["images"] == 6
  assert 0 < figures["max_difference"] < tolerance
  assert figures["max_difference"] == np.abs(scores - expected).max()
  assert figures["map"] == scores.mean()
  assert figures["map_saved_model"] == expected.mean()
  path = os.path.join(student[1], figures["file"])
  assert figures["bytes"] == os.path.getsize(path)
  # Weights of four bytes each take more.
  assert figures["bytes"] < os.path.getsize(os.path.join(
      student[1], "variables", "variables.data-00000-of-00001"))


def test_the_saved_model_is_what_is_compared_with(student):
  _, (expected, *_) = _write(student, "tflite_float16")
  with native_session.Session(student[1]) as session:
    answer = session.run("images", {"images": _images(6)})
  np.testing.assert_allclose(expected, answer["probabilities"], atol=1e-6)


def test_unknown_format_is_named():
  with pytest.raises(errors.InputError, match="tflite_float16.*'pdf'"):
    formats.check(["tflite_int8", "pdf"])


def test_lacking_packages_are_named_with_the_command(monkeypatch):
  monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
  with pytest.raises(
      errors.InputError,
      match="pip install tf2onnx.*Received: no tf2onnx") as raised:
    formats.check(["onnx"])
  # NumPy 1 must stay where it is installed.
  assert ("numpy<2" in str(raised.value)) == (np.lib.NumpyVersion(
      np.__version__) < "2.0.0")
  formats.check(["tflite_int8"])


def test_onnx_answers_as_the_saved_model(student):
  for package in ("tf2onnx", "onnxruntime"):
    pytest.importorskip(package)
  written, _ = _write(student, "onnx")
  assert written["onnx"]["max_difference"] < 1e-5
