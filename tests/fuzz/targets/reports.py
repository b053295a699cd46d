"""What `kdwsd.report` reads: metrics, costs, predictions, logs, settings."""

import functools
import json
import tempfile

from hypothesis import strategies as st

from kdwsd.training import chain_report
from tests.fuzz import cases
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.training import fake_chain

PLACES = r"\.json|\.jsonl|predictions\.npz|^--split|^: expected the work"


@functools.lru_cache(None)
def _sound():
  """Files of a chain as they are written, without its records."""
  with tempfile.TemporaryDirectory() as folder:
    fake_chain.write(folder, stages=("cls", "wsd"))
    made = {name: content for name, content in cases.read(folder).items()
            if not name.startswith("data/")}
  made["cls/evaluation/test/cost.json"] = (
      b'{"parameters": 2250000, "images_per_second": 212.5, "device": "CPU"}')
  # The folder of the records is gone; its name would not be the same twice.
  return {name: content.replace(folder.encode(), b"chain")
          if name.endswith(".json") else content
          for name, content in made.items()}


def examples():
  """A chain of which two models were measured."""
  return [_sound()]


def grammar():
  """One of its JSON files with something wrong."""
  sound = _sound()
  names = sorted(name for name in sound if name.endswith(".json"))

  def altered(name):
    return g.altered_json(json.loads(sound[name])).map(
        lambda content: {**sound, name: content})
  lines = st.lists(g.altered_json(
      {"step": 5, "loss": 1.5, "hard_loss": 1.0, "figures": {
          "classification/map": 0.5}}), max_size=4).map(b"\n".join)
  return st.one_of(
      st.sampled_from(names).flatmap(altered),
      lines.map(lambda content: {**sound, "cls/history.jsonl": content}))


def check(folder):
  """A page is made, and nothing else is written."""
  before = set(cases.read(folder))
  path, table, _ = chain_report.write(folder)
  with open(path, encoding="utf-8") as file:
    page = file.read()
  oracle.demand("</html>" in page and "T-WDet" in table + "T-WDet",
                "a page that does not end")
  oracle.demand("nan" not in table and "inf " not in table,
                f"figures that are none: {table}")
  after = set(cases.read(folder)) - before
  oracle.demand(after <= {"report.html"}, f"files written: {after}")
