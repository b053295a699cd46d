"""Proposals as .pkl: opcodes, names, memo, arrays' states and layouts."""

import os
import pickle
import struct

from hypothesis import strategies as st
import numpy as np

from kdwsd.data import proposal_files
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import proposals_npz

PLACES = r"^p\.pkl: |^order\.pkl: "
_IDS = ("000005", "7", "a/b.jpg")
_BOXES = np.array([[0, 0, 49, 99], [10, 20, 99, 99]], np.float32)
opened = proposals_npz.opened


def _lists(ids=_IDS, key="indexes"):
  return {"boxes": [_BOXES, _BOXES[:0], _BOXES[:1]],
          "scores": [np.array([.5, .7]), np.zeros([0]), np.array([.1])],
          key: list(ids)}


def examples():
  """Sound files of every protocol and layout."""
  made = [{"p.pkl": pickle.dumps(_lists(), protocol)} for protocol in range(6)]
  stacked = {"boxes": np.stack([_BOXES] * 3), "ids": np.array([5, 7, 9])}
  given = {5: _BOXES, "7": {"boxes": _BOXES.tolist(), "scores": [1, 2]}}
  return made + [
      {"p.pkl": pickle.dumps(_lists((5, 7, 9), "ids"))},
      {"p.pkl": pickle.dumps(stacked)},
      {"order.pkl": pickle.dumps(given)},
      {"order.pkl": pickle.dumps([_BOXES, _BOXES[:0], _BOXES])}]


def _odd_values():
  return st.one_of(st.sampled_from([
      None, True, -1, 2 ** 70, 10 ** 40, 1e308, float("nan"), "", "a\nb",
      "a" * 5000, b"\xff", b"000005", [], [1], [[1, 2, 3, 4]], [[1, 2], [3]],
      [[]], [[[]]], {}, {"boxes": []}, {"boxes": [[1, 2, 3, 4, 5]]}, (1, 2),
      np.zeros([2, 3]), np.zeros([4]), np.zeros([0, 0]), np.zeros([2, 4, 2]),
      np.full([1, 4], np.nan), np.full([2, 4], 1e308), np.full([1, 4], -5),
      np.array([["a"] * 4]), np.array([[1 + 2j] * 4]), np.float32(3),
      np.array([[True] * 4]), np.zeros(2, "i4,f4"), np.zeros([1, 5], "u1"),
      np.array([5, 7, 9]), np.array(["5", "7", "9"]), np.int64(5),
      np.array([b"a", b"b", b"\xff"]), np.array([None, 1], object)]),
                    g.json_values())


@st.composite
def _documents(draw):
  """A sound document with something odd in up to two places."""
  document = draw(st.sampled_from([
      _lists(), _lists((5, 7, 9), "ids"),
      {**_lists(), "objectness_logits": _lists()["scores"]},
      {5: _BOXES, "7": {"boxes": _BOXES, "scores": [1, 2]}},
      [_BOXES, _BOXES[:0], _BOXES]]))
  document = pickle.loads(pickle.dumps(document))
  for _ in range(draw(st.integers(0, 2))):
    places = ([(document, key) for key in document]
              if isinstance(document, dict) else
              [(document, key) for key in range(len(document))])
    places += [(holder[key], place) for holder, key in places
               if isinstance(holder[key], list)
               for place in range(len(holder[key]))]
    if not places:
      break
    holder, key = draw(st.sampled_from(places))
    what = draw(st.integers(0, 4))
    if what:
      holder[key] = draw(_odd_values())
    elif isinstance(holder, dict):
      del holder[key]
      holder[draw(st.sampled_from(
          ["ids", "images", "bbox_mode", "scores", 5, (), b"boxes"]))] = draw(
              _odd_values())
    else:
      holder.append(draw(_odd_values()))
  return document


def _harm():
  """Programs that do what data need not."""
  run = pickle.dumps(proposals_npz.Pickled(), 2)
  huge = struct.pack("<Q", 2 ** 40)
  return st.sampled_from([
      run, pickle.dumps({"boxes": [proposals_npz.Pickled()]}, 4),
      b"cos\nsystem\n(S'true'\ntR.", b"\x80\x04\x8c\x02os\x8c\x06system\x93.",
      b"c__builtin__\neval\n(S'1'\ntR.", b"cnumpy\ndtype\n(S'O8'\ntR.",
      b"cnumpy\nndarray\n(K\x04tR.", b"cnumpy\ndtype\n}S'call'\nI1\nsb.",
      b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(J\xff\xff\xff"
      b"\x7ftS'f8'\ntR.", b"c__builtin__\nbytearray\n(J\xff\xff\xff\x7ftR.",
      b"}r\xff\xff\xff\x7f.", b"}p99999999999\n.", b"\x80\x05\x96" + huge,
      b"\x8e" + huge + b"x.", b"\x95" + huge + b"}.", b"L" + b"9" * 9999
      + b"L\n.", b"I" + b"9" * 99999 + b"\n.", b"\x8b\xff\xff\xff\x7f.",
      b"}" + b"\x85" * 100_000 + b"K\x01s.", b"]" * 100_000 + b".",
      b"(" * 100_000 + b"t" * 100_000 + b".", b"}" + b"]q\x00h\x00a" * 999
      + b".", b"2" * 9 + b".", b"]2a.", b"]h\x00a.", b"]q\x00h\x00a.",
      b"}q\x00U\x05boxesh\x00s.", b"P1\n.", b"\x82\x01.", b"(i__main__\nA\n."])


@st.composite
def _files(draw):
  """A case: pickled by any protocol, now and then spoilt."""
  protocol = draw(st.integers(0, 5))
  try:
    content = pickle.dumps(draw(_documents()), protocol)
  except (RecursionError, pickle.PicklingError, UnicodeEncodeError):
    content = b"}."
  content = draw(g.mostly(st.just(content), _harm()))
  if draw(st.integers(0, 9)) == 0:
    content = content.replace(b"numpy.core.", b"numpy._core.")
  return {draw(st.sampled_from(["p.pkl", "p.pkl", "order.pkl"])): content}


def grammar():
  """Layouts with odd values, and programs made to harm."""
  return _files()


def check(folder):
  """Nothing has run, and every image has its proposals."""
  for name, order in (("p.pkl", None), ("order.pkl", "xyxy")):
    path = os.path.join(folder, name)
    if not os.path.exists(path):
      continue
    try:
      file = proposal_files.open_file(path, order=order, image_ids=_IDS)
    finally:
      was_opened = bool(opened)
      opened.clear()
      oracle.demand(not was_opened, "a pickle was run")
    for image_id in _IDS:
      proposals_npz.look_up(file, image_id, None, folder, PLACES)
