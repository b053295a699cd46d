"""The gain of a chain's students by seed, and its interval."""

import json
import os

import numpy as np
import pytest

from kdwsd import errors
from kdwsd import files
from kdwsd.evaluation import prediction_files
from kdwsd.reporting import repeats
from tests.training import fake_chain

_STUDENTS = ("cls", "kd_feature", "kd_prediction")


@pytest.fixture(name="workdir")
def fixture_workdir(tmp_path):
  """A chain, and its students of seed 12, of which the baseline is better."""
  workdir = str(tmp_path)
  fake_chain.write(workdir, seed=3)
  other = repeats.folder(workdir, 12)
  fake_chain.write(other, _STUDENTS, seed=12)
  _set_map(other, "cls", 0.5)
  _set_map(other, "kd_prediction", 0.75)
  _set_map(workdir, "cls", 0.25)
  _set_map(workdir, "kd_prediction", 0.75)
  # Of a student that is not trained yet, and what is no seed.
  fake_chain.write(repeats.folder(workdir, 13), ["cls"], seed=13)
  os.makedirs(os.path.join(workdir, "seed_old"))
  return workdir


def _evaluation(workdir, stage):
  return os.path.join(workdir, stage, "evaluation", "test")


def _set_map(workdir, stage, value):
  path = os.path.join(_evaluation(workdir, stage), "metrics.json")
  metrics = files.read_json(path)
  metrics["classification"]["map"] = value
  files.write_json(path, metrics)


def test_gain_has_mean_and_spread_over_seeds(workdir, caplog):
  gain = repeats.read(workdir, "test")
  told, = caplog.messages
  assert told.startswith(f"{repeats.folder(workdir, 13)} is left out of the ")
  assert [(seed.seed, seed.points) for seed in gain.seeds] == [
      (3, 50.0), (12, 25.0)]
  assert gain.points == 37.5
  assert gain.spread == pytest.approx(np.std([50, 25], ddof=1))
  assert repeats.rows(gain) == [
      ["seed", "S-Cls without KD", "S-Cls with KD", "gain"],
      ["3", "25.0", "75.0", "+50.0"], ["12", "50.0", "75.0", "+25.0"],
      ["mean", "37.5", "75.0", "+37.5"], ["spread", "17.7", "0.0", "17.7"]]
  text = "\n".join(repeats.format_lines(gain))
  assert "models above are of seed 3." in text
  assert "interval of the gain, mean of 2 seeds: +" in text
  assert json.loads(json.dumps(repeats.as_json(gain)))["points"] == 37.5


def test_interval_is_of_the_predictions_of_all_seeds(workdir):
  gain = repeats.read(workdir, "test")
  # The student with distillation is right on 10 of 14 images, the other never.
  assert gain.num_images == fake_chain.NUM_IMAGES
  assert gain.num_samples == 1000
  assert 0 < gain.interval[0] < gain.interval[1] < 100
  assert "includes 0" not in repeats.interval_text(gain)
  # With one student twice, nothing is gained on any image.
  for place in (workdir, repeats.folder(workdir, 12)):
    path = os.path.join(_evaluation(place, "cls"), prediction_files.FILE)
    prediction_files.write(
        os.path.join(_evaluation(place, "kd_prediction"),
                     prediction_files.FILE), prediction_files.read(path))
  gain = repeats.read(workdir, "test")
  assert gain.interval == (0.0, 0.0)
  assert "includes 0" in repeats.interval_text(gain)


def test_seeds_that_differ_in_more_than_the_seed_are_told(workdir):
  assert repeats.differing_text(repeats.read(workdir, "test")) == ""
  for stage in ("cls", "kd_prediction"):
    path = os.path.join(workdir, stage, "config.json")
    files.write_json(path, {
        **files.read_json(path), "train_steps": 7, "cache": "memory"})
  gain = repeats.read(workdir, "test")
  assert gain.differing == ("train_steps",)
  assert any("more than the seed" in line and ": --train_steps. " in line
             for line in repeats.format_lines(gain))


def test_classes_with_enough_images_have_a_gain_of_their_own(workdir):
  assert repeats.read(workdir, "test").frequent is None  # No class has 20.
  random = np.random.default_rng(0)
  labels = np.zeros([60, 3], np.int8)
  labels[:25, 0] = labels[20:50, 1] = labels[:5, 2] = 1
  right = labels + .1 * random.random([60, 3])
  for place in (workdir, repeats.folder(workdir, 12)):
    for stage, noise in (("cls", 3), ("kd_prediction", 0)):
      scores = right + noise * random.random([60, 3])
      scores[:, 2] = right[:, 2]  # Both know the class that has few images.
      prediction_files.write(
          os.path.join(_evaluation(place, stage), prediction_files.FILE),
          prediction_files.Predictions(
              np.arange(60).astype(str), scores.astype(np.float32), labels))
  gain = repeats.read(workdir, "test")
  assert gain.frequent.num_classes == 2
  low, high = gain.frequent.interval
  assert 0 < low < gain.frequent.points < high
  # Of two classes of three all is gained, so over all it is two thirds.
  np.testing.assert_allclose(
      gain.interval, np.multiply(gain.frequent.interval, 2 / 3), atol=.5)
  assert (f" Over the 2 classes with 20 images or more, "
          f"{gain.frequent.points:+.1f} points: +"
          in repeats.interval_text(gain))


def test_one_seed_has_an_interval_but_no_spread(tmp_path):
  fake_chain.write(str(tmp_path))
  gain = repeats.read(str(tmp_path), "test")
  assert len(gain.seeds) == 1 and gain.spread is None
  _, text = repeats.format_lines(gain)
  assert "95 % interval of the gain: +" in text
  assert "14 images" in text


def test_other_images_or_no_predictions_leave_no_interval(workdir, caplog):
  path = os.path.join(_evaluation(repeats.folder(workdir, 12), "cls"),
                      prediction_files.FILE)
  predicted = prediction_files.read(path)
  predicted.image_ids[0] = "other"
  prediction_files.write(path, predicted)
  assert repeats.read(workdir, "test").interval is None
  assert "no interval of the gain" in caplog.messages[-1]
  os.remove(path)
  gain = repeats.read(workdir, "test")
  assert gain.interval is None and repeats.interval_text(gain) == ""


def test_a_chain_without_both_students_has_no_gain(tmp_path):
  fake_chain.write(str(tmp_path), ["wsd", "cls"])
  assert repeats.read(str(tmp_path), "test") is None
  assert repeats.as_json(None) is None


def test_a_config_without_a_seed_is_told(workdir):
  path = os.path.join(workdir, "kd_prediction", "config.json")
  files.write_json(path, {**files.read_json(path), "seed": "x"})
  with pytest.raises(errors.InputError, match="expected a number in `seed`"):
    repeats.read(workdir, "test")
