"""--device, the line on the device, and programs under it.

There is no GPU here: TensorFlow's list of them is replaced.
"""

import logging as python_logging
import os
import sys
import types

import pytest
import tensorflow as tf

from kdwsd import devices
from kdwsd import errors
from kdwsd import nvidia
from tests import programs

_H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(name="gpus")
def _gpus(monkeypatch):
  """A function that gives TensorFlow GPUs, and the driver those it names."""
  growing = []
  monkeypatch.delenv(nvidia.HIDING, raising=False)
  monkeypatch.setattr(tf.config.experimental, "set_memory_growth",
                      lambda gpu, on: growing.append((gpu, on)))

  def give(*names, machine=None, capability=(9, 0)):
    listed = [types.SimpleNamespace(device_type="GPU", kind=name)
              for name in names]
    monkeypatch.setattr(tf.config, "get_visible_devices",
                        lambda kind: listed if kind == "GPU" else [])
    monkeypatch.setattr(
        tf.config.experimental, "get_device_details", lambda gpu: {
            "device_name": gpu.kind, "compute_capability": capability})
    monkeypatch.setattr(nvidia, "look", lambda: machine or nvidia.Machine())
    return growing
  return give


@pytest.fixture(name="policy")
def _policy():
  before = tf.keras.mixed_precision.global_policy()
  yield tf.keras.mixed_precision.set_global_policy
  tf.keras.mixed_precision.set_global_policy(before)


def _machine(*names, size=81559, **more):
  return nvidia.Machine(names, (size,) * len(names), "535.129.03", **more)


def _lines(caplog):
  return [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize("names, known, expected", [
    ([_H100], [_H100], f"Device: {_H100}, 79 GiB, mixed_float16"),
    ([_H100] * 8, [_H100] * 8,
     f"Devices: 8 x {_H100}, 79 GiB each, mixed_float16"),
    ([_H100], [], f"Device: {_H100}, mixed_float16"),
    ([_H100, "Tesla T4"], [_H100],
     f"Devices: {_H100}, 79 GiB; Tesla T4, mixed_float16")])
def test_the_line_names_devices_memory_and_precision(
    gpus, policy, names, known, expected):
  gpus(*names, machine=_machine(*known))
  policy("mixed_float16")
  assert devices.describe() == expected


@pytest.mark.parametrize("capability, expected", [
    ((7, 5), "float32"), ((8, 0), "float32 with products in TF32"),
    ((9, 0), "float32 with products in TF32")])
def test_float32_says_where_products_are_not(gpus, capability, expected):
  gpus(_H100, capability=capability)
  assert devices.describe() == f"Device: {_H100}, {expected}"


def test_float32_is_float32_where_tf32_is_off(gpus):
  gpus(_H100)
  tf.config.experimental.enable_tensor_float_32_execution(False)
  try:
    assert devices.describe() == f"Device: {_H100}, float32"
  finally:
    tf.config.experimental.enable_tensor_float_32_execution(True)


def test_only_the_devices_of_the_strategy_are_named(gpus):
  gpus(_H100, _H100, capability=(7, 0))
  name = "/job:localhost/replica:0/task:0/device:{}:{}"
  assert devices.describe([name.format("GPU", 0)]) == (
      f"Device: {_H100}, float32")
  assert devices.describe([name.format("CPU", 0)]).startswith("Device: CPU, ")
  assert devices.describe([name.format("TPU", i) for i in range(8)]) == (
      "Devices: 8 TPU cores, float32")


def test_the_cpu_is_named_with_its_cores(gpus, monkeypatch):
  gpus()
  for count, text in ((1, "1 core"), (2, "2 cores")):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _, n=count: range(n),
                        raising=False)
    assert devices.describe() == f"Device: CPU, {text}, float32"


def test_memory_is_taken_as_needed_except_in_training(gpus):
  growing = gpus(_H100, _H100)
  devices.use("gpu", whole_memory=True)
  assert not growing
  devices.use("auto")
  assert [on for _, on in growing] == [True, True]


def test_the_choice_is_logged(gpus, caplog):
  gpus(_H100)
  with caplog.at_level(python_logging.INFO):
    devices.use("auto", log=False)
    assert not _lines(caplog)
    devices.use("auto")
  assert _lines(caplog) == [f"Device: {_H100}, float32 with products in TF32"]


def test_cpu_hides_gpus_from_this_process_and_its_children(gpus, monkeypatch):
  gpus()
  hidden = []
  monkeypatch.setattr(tf.config, "set_visible_devices",
                      lambda *what: hidden.append(what))
  devices.use("cpu")
  assert hidden == [([], "GPU")]
  assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"


def test_programs_that_do_not_compute_hide_gpus_without_tensorflow(
    gpus, monkeypatch):
  gpus()
  monkeypatch.delitem(sys.modules, "tensorflow")
  devices.hide_gpus()
  assert os.environ["CUDA_VISIBLE_DEVICES"] == "-1"
  assert "tensorflow" not in sys.modules


def test_gpu_is_refused_without_one(gpus):
  gpus()
  with pytest.raises(
      errors.InputError, match="--device=gpu: expected a GPU that TensorFlow "
      "sees. Received: none; this machine has no"):
    devices.use("gpu")


def test_gpu_is_refused_with_what_to_install(gpus, monkeypatch):
  monkeypatch.setattr(nvidia, "has_libraries", lambda: False)
  monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
  gpus(machine=_machine(_H100))
  with pytest.raises(errors.InputError) as raised:
    devices.use("gpu")
  assert str(raised.value) == (
      f"--device=gpu: expected a GPU that TensorFlow sees. Received: {_H100}, "
      "which it does not see: CUDA's libraries are not installed; pip install "
      "'kdwsd[cuda]' installs them (in a checkout: make venv CUDA=1).")


@pytest.mark.parametrize("machine, said", [
    (_machine(_H100), f"GPU, {_H100}: CUDA's libraries are not installed"),
    (nvidia.Machine(trouble="NVML failed"), "NVIDIA GPU: nvidia-smi fails"),
    (nvidia.Machine(), None)])
def test_auto_says_in_one_line_what_is_not_seen(
    gpus, monkeypatch, caplog, machine, said):
  monkeypatch.setattr(nvidia, "has_libraries", lambda: False)
  monkeypatch.setattr(tf.test, "is_built_with_cuda", lambda: True)
  gpus(machine=machine)
  with caplog.at_level(python_logging.WARNING):
    devices.use("auto")
  assert len(_lines(caplog)) == bool(said)
  if said:
    line, = _lines(caplog)
    assert line.startswith("Computing on the CPU: TensorFlow does not see")
    assert said in line


@pytest.mark.parametrize("choice, variable", [("cpu", None), ("auto", "-1")])
def test_nothing_is_said_of_a_gpu_that_is_not_wanted(
    gpus, monkeypatch, caplog, choice, variable):
  gpus(machine=_machine(_H100))
  monkeypatch.setattr(tf.config, "set_visible_devices", lambda *_: None)
  if variable:
    monkeypatch.setenv(nvidia.HIDING, variable)
  with caplog.at_level(python_logging.WARNING):
    devices.use(choice)
  assert not _lines(caplog)


@pytest.mark.parametrize("program, arguments", [
    ("train", ["--data=none", "--workdir=none"]),
    ("evaluate", ["--workdir=none"]),
    ("predict", ["--model=none", __file__]),
    ("export", ["--workdir=none", "--output=none"]),
    ("serve", ["--model_base_path=none"])])
def test_programs_refuse_to_compute_elsewhere(tmp_path, program, arguments):
  # No GPU of a machine that has one is to be found.
  done = programs.run(
      f"kdwsd.{program}", "--device=gpu", *arguments, cwd=tmp_path,
      environment={"CUDA_VISIBLE_DEVICES": "-1", "PATH": "/nowhere"})
  assert done.returncode == 2, done.stderr
  assert done.stderr.splitlines()[-1].startswith(
      "error: --device=gpu: expected a GPU that TensorFlow sees. Received: ")
