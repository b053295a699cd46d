"""The client and a real export behind the local server, REST and gRPC."""

import json

import numpy as np
from PIL import Image
import pytest

from kdwsd.modeling import student
from kdwsd.serving import predictors
from kdwsd.serving import saved_model
from kdwsd.serving import signatures
from kdwsd.serving.server import local_server
from kdwsd.serving.server import options
from tests.export_kit import kit

_CLASSES = ("chat", "dög", "emu")


@pytest.fixture(scope="module", name="export")
def fixture_export(tmp_path_factory):
  """Directory of version 1."""
  directory = str(tmp_path_factory.mktemp("student") / "1")
  model = student.build(student.StudentConfig(
      num_classes=3, image_size=32, backbone="small", fc_units=0))
  saved_model.write(signatures.classifier(
      model, classes=_CLASSES, image_size=32, eval_size=48), directory)
  return directory


@pytest.fixture(scope="module", name="server")
def fixture_server(export):
  with local_server.LocalServer(options.Options(
      "student", export[:-2], port=0, rest_api_port=0,
      version_labels={"stable": 1},
      # The first request builds the graph: on a busy machine for long.
      rest_api_timeout_in_ms=240_000)) as server:
    yield server


@pytest.fixture(scope="module", name="photos")
def fixture_photos(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  for number in range(7):
    pixels = np.random.default_rng(number).integers(
        0, 256, [4, 5, 3], np.uint8)
    Image.fromarray(pixels).resize((60, 50)).save(
        folder / (f"{number}.jpg" if number % 2 else f"{number}.png"))
  whole = (folder / "1.jpg").read_bytes()
  (folder / "3.jpg").write_bytes(whole[:len(whole) // 2])
  return folder


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_answers_are_those_of_the_export(
    export, server, photos, protocol, capsys, monkeypatch):
  for name in ("http_proxy", "HTTP_PROXY"):
    monkeypatch.delenv(name, raising=False)
  where = (f"--url=http://127.0.0.1:{server.rest_port}" if protocol == "rest"
           else f"--grpc=127.0.0.1:{server.grpc_port}")
  status = kit.client().main([
      where, str(photos), "--label=stable", "--threshold=0", "--top_k=0",
      "--timeout=240",
      "--batch_size=3"])
  lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
  assert status == 1
  assert len(lines) == 7
  assert [("error" in line) for line in lines] == [
      False, False, False, True, False, False, False]
  assert lines[3]["error"].startswith("expected a complete JPEG or PNG image.")
  sound = [line for line in lines if "error" not in line]
  expected = predictors.score(predictors.of_export(export), [
      predictors.read(line["image"]) for line in sound])
  for line, scores in zip(sound, expected):
    told = {p["class"]: p["probability"] for p in line["predictions"]}
    np.testing.assert_allclose(
        [told[name] for name in _CLASSES], scores.probabilities, atol=1e-5)


@pytest.mark.parametrize("protocol", ["rest", "grpc"])
def test_what_is_not_served_is_told_at_once(
    server, photos, protocol, capsys):
  where = (f"--url=http://127.0.0.1:{server.rest_port}" if protocol == "rest"
           else f"--grpc=127.0.0.1:{server.grpc_port}")
  status = kit.client().main([where, str(photos / "0.png"), "--version=9"])
  line = json.loads(capsys.readouterr().out)
  assert status == 1
  assert ("HTTP 404" if protocol == "rest" else "NOT_FOUND") in line["error"]
