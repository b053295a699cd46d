"""What a run keeps of itself: config.json and history.jsonl."""

import dataclasses
import json
import os
import typing

from hypothesis import strategies as st

from kdwsd.training import config as config_lib
from kdwsd.training import history
from kdwsd.training import run_folder
from tests.fuzz import grammar as g
from tests.fuzz import oracle

PLACES = r"^config\.json|^history\.jsonl|^: expected the work directory"

_CONFIG = dataclasses.asdict(config_lib.Config(
    classes=("cat",), data="records", deterministic=True))
_HISTORY = [{"step": 5, "loss": 1.5, "learning_rate": 1e-3, "hard_loss": 1.0},
            {"step": 10, "loss": 1.0, "learning_rate": 1e-3, "hard_loss": 0.9},
            {"step": 10, "figures": {"classification/map": 0.625}}]


def _written(entries):
  return "".join(json.dumps(entry) + "\n" for entry in entries).encode()


def examples():
  """A run's files as they are written."""
  return [{"config.json": json.dumps(_CONFIG, indent=2).encode(),
           "history.jsonl": _written(_HISTORY)}]


def grammar():
  """A config with something wrong; a log with lines that are."""
  lines = st.lists(g.mostly(
      g.altered_json(_HISTORY[0]), st.sampled_from(
          [b"", b"{}", b'{"step": 1', b"\xff", b"\0\0\0", b"[1]", b"nan"])),
                   max_size=4).map(lambda rows: b"\n".join(rows) + b"\n")
  return st.one_of(
      g.altered_json(_CONFIG).map(lambda content: {
          "config.json": content, "history.jsonl": _written(_HISTORY)}),
      lines.map(lambda content: {
          "config.json": json.dumps(_CONFIG).encode(),
          "history.jsonl": content}))


def check(folder):
  """Every field is of its type; every line of the log is an entry."""
  config = config_lib.read(folder)
  for field in dataclasses.fields(config):
    value = getattr(config, field.name)
    wanted = typing.get_origin(field.type)
    if wanted is tuple:
      inner = typing.get_args(field.type)[0]
      oracle.demand(isinstance(value, tuple)
                    and all(_fits(one, inner) for one in value),
                    f"config {field.name}: {value!r}")
    else:
      kinds = typing.get_args(field.type) or (field.type,)
      oracle.demand(any(_fits(value, kind) for kind in kinds),
                    f"config {field.name}: {value!r}")
  path = run_folder.RunFolder(folder).history_file
  entries = history.read(path)
  for entry in entries:
    oracle.demand(isinstance(entry, dict) and isinstance(
        entry.get("step"), int), f"an entry of the log: {entry!r}")
  history.rewind(path, 7)
  left = history.read(path)
  oracle.demand(left == [entry for entry in entries if entry["step"] <= 7],
                "rewinding loses entries")
  os.remove(path)


def _fits(value, kind):
  if kind is float:
    return type(value) in (int, float)
  return type(value) is kind
