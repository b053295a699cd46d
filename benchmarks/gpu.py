"""Measures what RESULTS.md lists for GPUs: `python -m benchmarks.gpu`.

    python -m benchmarks.gpu                          in less than 10 minutes
    python -m benchmarks.gpu --seconds=240 --only=step,cached

Runs commands of `python -m benchmarks` one after the other, the most important
ones first, each with a time limit. After each of them the files --output.json
and --output.txt hold all results so far, so that a machine that is taken away
loses one measurement.
"""

import os
import shlex
import subprocess
import sys
import time

from absl import flags
from absl import logging

from benchmarks import rows as rows_lib
from kdwsd import command_line
from kdwsd import devices
from kdwsd import files

_FLOAT16 = "--mixed_precision=mixed_float16"

# Name: arguments. Aims and earlier figures are in RESULTS.md.
COMMANDS = {
    "step-4": ["--parts=step", "--batch_size=4", _FLOAT16],
    "step-8": ["--parts=step", "--batch_size=8", _FLOAT16],
    "cached-mobilenet": [
        "--parts=cached", "--students=mobilenet_v2", "--batch_size=64",
        _FLOAT16],
    "training-4": [
        "--parts=training", "--batch_size=4", "--num_images=256", _FLOAT16,
        "--resize_on_device"],
    "step-4-float32": ["--parts=step", "--batch_size=4"],
    "step-4-max": [
        "--parts=step", "--batch_size=4", _FLOAT16, "--roi_pooling=max"],
    "cached-vgg16": [
        "--parts=cached", "--students=vgg16", "--batch_size=32", _FLOAT16],
    "evaluation": ["--parts=evaluation", "--num_images=256"],
    "training-8": [
        "--parts=training", "--batch_size=8", "--num_images=256", _FLOAT16,
        "--resize_on_device"],
    "step-4-uncompiled": [
        "--parts=step", "--batch_size=4", _FLOAT16, "--jit_compile=off"],
    "step-1": ["--parts=step", "--batch_size=1", _FLOAT16],
    "step-4-bfloat16": [
        "--parts=step", "--batch_size=4", "--mixed_precision=mixed_bfloat16"],
    "cached-mobilenet-uncompiled": [
        "--parts=cached", "--students=mobilenet_v2", "--batch_size=64",
        _FLOAT16, "--jit_compile=off"],
    "inference": [
        "--parts=inference", "--students=vgg16,mobilenet_v2",
        "--batch_size=64", _FLOAT16],
    "training-4-resized-on-host": [
        "--parts=training", "--batch_size=4", "--num_images=256", _FLOAT16],
    "step-4-resnet50": [
        "--parts=step", "--batch_size=4", _FLOAT16, "--backbone=resnet50"],
}

flags.DEFINE_float("seconds", 560.0, "Time for all commands; what does not fit "
                   "is left out.", lower_bound=1)
flags.DEFINE_float("limit", 90.0, "Time for one command, seconds.",
                   lower_bound=1)
flags.DEFINE_list("only", [], "Beginnings of the names of commands to run. "
                  f"Default: all, {', '.join(COMMANDS)}.")
flags.DEFINE_list("add", [], "Further arguments of each command, such as "
                  "--steps=10.")
flags.DEFINE_string("output", "runs/bench/gpu", "Files to write, without .json "
                    "and .txt.")
devices.define_flag("gpu")

FLAGS = flags.FLAGS


def main(_):
  """Runs the commands; returns 1 if one has failed, or none was run."""
  end = time.monotonic() + FLAGS.seconds
  machine, done = rows_lib.machine(), []
  for name, arguments in COMMANDS.items():
    if FLAGS.only and not any(map(name.startswith, FLAGS.only)):
      continue
    limit = min(FLAGS.limit, end - time.monotonic())
    command = ["-m", "benchmarks", *arguments, f"--device={FLAGS.device}",
               *FLAGS.add]
    result = {"name": name, "command": shlex.join(["python", *command])}
    result.update(_run(command, limit) if limit > 1 else {
        "error": "left out: no time"})
    done.append(result)
    _write(machine, done)
    logging.info("%s: %s", name, _text(result))
  print(f"{machine}\nWritten: {FLAGS.output}.json, {FLAGS.output}.txt")
  return int(not done or any("error" in result for result in done))


def _run(command, limit):
  """Runs a command.

  Args:
    command: arguments of this Python.
    limit: seconds after which it is stopped.

  Returns:
    Dict of `seconds` and either `rows` or `error`.
  """
  output = f"{FLAGS.output}.part.json"
  start = time.monotonic()
  # A group of its own, so that its measuring process is stopped with it.
  with subprocess.Popen(
      [sys.executable, *command, f"--output={output}"], text=True,
      stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
      start_new_session=True) as process:
    try:
      _, err = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
      os.killpg(process.pid, 9)
      process.wait()
      return {"seconds": limit, "error": f"stopped after {limit:.0f} s"}
  seconds = time.monotonic() - start
  if process.returncode:
    lines = err.strip().splitlines() or ["no message"]
    return {"seconds": seconds, "error": lines[-1], "log": lines[-40:]}
  content = files.read_json(output)
  os.remove(output)
  return {"seconds": seconds, "rows": content["rows"]}


def _write(machine, done):
  """Writes both files anew."""
  files.write_json(
      f"{FLAGS.output}.json", {"machine": machine, "results": done})
  rows = [rows_lib.Row(**row) for result in done
          for row in result.get("rows", ())]
  lines = [machine, "", rows_lib.table(rows) if rows else "", ""]
  lines += [f"{result['name']}: {result['command']}\n  {_text(result)}"
            for result in done]
  files.write_text(f"{FLAGS.output}.txt", "\n".join(lines) + "\n")


def _text(result):
  """What came of a command, in a line."""
  if "error" in result:
    return result["error"]
  return "; ".join(
      f"{row['images_per_second']:.4g} images/s"
      + (f" ({row['remark']})" if row["remark"] else "")
      for row in result["rows"])


if __name__ == "__main__":
  command_line.run(main)
