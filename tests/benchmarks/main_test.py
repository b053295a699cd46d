"""The benchmark measures what it says.

It runs in processes of its own: its flags have names that other programs use.
"""

import json
import os
import pathlib
import re
import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

from benchmarks import compute
from benchmarks import data_rates
from benchmarks import flops
from benchmarks import processes
from benchmarks import rows
from kdwsd import errors
from tests.benchmarks import refusal

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def _run(*arguments):
  done = subprocess.run(
      [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True,
      timeout=500, check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)})
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_flop_of_a_step_by_hand():
  # A convolution 3 x 3, 2 -> 5, at 4 x 4; a pooling; a depthwise one, 3 x 3, at
  # 2 x 2; fully connected 5 -> 6 on 7 rows. RoI pooling's products of
  # interpolation are none of these.
  first = tf.keras.layers.Conv2D(5, 3, padding="same")
  depthwise = tf.keras.layers.DepthwiseConv2D(3, padding="same")
  dense = tf.keras.layers.Dense(6)

  def forward(inputs):
    cells = depthwise(tf.nn.max_pool2d(first(inputs["image"]), 2, 2, "VALID"))
    rows = tf.tile(tf.reduce_mean(cells, axis=[1, 2]), [7, 1])
    interpolated = tf.einsum("bh,bhwc->bwc", inputs["weights"], cells)
    return dense(rows), interpolated

  inputs = {"image": tf.TensorSpec([1, 4, 4, 2]),
            "weights": tf.TensorSpec([1, 2])}
  expected = [2 * 4 * 4 * 3 * 3 * 2 * 5, 2 * 2 * 2 * 3 * 3 * 5, 2 * 7 * 5 * 6]
  assert flops.of_products(forward, inputs) == expected
  assert flops.of_step(forward, inputs) == 3 * sum(expected) - expected[0]


@pytest.mark.parametrize("text, expected", [
    ("vgg16", {"backbone": "vgg16", "backbone_width": 1.0}),
    ("mobilenet_v2:0.35", {
        "backbone": "mobilenet_v2", "backbone_width": 0.35})])
def test_a_backbone_has_a_width(text, expected):
  assert compute.backbone(text) == expected


def test_the_settings_that_differ_are_in_the_name():
  assert compute.Compute(device="cpu").label() == ""
  assert compute.Compute(
      mixed_precision="mixed_float16", roi_pooling="max").label() == (
          ", mixed_float16, roi_pooling max")


def test_an_error_of_the_measuring_process_is_ours():
  with pytest.raises(errors.InputError, match="x: expected a. Received: b."):
    processes.measure(refusal.refuse)


def test_peak_memory_counts_children(tmp_path):
  program = tmp_path / "program.py"
  program.write_text(textwrap.dedent("""
      import os, subprocess, sys, time, types
      from benchmarks import processes
      os.chdir(os.path.dirname(__file__))
      CHILD = '''
      import os, time
      b = b"1" * 80_000_000
      os.mkdir("held")
      while not os.path.exists("measured"):
        time.sleep(0.01)
      '''
      def hold():
        a = b"1" * 80_000_000
        subprocess.run([sys.executable, "-c", CHILD])
        return len(a)
      def sleep(seconds):
        # After each sample; one that began later than the child is whole.
        if os.path.exists("sampled"):
          os.makedirs("measured", exist_ok=True)
        elif os.path.exists("held"):
          os.mkdir("sampled")
        time.sleep(seconds)
      if __name__ == "__main__":
        processes.time = types.SimpleNamespace(sleep=sleep)
        print(*processes.measure(hold))
      """), encoding="utf-8")
  result, mib = _run(str(program)).split()
  assert int(result) == 80_000_000
  assert float(mib) > 150


def test_input_and_step_are_set_beside_each_other():
  step = rows.Row("step of X", 2.0, 1, 0.0)
  inputs = [rows.Row(f"input pipeline, {how}", rate, 1, 0.0)
            for how, rate in (("a", 3.0), ("b", 0.5))]
  text, = data_rates.feeding([*inputs, rows.Row("other", 9.0, 1, 0.0), step])
  assert text.splitlines() == [
      "step of X takes 2 images/s; input pipeline, a gives 3: 1.5 times as "
      "many.",
      "step of X takes 2 images/s; input pipeline, b gives 0.5: 0.25 times as "
      "many."]
  assert data_rates.feeding(inputs) == data_rates.feeding([step]) == []


@pytest.mark.slow
def test_input_is_measured_with_and_without_warp_and_cache(tmp_path):
  output = tmp_path / "bench.json"
  printed = _run("-m", "benchmarks", "--parts=input", "--num_images=8",
                 "--size=64", "--num_proposals=5", f"--output={output}")
  measured = json.loads(output.read_text(encoding="utf-8"))["rows"]
  assert [row["what"] for row in measured] == [
      f"input pipeline, 64 pixels, --cache={cache}{warped}"
      for cache in ("none", "memory") for warped in ("", " --resize_on_device")]
  for row in measured:
    assert row["images_per_second"] > 0
    assert "per second of a core" in row["remark"]
    assert row["what"] in printed


@pytest.mark.slow
def test_models_are_measured_with_every_setting(tmp_path):
  output = tmp_path / "bench.json"
  _run("-m", "benchmarks", "--parts=step,training,cached,inference",
       "--device=cpu", "--num_images=8", "--resize_on_device", "--size=64",
       "--student_size=64", "--num_proposals=20", "--fc_units=8",
       "--steps=1", "--batch_size=2",
       "--mixed_precision=mixed_float16", "--roi_pooling=max",
       "--backbone=mobilenet_v2:0.35", "--students=mobilenet_v2:0.35,small",
       f"--output={output}")
  content = json.loads(output.read_text(encoding="utf-8"))
  assert re.search(r"TensorFlow 2\.\d+.*commit \w+", content["machine"])
  rows = {row["what"]: row for row in content["rows"]}
  assert len(rows) == 2 + 2 * 2
  for row in rows.values():
    assert row["images_per_second"] > 0
    assert re.fullmatch(
        r"Device: CPU, \d+ cores?, mixed_float16", row["device"])
    assert row["gpu_mib"] is None
  step = next(row for what, row in rows.items() if what.startswith("step"))
  assert "mobilenet_v2:0.35, 64 pixels" in step["what"]
  assert step["what"].endswith("batch 2, mixed_float16, roi_pooling max")
  assert re.search(r"ms, first after .* s, .*FLOP/s of .*%", step["remark"])


@pytest.mark.slow
def test_the_measurements_of_a_gpu_have_time_limits(tmp_path):
  output = tmp_path / "gpu"
  done = subprocess.run(
      [sys.executable, "-m", "benchmarks.gpu", "--device=cpu",
       "--only=cached", "--limit=1.5",
       f"--output={output}"], cwd=_ROOT, capture_output=True, text=True,
      timeout=100, check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)})
  assert done.returncode == 1
  results = json.loads((tmp_path / "gpu.json").read_text("utf-8"))["results"]
  assert [result["name"] for result in results] == [
      "cached-vgg16", "cached-mobilenet",
      "cached-mobilenet-uncompiled"]
  assert all(result["error"] == "stopped after 2 s" for result in results)
  assert "stopped after 2 s" in (tmp_path / "gpu.txt").read_text("utf-8")


@pytest.mark.slow
def test_measures_everything(tmp_path):
  output = tmp_path / "bench.json"
  table = _run(
      "-m", "benchmarks", "--num_images=40", "--resize_on_device", "--size=64",
      "--num_proposals=20", "--fc_units=8", "--steps=1", f"--output={output}")
  rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
  assert len(rows) >= 9
  assert all(row["images_per_second"] > 0 for row in rows)
  assert all(row["peak_mib"] > 50 for row in rows)
  assert table.count("\n| ") >= len(rows)
