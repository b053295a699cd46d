"""The scripts for Slurm and Kubernetes tell each worker who it is."""

import json
import os
import pathlib
import re
import subprocess

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent


def _snippet(start):
  """The block of docs/devices.md that begins so."""
  page = (_ROOT / "docs" / "devices.md").read_text(encoding="utf-8")
  block, = re.findall(
      rf"^```\w+\n({re.escape(start)}.*?)^```", page,
      re.DOTALL | re.MULTILINE)
  return block


def _run(script, tmp_path, commands, **environment):
  """Runs a script to which these commands alone are new."""
  for name, body in commands.items():
    (tmp_path / name).write_text(f"#!/bin/bash\n{body}\n", encoding="utf-8")
    (tmp_path / name).chmod(0o755)
  return subprocess.run(
      ["bash", "-c", script], capture_output=True, text=True, check=False,
      timeout=600, cwd=tmp_path, env={
          "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", **environment})


_PYTHON = 'echo "$TF_CONFIG" > config.json; echo "$@" > told; exit %d'


def _cluster(tmp_path):
  config = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
  told = (tmp_path / "told").read_text(encoding="utf-8")
  assert "-m kdwsd.train --flagfile=flags/coco14/wsd.flags" in told
  assert "--distribution_strategy=multi_worker_mirrored" in told
  return config


@pytest.mark.parametrize("status, again", [
    (143, "requeue 77"), (75, "requeue 77"), (0, None), (2, None)])
def test_slurm_names_the_workers_and_starts_again(status, again, tmp_path):
  script = _snippet("#!/bin/bash\n#SBATCH")
  done = _run(script, tmp_path, {
      "scontrol": 'case "$1" in show) printf "n1\\nn2\\n" ;; '
                  '*) echo "$@" > again ;; esac',
      "srun": 'SLURM_PROCID=1 exec "$@"',
      "python": _PYTHON % status}, SLURM_JOB_ID="77")
  assert not done.stderr
  assert _cluster(tmp_path) == {
      "cluster": {"worker": ["n1:2222", "n2:2222"]},
      "task": {"type": "worker", "index": 1}}
  if again:
    assert (tmp_path / "again").read_text(encoding="utf-8") == again + "\n"
  else:
    assert not (tmp_path / "again").exists()


def test_kubernetes_names_the_workers(tmp_path):
  yaml = pytest.importorskip("yaml")
  job = yaml.safe_load(_snippet("apiVersion: batch/v1"))
  name, spec = job["metadata"]["name"], job["spec"]
  pod = spec["template"]["spec"]
  assert spec["completions"] == spec["parallelism"] == 2
  container, = pod["containers"]
  assert container["command"] == ["bash", "-c"]
  script, = container["args"]
  _run(script, tmp_path, {"python": _PYTHON % 0}, JOB_COMPLETION_INDEX="1")
  assert _cluster(tmp_path) == {
      "cluster": {"worker": [
          f"{name}-{i}.{pod['subdomain']}:2222" for i in range(2)]},
      "task": {"type": "worker", "index": 1}}
