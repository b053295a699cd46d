"""make-venv installs CUDA's libraries where there is an NVIDIA GPU."""

import platform

import pytest

from tests.installation import fake_tools

pytestmark = pytest.mark.skipif(
    (platform.system(), platform.machine()) != ("Linux", "x86_64"),
    reason="only Linux on x86-64 has packages of CUDA's libraries")


def _machine(folder, *gpu):
  machine = fake_tools.FakeMachine(
      folder, ["python3.11", "python3.12"], uv=True)
  for kind in gpu:
    machine.add_gpu(kind)
  return machine


def _extras(machine):
  """What was installed of the project, such as .[dev]; None if nothing was."""
  return next((line.split("--editable ")[1] for line in machine.calls()
               if "--editable" in line), None)


@pytest.mark.parametrize(
    "trace", ["nvidia-smi", "dev/nvidia0", "proc/driver/nvidia/version"])
def test_each_trace_of_a_gpu_brings_the_libraries(tmp_path, trace):
  machine = _machine(tmp_path, trace)
  done = machine.make_venv()
  assert done.stdout.splitlines()[0] == (
      "lane classic: TensorFlow 2.15 with CUDA on Python 3.11 in .venv "
      "(python3.11 is the first that suits, an NVIDIA GPU)")
  assert "installing about 3 GB and CUDA's libraries, once" in done.stdout
  assert _extras(machine) == ".[dev,cuda]"


def test_without_a_gpu_nothing_is_said_of_it(tmp_path):
  machine = _machine(tmp_path)
  done = machine.make_venv()
  assert "CUDA" not in done.stdout
  assert "installing about 3 GB, once" in done.stdout
  assert _extras(machine) == ".[dev]"


def test_an_nvidia_smi_that_fails_is_no_gpu(tmp_path):
  machine = _machine(tmp_path, "nvidia-smi")
  (machine.tools / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n", "utf-8")
  machine.make_venv()
  assert _extras(machine) == ".[dev]"


@pytest.mark.parametrize("gpu,asked,with_cuda,said", [
    ((), "1", True, "suits, CUDA=1)"),
    (("nvidia-smi",), "1", True, "suits, CUDA=1)"),
    (("nvidia-smi",), "0", False, "suits, CUDA=0)"),
    ((), "0", False, "suits)")])
def test_the_variable_decides(tmp_path, gpu, asked, with_cuda, said):
  machine = _machine(tmp_path, *gpu)
  line = machine.make_venv(CUDA=asked).stdout.splitlines()[0]
  assert ("2.15 with CUDA on" in line) == with_cuda
  assert line.endswith(said)
  assert _extras(machine) == (".[dev,cuda]" if with_cuda else ".[dev]")


def test_the_other_lane_has_them_too(tmp_path):
  machine = _machine(tmp_path)
  done = machine.make_venv(CUDA="1", LANE="modern")
  assert "lane modern: TensorFlow 2.20 with CUDA on" in done.stdout
  assert _extras(machine) == ".[dev,cuda]"


def test_an_environment_keeps_what_it_has(tmp_path):
  machine = _machine(tmp_path)
  machine.make_venv(CUDA="1")
  machine.calls()
  done = machine.make_venv()
  assert done.stdout == (
      "lane classic: TensorFlow 2.15 with CUDA on Python 3.11 in .venv (as "
      "made before)\n")
  assert _extras(machine) is None
  # What is there does no harm.
  assert "with CUDA" not in machine.make_venv(CUDA="0").stdout
  assert _extras(machine) is None


def test_they_are_added_to_an_environment_without(tmp_path):
  machine = _machine(tmp_path, "nvidia-smi")
  machine.make_venv(CUDA="0")
  assert _extras(machine) == ".[dev]"
  assert "with CUDA" not in machine.make_venv().stdout
  assert _extras(machine) is None
  (machine.project / ".venv" / "kept").touch()
  assert "with CUDA" in machine.make_venv(CUDA="1").stdout
  assert _extras(machine) == ".[dev,cuda]"
  assert (machine.project / ".venv" / "kept").exists()


def test_an_interrupted_installation_is_completed_with_them(tmp_path):
  machine = _machine(tmp_path)
  for fault in ("uv-fails", "no-network"):
    machine.has(fault)
  assert machine.make_venv(CUDA="1").returncode == 2
  for fault in ("uv-fails", "no-network"):
    machine.has(fault, False)
  machine.calls()
  assert machine.make_venv().returncode == 0
  assert _extras(machine) == ".[dev,cuda]"


def test_an_environment_of_before_is_given_them(tmp_path):
  machine = _machine(tmp_path, "nvidia-smi")
  machine.make_venv(CUDA="0")
  stamp = machine.project / ".venv" / ".kdwsd-installed"
  stamp.write_text("classic 3014562313 9077\n", encoding="utf-8")
  machine.calls()
  assert "with CUDA" in machine.make_venv().stdout
  assert _extras(machine) == ".[dev,cuda]"


def test_another_value_is_refused(tmp_path):
  done = _machine(tmp_path).make_venv(CUDA="yes")
  assert done.returncode == 2
  assert done.stderr == (
      "error: CUDA: expected 1 (CUDA's libraries for an NVIDIA GPU), 0 "
      "(without them) or nothing. Received: yes.\n")
