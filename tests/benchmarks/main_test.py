"""The benchmark measures what it says.

It runs in processes of its own: its flags have names that other programs use.
"""

import json
import os
import pathlib
import subprocess
import sys
import textwrap
import types

import numpy as np
import pytest

from benchmarks import step_rates

_ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def _run(*arguments):
  done = subprocess.run(
      [sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True,
      timeout=500, check=False, env={**os.environ, "PYTHONPATH": str(_ROOT)})
  assert done.returncode == 0, done.stderr
  return done.stdout


def test_flop_of_a_step_by_hand():
  # A convolution 3 x 3, 2 -> 5, at 4 x 4; a pooling; one 1 x 1, 5 -> 1, at
  # 2 x 2; fully connected 4 -> 6, 6 -> 6, and twice 6 -> 3 on 7 proposals.
  def layer(*shape):
    return types.SimpleNamespace(weights=[1], kernel=np.zeros(shape))

  pool = types.SimpleNamespace(weights=[])
  model = types.SimpleNamespace(
      backbone=types.SimpleNamespace(
          stages=[[layer(3, 3, 2, 5)], [pool, layer(1, 1, 5, 1)]]),
      fc6=layer(4, 6), fc7=layer(6, 6), fc8_c=layer(6, 3), fc8_d=layer(6, 3))
  first = 4 * 4 * 3 * 3 * 2 * 5
  others = 2 * 2 * 5 + 7 * (4 * 6 + 6 * 6 + 2 * 6 * 3)
  assert step_rates.step_flops(model, 4, 7) == 2 * (2 * first + 3 * others)


def test_peak_memory_counts_children(tmp_path):
  program = tmp_path / "program.py"
  program.write_text(textwrap.dedent("""
      import subprocess, sys, time
      from benchmarks import processes
      def hold():
        a = b"1" * 80_000_000
        subprocess.run([sys.executable, "-c",
                        "import time; b = b'1' * 80_000_000; time.sleep(3)"])
        return len(a)
      if __name__ == "__main__":
        print(*processes.measure(hold))
      """), encoding="utf-8")
  result, mib = _run(str(program)).split()
  assert int(result) == 80_000_000
  assert float(mib) > 150


@pytest.mark.slow
def test_measures_everything(tmp_path):
  output = tmp_path / "bench.json"
  table = _run(
      "-m", "benchmarks", "--num_images=40", "--size=64",
      "--num_proposals=20", "--fc_units=8", "--steps=1", f"--output={output}")
  rows = json.loads(output.read_text(encoding="utf-8"))["rows"]
  assert len(rows) >= 9
  assert all(row["images_per_second"] > 0 for row in rows)
  assert all(row["peak_mib"] > 50 for row in rows)
  assert table.count("\n| ") >= len(rows)
