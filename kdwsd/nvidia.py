"""The NVIDIA GPUs of a machine, and what keeps TensorFlow from seeing them.

Nothing here needs TensorFlow: drivers are asked by `nvidia-smi` and `/proc`.
"""

import dataclasses
import glob
import importlib.util
import os
import re
import shutil
import subprocess
from typing import Optional

_ROOT = "/"
_SECONDS = 30.0  # It may take seconds where no process keeps the driver loaded.
_QUERY = ("--query-gpu=name,memory.total,driver_version",
          "--format=csv,noheader,nounits")
# The oldest driver of CUDA 12, which both lanes need. Source: NVIDIA, "CUDA
# Compatibility", minor version compatibility.
_OLDEST_DRIVER = "525"

HIDING = "CUDA_VISIBLE_DEVICES"
INSTALL = ("pip install 'kdwsd[cuda]' installs them (in a checkout: make venv "
           "CUDA=1)")


@dataclasses.dataclass(frozen=True)
class Machine:
  """What the driver says.

  Attributes:
    names: of the GPUs.
    mebibytes: memory of each GPU; None where it is unknown.
    driver: version of the driver, such as "535.129.03"; None if unknown.
    trouble: what nvidia-smi complains of; empty if it works, or is not there.
    reachable: whether processes can open a GPU: a container that was given
      none shows them in /proc, but has no files in /dev.
  """
  names: tuple[str, ...] = ()
  mebibytes: tuple[Optional[int], ...] = ()
  driver: Optional[str] = None
  trouble: str = ""
  reachable: bool = True

  def memory(self, name):
    """Memory in MiB of a GPU of this name; None if it is unknown."""
    return next((size for one, size in zip(self.names, self.mebibytes)
                 if one == name), None)


def look():
  """Asks the driver; takes no time where there is none."""
  reachable = any(glob.glob(os.path.join(_ROOT, pattern)) for pattern in (
      "dev/nvidia[0-9]*", "dev/dxg"))  # The last: of Windows' Linux.
  driver = _driver()
  names, mebibytes, trouble = (), (), ""
  if shutil.which("nvidia-smi"):
    names, mebibytes, driver_too, trouble = _ask()
    driver = driver_too or driver
  if not names:
    names = tuple(map(_model, sorted(glob.glob(os.path.join(
        _ROOT, "proc/driver/nvidia/gpus/*/information")))))
    mebibytes = (None,) * len(names)
  return Machine(names, mebibytes, driver, trouble, reachable)


def is_hidden():
  """Whether the user has hidden all GPUs by CUDA_VISIBLE_DEVICES."""
  return os.environ.get(HIDING, "0").split(",")[0].strip() in ("", "-1")


def why_unseen(machine, *, tensorflow, with_cuda):
  """Says why TensorFlow sees no GPU, and how to mend it.

  Args:
    machine: a `Machine` that has a GPU.
    tensorflow: version of TensorFlow.
    with_cuda: whether TensorFlow was built for CUDA.

  Returns:
    A part of a sentence, without its full stop.
  """
  if is_hidden():
    return f"{HIDING}={os.environ[HIDING]} hides it"
  if machine.trouble:
    return (f"nvidia-smi fails, too: {machine.trouble}. After an update of the "
            "driver, restart the machine")
  if not machine.reachable:
    return ("this container was not given it; docker run needs --gpus all, a "
            "pod a limit of nvidia.com/gpu")
  if not with_cuda:
    return (f"TensorFlow {tensorflow} was built without CUDA; install the "
            "package tensorflow instead of it")
  if machine.driver and _numbers(machine.driver) < _numbers(_OLDEST_DRIVER):
    return (f"the driver, {machine.driver}, is too old for CUDA 12; install "
            f"{_OLDEST_DRIVER} or newer")
  if not has_libraries():
    return f"CUDA's libraries are not installed; {INSTALL}"
  return ("TF_CPP_MIN_LOG_LEVEL=0 before the command shows what TensorFlow "
          "says about it")


def has_libraries():
  """Whether CUDA's libraries are installed as Python packages."""
  try:
    return importlib.util.find_spec("nvidia.cudnn") is not None
  except ModuleNotFoundError:  # Not even the package nvidia.
    return False


def parse(text):
  """Reads the output of nvidia-smi.

  Args:
    text: a line for each GPU: name, MiB and version of the driver. Where the
      driver does not tell a value, it is in brackets, such as [N/A].

  Returns:
    names, memory in MiB or None of each, version of the driver or None.
  """
  rows = [[cell.strip() for cell in line.rsplit(",", 2)]
          for line in text.splitlines() if line.count(",") >= 2]
  drivers = [driver for *_, driver in rows
             if re.fullmatch(r"\d+(\.\d+)+", driver)]
  return (tuple(name for name, *_ in rows),
          tuple(int(size) if size.isdigit() else None for _, size, _ in rows),
          drivers[0] if drivers else None)


def _ask():
  """What nvidia-smi says: as `parse`, and its complaint."""
  try:
    done = subprocess.run(
        ["nvidia-smi", *_QUERY], check=False, capture_output=True, text=True,
        errors="replace", timeout=_SECONDS, stdin=subprocess.DEVNULL)
  except subprocess.TimeoutExpired:
    return (), (), None, f"no answer within {_SECONDS:.0f} seconds"
  except OSError as error:
    return (), (), None, str(error.strerror)
  if done.returncode:
    lines = (done.stdout + done.stderr).strip().splitlines()
    said = lines[0].strip().rstrip(".") if lines else ""
    if "No devices were found" in said:
      return (), (), None, ""
    return (), (), None, said or f"exit status {done.returncode}"
  return (*parse(done.stdout), "")


def _driver():
  """Version of the loaded driver; None if there is none."""
  text = _read(os.path.join(_ROOT, "proc/driver/nvidia/version"))
  found = re.search(r"\b\d{3,}(\.\d+)+\b", text)
  return found[0] if found else None


def _model(path):
  """Name of a GPU in /proc."""
  found = re.search(r"^Model:\s*(.*\S)", _read(path), re.MULTILINE)
  return found[1] if found else "NVIDIA GPU"


def _read(path):
  try:
    with open(path, encoding="utf-8", errors="replace") as file:
      return file.read()
  except OSError:
    return ""


def _numbers(version):
  return tuple(map(int, re.findall(r"\d+", version)))
