"""A process that tries cases for `tests.fuzz.supervisor`.

    python -m tests.fuzz.worker TARGET NUM_INPUTS SEED FOLDER

Says how far it is on standard output, a JSON object a line. The case in hand
lies in FOLDER, so that whoever sees this process die finds what killed it.
"""

import base64
import dataclasses
import importlib
import json
import os
import resource
import sys
import time

from tests.fuzz import running

# Address space a parser may ask for, beyond what is there when it starts.
_MORE_BYTES = 6 * 2 ** 30
_EVERY = 0.5  # seconds


def load(name):
  """The module of a target; a name with dots is a module of its own."""
  return importlib.import_module(
      name if "." in name else f"tests.fuzz.targets.{name}")


def main(arguments):
  """Runs a target and reports."""
  name, num_inputs, seed, folder = arguments
  # What libraries print is none of the supervisor's business.
  report = os.fdopen(os.dup(1), "w", encoding="utf-8")
  os.dup2(2, 1)

  def say(**content):
    report.write(json.dumps(content) + "\n")
    report.flush()

  target = load(name)
  for example in target.examples():  # Loads what is loaded at first use.
    running.judging.judge(target, example, folder)
  _limit_memory()
  said = 0.0

  def on_progress(counts):
    nonlocal said
    if time.monotonic() - said > _EVERY:
      said = time.monotonic()
      say(counts=dataclasses.asdict(counts))

  say(counts=dataclasses.asdict(running.Counts()))
  counts, failures = running.run(
      target, int(num_inputs), seed, folder, on_progress)
  say(counts=dataclasses.asdict(counts), done=True, failures=[
      {"case": {path: base64.b64encode(content).decode("ascii")
                for path, content in failure.case.items()},
       "signature": failure.verdict.signature,
       "details": failure.verdict.details} for failure in failures])


def _limit_memory():
  if not sys.platform.startswith("linux"):
    return
  with open("/proc/self/statm", encoding="ascii") as file:
    pages = int(file.read().split()[0])
  limit = pages * resource.getpagesize() + _MORE_BYTES
  resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
  main(sys.argv[1:])
