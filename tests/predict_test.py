"""The binary, in processes of its own, on untrained models."""

import json
import os
import subprocess
import sys

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from kdwsd.serving import saved_model
from kdwsd.serving import signatures
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run_folder
from tests import programs
from tests.data import deep_images
from tests.data import fake_records
from tests.training import fake_config


@pytest.fixture(scope="module", name="place")
def fixture_place(tmp_path_factory):
  """A folder with runs `cls` and `wsd`, an export, and photographs."""
  place = tmp_path_factory.mktemp("place")
  for stage in ("cls", "wsd"):
    config = fake_config.make(
        stage=stage, data=str(place / "records"), eval_size=48,
        fc_units=0 if stage == "cls" else 8)
    config_lib.write(config, str(place / stage))
    model = models.build(config)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=models.as_saved(model, config)),
        run_folder.RunFolder(place / stage).checkpoints, max_to_keep=1).save()
    if stage == "cls":
      saved_model.write(signatures.classifier(
          model, classes=config.classes, image_size=config.student_size,
          eval_size=48), str(place / "models" / "7"))
      saved_model.write_metadata(str(place / "models" / "7"), {})
  (place / "models [v1]").mkdir()
  (place / "models").rename(place / "models [v1]" / "é %")
  (place / "models").symlink_to(place / "models [v1]" / "é %")
  (place / "link").symlink_to(place / "models [v1]" / "é %")
  (place / "photos" / "more").mkdir(parents=True)
  for number, name in enumerate(("a.jpg", "b.png", "more/a.jpg")):
    pixels = np.random.default_rng(number).integers(
        0, 256, [5, 6, 3], np.uint8)
    Image.fromarray(pixels).resize((90, 70)).save(place / "photos" / name)
  whole = (place / "photos" / "a.jpg").read_bytes()
  (place / "photos" / "cut.jpg").write_bytes(whole[:-60])
  return place


def _predict(place, *arguments, text=None):
  return programs.run("kdwsd.predict", *arguments, text=text, cwd=place,
                      environment={"PYTHONPATH": os.getcwd()})


def test_a_run_names_the_classes_and_the_broken_file(place):
  done = _predict(place, "--model=cls", "photos", "--threshold=0",
                  "--output_dir=photos/seen")
  assert done.returncode == 1, done.stderr
  for name in fake_records.CLASSES:
    assert done.stdout.count(f"\n  {name} ") == 3
  assert [line for line in done.stdout.splitlines()
          if not line.startswith(" ")] == [
              "photos/a.jpg", "photos/b.png", "photos/more/a.jpg"]
  assert "error: photos/cut.jpg: expected a whole image file" in done.stderr
  assert "1 of 4 could not be predicted" in done.stderr
  assert "Traceback" not in done.stderr
  for name in ("a.png", "b.png", "more/a.png"):
    with Image.open(place / "photos" / "seen" / name) as picture:
      assert picture.width == 320 + 16


def test_an_export_answers_paths_in_json_line_by_line(place):
  done = _predict(
      place, "--model=models", "-", "--json", "--top_k=2", "--threshold=0",
      text="photos/b.png\nphotos/cut.jpg\nphotos/a.jpg\n")
  assert done.returncode == 1, done.stderr
  answers = list(map(json.loads, done.stdout.splitlines()))
  assert [answer["image"] for answer in answers] == [
      "photos/b.png", "photos/cut.jpg", "photos/a.jpg"]
  assert sorted(answers[1]) == ["error", "image"]
  for answer in answers[::2]:
    assert sorted(answer) == ["height", "image", "predictions", "width"]
    assert (answer["width"], answer["height"]) == (90, 70)
    best, second = answer["predictions"]
    assert 1 > best["probability"] >= second["probability"] > 0
    assert {best["class"], second["class"]} < set(fake_records.CLASSES)


def test_a_detector_gives_boxes_within_the_image(place):
  done = _predict(
      place, "--model=wsd", "photos/*.png", "--json", "--threshold=0",
      "--box_threshold=0", "--box_share=0", "--max_boxes=4")
  assert done.returncode == 0, done.stderr
  assert "are unknown; EdgeBoxes" in done.stderr  # No records' card is there.
  answer = json.loads(done.stdout)
  assert answer["boxes"]
  for box in answer["boxes"]:
    assert 0 <= box["xmin"] < box["xmax"] <= 90
    assert 0 <= box["ymin"] < box["ymax"] <= 70
    assert box["class"] in fake_records.CLASSES
  names = [box["class"] for box in answer["boxes"]]
  assert max(map(names.count, names)) <= 4


@pytest.mark.parametrize("arguments, message", [
    ([], "expected images: files, folders"),
    (["nowhere.jpg"], "nowhere.jpg: expected an image file. Received: no such"),
    (["records"], "expected images in the folder"),
    (["-"], "expected paths on standard input. Received: none"),
    (["photos", "--model=nowhere"], "Received: no such directory"),
    (["photos", "--model=."], "name one of its runs, as ./wsd"),
    (["photos", "--top_k=-1"], "--top_k"),
])
def test_what_cannot_be_done_at_all_is_told_at_once(
    place, arguments, message):
  (place / "records").mkdir(exist_ok=True)
  done = _predict(place, "--model=cls", *arguments, text="")
  assert done.returncode not in (0, 1) or "--top_k" in message
  assert message in done.stderr
  assert done.stdout == "" or "--top_k" in message
  assert "Traceback" not in done.stderr


def _grey(largest):
  return deep_images.png(
      deep_images.ramp(largest, 70, 90), deep_images.GREY)


def test_dark_scaled_and_passed_over_are_told(place):
  folder = place / "kinds"
  folder.mkdir(exist_ok=True)
  (folder / "night.png").write_bytes(_grey(19 << 8))  # 16 bits hold 4864.
  (folder / "day.png").write_bytes(_grey(4095))
  Image.new("RGB", (9, 9), (19, 0, 7)).save(folder / "black.png")
  for name in ("a.txt", "b.txt", "c.mp4"):
    (folder / name).write_bytes(b"")
  # By way of a copy, as from an object store.
  for model in (f"--model=file://{place}/cls", f"--model=file://{place}/models"):
    done = _predict(place, model, "kinds", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert "passed over in folders: 2 .txt, 1 .mp4\n" in done.stderr
    assert "1 without a pixel of 20 or more of 255: kinds/black.png\n" in (
        done.stderr)
    assert "scaled to 0..255: 1 from 12 bits, 1 from 14 bits\n" in done.stderr


def test_content_counts_and_not_the_ending(place):
  folder = place / "endings"
  folder.mkdir(exist_ok=True)
  pixels = Image.open(place / "photos" / "b.png")
  pixels.save(folder / "whole.png")
  for name, kind in (("png.jpg", "PNG"), ("png.JFIF", "PNG"),
                     ("gif.png", "GIF"), ("bmp.jpeg", "BMP"),
                     ("none", "PNG"), ("png.txt", "PNG")):
    pixels.save(folder / name, format=kind)
  names = sorted(path.name for path in folder.iterdir())
  for model in ("--model=cls", "--model=models"):
    done = _predict(place, model, "--json", "--threshold=0", *[
        f"endings/{name}" for name in names])
    assert done.returncode == 0, done.stderr
    found = {os.path.basename(answer["image"]): [
        p["probability"] for p in answer["predictions"]]
             for answer in map(json.loads, done.stdout.splitlines())}
    assert sorted(found) == names
    for name, probabilities in found.items():
      # GIF has fewer colours; an export gets it, and a BMP, as a JPEG.
      np.testing.assert_allclose(
          probabilities, found["whole.png"], err_msg=name,
          atol=0.05 if name[:3] in ("gif", "bmp") else 1e-6)


@pytest.mark.parametrize("by_list", [False, True])
def test_odd_paths_survive(place, by_list):
  folder = "odd [v1] *?"
  names = ["a [1].jpg", "*.jpg", "50%.jpg", "#1.jpg", "é 名.jpg", "$x$.jpg",
           "a\u2028b.jpg", os.fsdecode(b"caf\xe9.jpg")]
  (place / folder / "sub é").mkdir(parents=True, exist_ok=True)
  for name in names:
    (place / folder / "sub é" / name).write_bytes(
        (place / "photos" / "a.jpg").read_bytes())
  expected = sorted(f"{folder}/sub é/{name}" for name in names)
  arguments = ["--model=link", "--json", "--output_dir=seen [é] %"]
  if by_list:
    done = subprocess.run(
        [sys.executable, "-m", "kdwsd.predict", *arguments, "-"],
        input=os.fsencode("".join(path + "\n" for path in expected)),
        timeout=300, check=False, capture_output=True, cwd=place, env={
            **os.environ, "PYTHONPATH": os.getcwd(),
            "PYTHONIOENCODING": "ascii"})
    lines = done.stdout.decode("ascii")
  else:
    done = _predict(place, *arguments, folder + "/")
    lines = done.stdout
  assert done.returncode == 0, done.stderr
  answers = list(map(json.loads, lines.removesuffix("\n").split("\n")))
  assert sorted(answer["image"] for answer in answers) == expected
  for answer in answers:
    with Image.open(place / answer["picture"]) as picture:
      assert picture.width == 320 + 16
