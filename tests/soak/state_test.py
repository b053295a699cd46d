"""The comparison of two folders notices what a user would mind."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import files
from kdwsd.training import history
from tests.data import fake_records
from tests.soak import state


def _write(folder):
  """A work directory as training leaves it, and an export."""
  os.makedirs(os.path.join(folder, "records"))
  fake_records.write(os.path.join(folder, "records"), "trainval", 3)
  run = os.path.join(folder, "run")
  model = tf.Module()
  model.kernel = tf.Variable(np.arange(6, dtype=np.float32).reshape(2, 3))
  optimizer = tf.Module()
  optimizer.moment = tf.Variable([0.5, 0.25])
  optimizer.rate = tf.Variable(0.125)
  checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer)
  tf.train.CheckpointManager(
      checkpoint, os.path.join(run, "checkpoints"), max_to_keep=2).save(7)
  checkpoint.write(os.path.join(folder, "models", "1", "variables",
                                "variables"))
  for step in (1, 2, 3):
    history.append(os.path.join(run, "history.jsonl"), {
        "step": step, "loss": 0.5 / step,
        "images_per_second": float(os.getpid())})
  files.write_json(os.path.join(run, "metrics.json"), {
      "classification": {"map": 0.25, "none": float("nan")},
      "where": os.path.join(folder, "x"), "images_per_second": 3.0})
  for name in ("summaries/events.out.tfevents.1.host.2.3", "report.html",
               "records/scores-0123456789abcdef/a.npy"):
    files.write_text(os.path.join(run, name), name)


@pytest.fixture(scope="module", name="expected")
def fixture_expected(tmp_path_factory):
  folder = str(tmp_path_factory.mktemp("expected"))
  _write(folder)
  return folder


@pytest.fixture(name="folder")
def fixture_folder(tmp_path):
  folder = str(tmp_path / "received")
  _write(folder)
  return folder


def _differences(expected, folder):
  return state.differences(state.read(expected), state.read(folder))


def _change(folder, name, change):
  path = os.path.join(folder, name)
  with open(path, "rb") as file:
    content = file.read()
  with open(path, "wb") as file:
    file.write(change(content))


def test_equal_folders_do_not_differ(expected, folder):
  found = state.read(folder)
  assert state.differences(state.read(expected), found) == []
  # Weights, the optimizer's, history, figures and records are among it all.
  names = list(found)
  for part in ("model/kernel", "optimizer/moment", "history.jsonl",
               "metrics.json", ".tfrecord", "variables: model"):
    assert any(part in name for name in names), part


@pytest.mark.parametrize("name, variable", [
    ("run/checkpoints/ckpt-7", "model/kernel"),
    ("run/checkpoints/ckpt-7", "optimizer/moment"),
    ("run/checkpoints/ckpt-7", "optimizer/rate"),
    ("models/1/variables/variables", "model/kernel")])
def test_one_bit_of_a_weight_is_noticed(expected, folder, name, variable):
  path = os.path.join(folder, name)
  kept = state.weights(path)
  checkpoint = tf.train.Checkpoint(model=tf.Module(), optimizer=tf.Module())
  for key, value in kept.items():
    owner, attribute = key.split("/")[:2]
    if f"{owner}/{attribute}" == variable:
      bits = np.frombuffer(value.tobytes(), np.uint32).copy()
      bits[-1] ^= 1
      value = bits.view(np.float32).reshape(value.shape)
    setattr(getattr(checkpoint, owner), attribute, tf.Variable(value))
  checkpoint.write(path)
  (line,) = _differences(expected, folder)
  assert name in line
  assert variable in line
  assert "1 of " in line


def test_doubled_and_missing_history_is_noticed(expected, folder):
  _change(folder, "run/history.jsonl",
          lambda lines: lines + lines.splitlines(True)[-1])
  assert _differences(expected, folder) == [
      "run/history.jsonl: expected 3 lines. Received: 4."]
  _change(folder, "run/history.jsonl",
          lambda lines: b"".join(lines.splitlines(True)[::2]))
  (line,) = _differences(expected, folder)
  assert line.startswith('run/history.jsonl: line 2: expected {"loss": 0.25')


def test_what_is_left_over_or_missing_is_noticed(expected, folder):
  os.makedirs(os.path.join(folder, "run", "checkpoints", "ckpt-8_temp"))
  files.write_text(os.path.join(folder, ".partial-x"), "")
  files.write_text(os.path.join(
      folder, "run/checkpoints/ckpt-6.data-00000-of-00001"), "")
  os.remove(os.path.join(folder, "run", "report.html"))
  assert sorted(_differences(expected, folder)) == [
      "left over: .partial-x",
      "left over: run/checkpoints/ckpt-6.data-00000-of-00001",
      "left over: run/checkpoints/ckpt-8_temp/",
      "missing: run/report.html"]


def test_another_list_of_checkpoints_is_noticed(expected, folder):
  _change(folder, "run/checkpoints/checkpoint",
          lambda text: text + b'all_model_checkpoint_paths: "ckpt-8"\n')
  (line,) = _differences(expected, folder)
  assert line.startswith("run/checkpoints/checkpoint: expected 1 lines")


def test_another_figure_is_noticed_and_named(expected, folder):
  _change(folder, "run/metrics.json", lambda text: text.replace(
      b"0.25", b"0.26").replace(b": 3.0", b": 4.0"))
  (line,) = _differences(expected, folder)
  assert line.startswith("run/metrics.json: classification: expected {")
  assert "0.26" in line


def test_one_bit_of_a_record_is_noticed(expected, folder):
  name = "records/trainval-00000-of-00001.tfrecord"
  _change(folder, name, lambda content: bytes(
      [content[0] ^ 1]) + content[1:])
  (line,) = _differences(expected, folder)
  assert line.startswith(name)


def test_clock_and_place_make_no_difference(expected, folder):
  os.rename(
      os.path.join(folder, "run/summaries/events.out.tfevents.1.host.2.3"),
      os.path.join(folder, "run/summaries/events.out.tfevents.4.host.5.6"))
  os.rename(os.path.join(folder, "run/records/scores-0123456789abcdef"),
            os.path.join(folder, "run/records/scores-fedcba9876543210"))
  with open(os.path.join(folder, "run/metrics.json"), encoding="utf-8") as file:
    metrics = json.load(file)
  metrics.update(where=os.path.join(folder, "x"), images_per_second=9.0)
  files.write_json(os.path.join(folder, "run/metrics.json"), metrics)
  assert _differences(expected, folder) == []


def test_many_differences_are_counted():
  expected = {str(i): "a" for i in range(50)}
  lines = state.differences(expected, {})
  assert len(lines) == 21
  assert lines[-1] == "... and 30 differences more"
