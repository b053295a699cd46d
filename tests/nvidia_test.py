"""What is read of the driver, and what is said of a GPU that is not seen."""

import pytest

from kdwsd import nvidia

_H100 = "NVIDIA H100 80GB HBM3"


@pytest.fixture(name="machine")
def _machine(tmp_path, monkeypatch):
  """A machine without a GPU: its root, and the only folder of its PATH."""
  (tmp_path / "bin").mkdir()
  monkeypatch.setattr(nvidia, "_ROOT", str(tmp_path))
  monkeypatch.setenv("PATH", str(tmp_path / "bin"))
  monkeypatch.delenv(nvidia.HIDING, raising=False)
  return tmp_path


def _add_smi(machine, body):
  path = machine / "bin" / "nvidia-smi"
  path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
  path.chmod(0o755)


def _add(machine, path, text=""):
  path = machine / path
  path.parent.mkdir(parents=True, exist_ok=True)
  path.write_text(text, encoding="utf-8")


def test_no_gpu(machine):
  del machine  # Has none.
  assert nvidia.look() == nvidia.Machine(reachable=False)


def test_what_nvidia_smi_says(machine):
  _add_smi(machine, f"""
[ "$*" = "--query-gpu=name,memory.total,driver_version \
--format=csv,noheader,nounits" ] || exit 9
echo '{_H100}, 81559, 535.129.03'
echo '{_H100}, 81559, 535.129.03'""")
  _add(machine, "dev/nvidia0")
  found = nvidia.look()
  assert found == nvidia.Machine(
      (_H100, _H100), (81559, 81559), "535.129.03", "", True)
  assert found.memory(_H100) == 81559
  assert found.memory("another") is None


@pytest.mark.parametrize("line, expected", [
    ("Tesla T4, 15360, 470.57.02", (("Tesla T4",), (15360,), "470.57.02")),
    ("A, B, 15360, 470.57.02", (("A, B",), (15360,), "470.57.02")),
    ("NVIDIA GB10, [N/A], 580.95.05", (("NVIDIA GB10",), (None,), "580.95.05")),
    ("Tesla T4, 15360, [Unknown Error]", (("Tesla T4",), (15360,), None)),
    ("Unable to determine the device handle", ((), (), None)),
    ("", ((), (), None))])
def test_lines_of_nvidia_smi(line, expected):
  assert nvidia.parse(line + "\n") == expected


@pytest.mark.parametrize("body, trouble", [
    ("echo 'NVIDIA-SMI has failed because it could not communicate with the "
     "NVIDIA driver. Make sure that it is running.'; exit 9",
     "NVIDIA-SMI has failed because it could not communicate with the NVIDIA "
     "driver. Make sure that it is running"),
    ("echo 'Failed to initialize NVML: Driver/library version mismatch' >&2; "
     "exit 18", "Failed to initialize NVML: Driver/library version mismatch"),
    ("exit 3", "exit status 3"),
    ("echo 'No devices were found'; exit 6", "")])
def test_what_nvidia_smi_complains_of(machine, body, trouble):
  _add_smi(machine, body)
  assert nvidia.look() == nvidia.Machine(trouble=trouble, reachable=False)


def test_an_nvidia_smi_that_hangs(machine, monkeypatch):
  monkeypatch.setattr(nvidia, "_SECONDS", 0.2)
  _add_smi(machine, "while :; do :; done")
  assert nvidia.look().trouble == "no answer within 0 seconds"


@pytest.mark.parametrize("version, expected", [
    ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.129.03  Thu Oct 19",
     "535.129.03"),
    ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  560.35  Release "
     "Build  (dvs-builder@U16-I3)\nGCC version:  gcc version 12.2.0", "560.35"),
    ("", None)])
def test_what_proc_says(machine, version, expected):
  _add(machine, "proc/driver/nvidia/version", version)
  for bus in ("0000:1b:00.0", "0000:43:00.0"):
    _add(machine, f"proc/driver/nvidia/gpus/{bus}/information",
         f"Model: \t\t {_H100}\nIRQ:   \t\t 24\n")
  _add(machine, "dev/nvidia1")
  assert nvidia.look() == nvidia.Machine(
      (_H100, _H100), (None, None), expected, "", True)


def _why(monkeypatch, with_cuda=True, libraries=False, **changes):
  monkeypatch.setattr(nvidia, "has_libraries", lambda: libraries)
  return nvidia.why_unseen(
      nvidia.Machine(**{"names": (_H100,), "mebibytes": (81559,),
                        "driver": "535.129.03", **changes}),
      tensorflow="2.15.1", with_cuda=with_cuda)


@pytest.mark.parametrize("changes, expected", [
    ({}, "CUDA's libraries are not installed; pip install 'kdwsd[cuda]'"),
    ({"driver": None}, "CUDA's libraries are not installed"),
    ({"driver": "470.57.02"}, "the driver, 470.57.02, is too old for CUDA 12"),
    ({"driver": "525.60.13", "libraries": True}, "TF_CPP_MIN_LOG_LEVEL=0"),
    ({"with_cuda": False}, "TensorFlow 2.15.1 was built without CUDA"),
    ({"reachable": False}, "docker run needs --gpus all"),
    ({"trouble": "Failed to initialize NVML"}, "Failed to initialize NVML"),
])
def test_why_a_gpu_is_not_seen(machine, monkeypatch, changes, expected):
  del machine  # For the environment.
  assert expected in _why(monkeypatch, **changes)


@pytest.mark.parametrize("value, hidden", [
    ("", True), ("-1", True), ("-1,0", True), ("0", False), ("1,0", False),
    ("GPU-8932f937", False)])
def test_a_variable_may_hide_it(machine, monkeypatch, value, hidden):
  del machine  # For the environment.
  monkeypatch.setenv(nvidia.HIDING, value)
  assert nvidia.is_hidden() == hidden
  assert (f"CUDA_VISIBLE_DEVICES={value} hides it" == _why(
      monkeypatch)) == hidden
