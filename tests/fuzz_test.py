"""The short form of `python -m tests.fuzz`, and that it would see a fault."""

import contextlib
import os
import selectors
import types
from unittest import mock

from hypothesis import strategies as st
import pytest

from kdwsd import errors
from kdwsd.data.sources import csv_labels as csv_parser
from kdwsd.data.sources import datalist as datalist_parser
from tests.fuzz import __main__ as program
from tests.fuzz import cases
from tests.fuzz import judging
from tests.fuzz import mutations
from tests.fuzz import peak_memory
from tests.fuzz import planted
from tests.fuzz import running
from tests.fuzz import supervisor
from tests.fuzz import worker
from tests.fuzz.targets import class_lists
from tests.fuzz.targets import coco
from tests.fuzz.targets import csv_labels
from tests.fuzz.targets import datalist
from tests.fuzz.targets import images
from tests.fuzz.targets import nuswide
from tests.fuzz.targets import openimages
from tests.fuzz.targets import proposals_mat
from tests.fuzz.targets import proposals_npz
from tests.fuzz.targets import proposals_pkl
from tests.fuzz.targets import run_files
from tests.fuzz.targets import voc
from tests.fuzz.targets import yolo

_MANY = {datalist: 400, csv_labels: 400, voc: 400, coco: 300, nuswide: 300,
         class_lists: 300, proposals_npz: 300, proposals_mat: 200,
         proposals_pkl: 300, images: 300, run_files: 300,
         yolo: 300, openimages: 300}


def _short_name(target):
  return target.__name__.rpartition(".")[2]


def _said(failures):
  return "\n".join(
      f"{one.verdict.signature}\n{one.verdict.details}\n{one.case}"
      for one in failures)


@pytest.mark.one_lane
@pytest.mark.parametrize("target", _MANY, ids=_short_name)
def test_bad_input_is_read_or_refused_in_words(target, tmp_path):
  counts, failures = running.run(
      target, _MANY[target], 1, str(tmp_path / "case"))
  assert not failures, _said(failures)
  assert counts.tried == _MANY[target]
  # Otherwise the damage is too coarse, or there is none.
  assert counts.accepted > 0.02 * counts.tried
  assert counts.refused > 0.2 * counts.tried


@pytest.mark.parametrize(
    "name", ["cards", "records", "reports", "json_bodies", "served_images"])
def test_bad_input_of_what_needs_tensorflow_is_too(name, tmp_path):
  counts, failures = running.run(
      worker.load(name), 40, 1, str(tmp_path / "case"))
  assert not failures, _said(failures)
  assert counts.tried == 40


@pytest.mark.parametrize("target", _MANY, ids=_short_name)
def test_sound_examples_are_accepted(target, tmp_path):
  for example in target.examples():
    verdict = judging.judge(target, example, str(tmp_path / "case"))
    assert verdict.outcome == judging.ACCEPTED, (example, verdict)


# --- The harness sees what it is there for.


def _run(target, tmp_path, num_inputs=150):
  return running.run(target, num_inputs, 0, str(tmp_path / "case"))


@pytest.mark.one_lane
def test_an_error_of_another_class_is_found_and_made_small(tmp_path):
  def raises(*_):
    raise KeyError("planted")

  with mock.patch.object(csv_parser, "_image", raises):
    counts, failures = _run(csv_labels, tmp_path)
  assert counts.failed > 1
  assert [one.verdict.signature.split(" at ")[0] for one in failures] == [
      "KeyError"]
  # A header and one line of two fields suffice.
  assert len(failures[0].case["labels.csv"]) < 25, failures[0].case


@pytest.mark.one_lane
def test_a_line_that_is_dropped_is_found(tmp_path):
  lines = datalist_parser._lines  # pylint: disable=protected-access

  def drops(path):
    for number, offset, content in lines(path):
      if number != 2:
        yield number, offset, content

  with mock.patch.object(datalist_parser, "_lines", drops):
    _, failures = _run(datalist, tmp_path)
  assert any("lines lost" in one.verdict.signature for one in failures)


@pytest.mark.parametrize("message, said", [
    ("labels.csv: bad", "without expected"),
    ("expected x. Received: y", "does not say where"),
    ("labels.csv:1: expected a. Received:\n b", "not one line"),
    ("labels.csv:1: expected a. Received: " + "b" * 3000, "a refusal of 30")])
def test_a_refusal_in_other_words_is_found(message, said, tmp_path):
  def refuses(*_, **__):
    raise errors.InputError(message)

  with mock.patch.object(csv_parser, "read", refuses):
    verdict = judging.judge(
        csv_labels, csv_labels.examples()[0], str(tmp_path / "case"))
  assert verdict.outcome == judging.FAILED
  assert said in verdict.details


def _target(check):
  return types.SimpleNamespace(
      __name__="planted", PLACES="x", check=check,
      examples=lambda: [{"x": b"1"}], grammar=lambda: st.just({"x": b"1"}))


def test_what_takes_too_long_is_ended_and_found(tmp_path):
  def check(_):
    with contextlib.suppress(Exception):  # A parser may catch nearly all.
      while True:
        pass

  with mock.patch.object(judging, "SECONDS", 0.3):
    verdict = judging.judge(_target(check), {"x": b""}, str(tmp_path / "case"))
  assert (verdict.outcome, verdict.signature) == (judging.FAILED, "too slow")


@pytest.mark.skipif(not peak_memory.forget(),
                    reason="/proc/self/clear_refs cannot be written")
def test_what_takes_too_much_memory_is_found_each_time(tmp_path):
  target = _target(lambda _: len(b"x" * (200 * 2 ** 20)))
  for limit, outcome, signature in (
      (50, judging.FAILED, "too much memory"),
      (50, judging.FAILED, "too much memory"), (300, judging.ACCEPTED, "")):
    with mock.patch.object(judging, "MEBIBYTES", limit):
      verdict = judging.judge(target, {"x": b""}, str(tmp_path / "case"))
    assert (verdict.outcome, verdict.signature) == (outcome, signature)


@pytest.mark.one_lane
def test_a_crash_and_a_hang_are_found_and_kept_and_the_rest_goes_on(
    tmp_path, monkeypatch):
  hanging = tmp_path / "hanging"
  monkeypatch.setenv(planted.HANGING, str(hanging))

  class Selector(selectors.DefaultSelector):
    """Is patient until it hangs: a worker may be late for another reason."""

    def select(self, timeout=None):
      assert timeout in (8, supervisor.START_SECONDS)
      while not (found := super().select(0.1)) and not hanging.exists():
        pass
      if not found:
        hanging.unlink()
      return found

  monkeypatch.setattr(selectors, "DefaultSelector", Selector)
  runner = supervisor.Supervisor(str(tmp_path), 0, silence_seconds=8)
  counts, found = runner.run("tests.fuzz.planted", 6)
  assert counts.tried == 6
  assert {one.signature for one in found} == {
      "the process ends with SIGSEGV", "the process hangs"}
  kept = {one.signature: cases.read(os.path.join(one.folder, "case"))
          for one in found}
  assert kept["the process ends with SIGSEGV"] == {"x": b"crash"}
  assert kept["the process hangs"] == {"x": b"hang"}
  words = (tmp_path / os.path.basename(found[0].folder) / "failure.txt"
           ).read_text(encoding="utf-8")
  assert "python -m tests.fuzz --targets=tests.fuzz.planted --replay=" in words


def test_the_same_seed_does_the_same_damage():
  import random  # pylint: disable=import-outside-toplevel
  case = {"a": b"one 2 three\nfour 5\n", "b": bytes(range(256))}
  first, again, other = (
      [mutations.mutate(case, random.Random(f"{seed} {i}"), [case])
       for i in range(50)] for seed in (1, 1, 2))
  assert first == again != other
  assert sum(damaged != case for damaged in first) > 40


def test_inputs_are_shared_out_without_rest():
  counts = program.share_out(100_000, list(program.SHARES))
  assert sum(counts.values()) == 100_000
  assert min(counts.values()) > 400
  # Every target is a module, and the other way round.
  folder = os.path.join(os.path.dirname(program.__file__), "targets")
  there = {name[:-3] for name in os.listdir(folder) if name.endswith(".py")}
  assert set(program.SHARES) == there - {"__init__", "sourced"}


def test_the_summary_is_one_line():
  counts = {"csv": running.Counts(10, 3, 6, 1), "voc": running.Counts(5, 5)}
  found = [supervisor.Found("csv", "KeyError", "x")]
  assert program.summary(counts, found, 7, 12.4) == (
      "fuzz: 15 inputs (seed 7, 12 s): 8 accepted, 6 refused, 1 failed in 1 "
      "ways; csv 10, voc 5")
