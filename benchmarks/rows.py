"""A row of the benchmark's table, and what the table says of the machine."""

import dataclasses
import os
import platform
import subprocess
import sys
from typing import Optional

from benchmarks import processes
from kdwsd import legacy_keras
from kdwsd import nvidia


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table.

  Attributes:
    what: what was measured.
    images_per_second: its rate.
    cores: cores that it may use.
    peak_mib: resident memory of the processes.
    remark: further figures.
    device: what computed, as `devices.describe` says; empty for no model.
    gpu_mib: most memory that tensors took on the GPU; None on a CPU.
  """
  what: str
  images_per_second: float
  cores: int
  peak_mib: float
  remark: str = ""
  device: str = ""
  gpu_mib: Optional[float] = None


def table(rows):
  """The rows as a Markdown table, below the devices that they are of."""
  on_gpu = any(row.gpu_mib is not None for row in rows)
  lines = [*dict.fromkeys(row.device for row in rows if row.device), "",
           "| what | images/s | cores | peak MiB |"
           f"{' GPU MiB |' if on_gpu else ''} |",
           f"|---|---|---|---|---|{'---|' if on_gpu else ''}"]
  for row in rows:
    gpu = "" if row.gpu_mib is None else f"{row.gpu_mib:.0f}"
    lines.append(f"| {row.what} | {row.images_per_second:.3g} | {row.cores} | "
                 f"{row.peak_mib:.0f} |{f' {gpu} |' if on_gpu else ''} "
                 f"{row.remark} |")
  return "\n".join(lines).strip()


def machine():
  """Processor, cores and versions in one line."""
  name = platform.processor() or platform.machine()
  if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
      models = [line.split(":")[1].strip() for line in file
                if line.startswith("model name")]
    name = models[0] if models else name
  driver = nvidia.look().driver
  return (f"{name}, {processes.num_cores()} cores, "
          f"Python {sys.version.split()[0]}, "
          f"TensorFlow {legacy_keras.tensorflow_version()}"
          f"{f', driver {driver}' if driver else ''}, commit {_commit()}")


def _commit():
  """The commit of this checkout, with a + if files differ from it."""
  root = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
  try:
    done = subprocess.run(
        ["git", "-C", root, "describe", "--always", "--dirty=+",
         "--exclude=*"], capture_output=True, text=True, check=True)
  except (OSError, subprocess.CalledProcessError):
    return "unknown"
  return done.stdout.strip()
