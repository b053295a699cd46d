"""A program for tests that counts, remembers, and can be made to forget.

`python -m tests.soak.fake_program --steps=30 --fault=none` counts to 30 in
`run/`, a line of history each hundredth of a second, and goes on where it was
stopped. No TensorFlow: it starts at once. It waits for who wants to kill it at
an aim, see `run`.
"""

import argparse
import json
import os
import subprocess
import sys
import time

from kdwsd import files
from kdwsd.training import history
from tests.soak import lives
from tests.soak import moments
from tests.soak import programs

FAULTS = ("none", "double", "left", "weight", "fails", "child")

_EVERY = 5  # Steps between notes of where it is.

# Beside its folder, with the name of the aim at which it waits to be killed.
_HOLD = os.path.join("..", "hold")


def program(fault="none", steps=30):
  """The `programs.Program` that is this one."""
  return programs.Program(
      "count", "tests.soak.fake_program", {"steps": steps, "fault": fault},
      needs=("given",), most_kills=3,
      aims=(moments.Aim("a note", "run", r"\.partial-.*-note\.json"),
            moments.Aim("history", "run", r"history\.jsonl",
                        '"step": 7', delay=0.01)))


def write_source(folder):
  """Writes what the program needs."""
  files.write_text(os.path.join(folder, "given", "x.txt"), "given")


def run(program, folder, moment=None, run=lives.run, **how):
  """`lives.run` of a program that waits at an aim, however late its killer is.

  Args:
    program: `program(...)`, laid out.
    folder: it runs in.
    moment: at which it is killed, if at all.
    run: `lives.run`, which a test may have replaced by this.
    **how: it is run.
  """
  files.write_json(os.path.join(folder, _HOLD), getattr(moment, "name", ""))
  return run(program, folder, moment, **how)


def _wait_if_aimed_at(name):
  if os.path.exists(_HOLD) and files.read_json(_HOLD) == name:
    time.sleep(3600)


def main():
  """Counts."""
  parser = argparse.ArgumentParser()
  parser.add_argument("--steps", type=int)
  parser.add_argument("--fault", choices=FAULTS)
  arguments = parser.parse_args()
  note = os.path.join("run", "note.json")
  os.makedirs("run", exist_ok=True)
  step = files.read_json(note)["step"] if os.path.exists(note) else 0
  resumed = step > 0
  if arguments.fault == "child":
    subprocess.Popen(["sleep", "3600"])
  if arguments.fault != "double":
    history.rewind("run/history.jsonl", step)
  print(f"Stage cls: counting from {step}", file=sys.stderr, flush=True)
  if arguments.fault == "left" and resumed:
    files.write_text(os.path.join("run", "x_temp", "x"), "left")
  while step < arguments.steps:
    step += 1
    time.sleep(0.01)
    history.append("run/history.jsonl", {
        "step": step, "images_per_second": time.time()})
    if step == 7 and not resumed:  # Else who aims may have seen it before.
      _wait_if_aimed_at("history")
    if step % _EVERY == 0:
      with files.atomic_path(note) as temporary:
        with open(temporary, "w", encoding="utf-8") as file:
          json.dump({"step": step}, file)
        _wait_if_aimed_at("a note")
    if arguments.fault == "fails" and step > 2:
      sys.exit("it has failed")
  files.write_json(os.path.join("run", "metrics.json"), {
      "sum": step + (arguments.fault == "weight" and resumed)})


if __name__ == "__main__":
  main()
