"""Proposals as .mat: MATLAB's formats 5 and 7.3, the latter being HDF5."""

import io
import os
import struct
import zlib

import h5py
from hypothesis import strategies as st
import numpy as np
from scipy import io as scipy_io

from kdwsd.data import proposal_files
from tests.fuzz import grammar as g
from tests.fuzz.targets import proposals_npz

PLACES = r"^p\.mat: "
_NAMES = ("000005", "000007", "a")
_BOXES = np.array([[1, 1, 50, 100], [11, 21, 100, 200]])


def cell(values):
  """A cell, as SciPy writes one."""
  made = np.empty([1, len(values)], object)
  for place, value in enumerate(values):
    made[0, place] = value
  return made


def _mat5(content, packed=False):
  buffer = io.BytesIO()
  scipy_io.savemat(buffer, content, do_compression=packed)
  return buffer.getvalue()


def _mat73(cells, empty=(), extra=None):
  buffer = io.BytesIO()
  with h5py.File(buffer, "w") as file:
    for name, arrays in cells.items():
      references = []
      for place, array in enumerate(arrays):
        entry = file.create_dataset(f"#refs#/{name}{place}", data=array)
        if (name, place) in empty:
          entry.attrs["MATLAB_empty"] = 1
        references.append(entry.ref)
      file.create_dataset(name, data=np.array(
          references, h5py.ref_dtype).reshape(-1, 1), dtype=h5py.ref_dtype)
    if extra:
      extra(file)
  return buffer.getvalue()


def _codes(names):
  return [np.array([[ord(c)] for c in name], np.uint16) for name in names]


def sound_level5():
  """Cells of a sound file."""
  return {"images": cell(_NAMES),
          "boxes": cell([_BOXES.astype(np.uint16), np.zeros([0, 4]),
                          _BOXES[:1].astype(float)]),
          "boxScores": cell([np.array([[.2], [.3]]), np.zeros([0, 1]),
                              np.array([[1.]])])}


def _sound73():
  return {"images": _codes(_NAMES),
          "boxes": [_BOXES.T, np.array([0, 4], np.uint64), _BOXES[:1].T],
          "boxScores": [np.array([[.3, .2]]), np.array([0, 0], np.uint64),
                        np.array([[1.]])]}


_EMPTY = (("boxes", 1), ("boxScores", 1))


def examples():
  """Sound files of the three kinds."""
  one = {"bboxes": _BOXES, "scores": np.array([[.2], [.3]])}
  return [{"p.mat": _mat5(one)},
          {"p.mat": _mat5({"all_boxes": sound_level5()["boxes"]})},
          {"p.mat": _mat5(sound_level5())},
          {"p.mat": _mat5(sound_level5(), True)},
          {"p.mat": _mat73(_sound73(), _EMPTY)}]


def _odd_values():
  return st.sampled_from([
      np.zeros([2, 3]), np.zeros([4]), np.zeros([0, 0]), np.zeros([2, 4, 2]),
      np.full([1, 4], np.nan), np.full([2, 4], 1e308), np.array([[1 + 2j] * 4]),
      np.array([["text"]]), cell(["a"]), cell([cell([cell([1])])]),
      {"a": 1}, np.array([[True] * 4]), np.array([[50, 1, 1, 100]]),
      np.array([[-5, 1, 1, 100]]), np.array([["a\0b"]]), "b", "", "x" * 5000,
      "é", "a\nb", np.int64(2 ** 62), 3.5])


@st.composite
def _files5(draw):
  content = sound_level5()
  names = sorted(content) + ["bboxes", "all_boxes", "scores"]
  for _ in range(draw(st.integers(0, 3))):
    name = draw(st.sampled_from(names))
    what = draw(st.integers(0, 7))
    if what == 0:
      content.pop(name, None)
    elif what == 1:
      content[name] = draw(_odd_values())
    elif what == 2 and name in content:
      content[draw(st.sampled_from(names))] = content.pop(name)
    elif isinstance(content.get(name), np.ndarray) and (
        content[name].dtype.hasobject and content[name].ndim == 2):
      changed = content[name].copy()
      changed[0, draw(st.integers(0, changed.shape[1] - 1))] = draw(
          _odd_values())
      content[name] = changed
  return _mat5(content, draw(st.booleans()))


@st.composite
def _files73(draw):
  cells = _sound73()
  for _ in range(draw(st.integers(0, 2))):
    name = draw(st.sampled_from(sorted(cells) or ["images"]))
    what = draw(st.integers(0, 5))
    if what == 0:
      cells.pop(name, None)
    elif name in cells:
      value = draw(st.sampled_from([
          np.zeros([2, 3]), np.full([4, 1], np.nan), np.float64(3), "text",
          np.full([3, 1], 2 ** 40), np.full([3, 1], -1), np.full([2, 1], 1e308),
          np.array([[0xd800]], np.uint16), np.array([[0, 10]], np.uint16),
          np.zeros([0, 4]), np.zeros([4, 0]), np.full([4, 1], 1j),
          np.array([b"a"]), np.zeros([2], "i2,f4")]))
      cells[name] = list(cells[name])
      cells[name][draw(st.integers(0, len(cells[name]) - 1))] = value
  extra = draw(g.mostly(st.none(), st.sampled_from(
      [huge, _linked, _plain, _circle, outside, _null])))
  return _mat73(cells, _EMPTY, extra)


def _replace(file, name, make):
  if name in file:
    del file[name]
  make(file, name)


def huge(file):
  """Nothing is stored of it, but it says it has 2 ** 41 numbers."""
  entry = file.create_dataset("#refs#/huge", shape=[2 ** 41, 4],
                              chunks=(1024, 4), dtype="f8")
  _replace(file, "boxes", lambda file, name: file.create_dataset(
      name, data=np.array([[entry.ref]] * 3, h5py.ref_dtype),
      dtype=h5py.ref_dtype))


def _linked(file):
  _replace(file, "boxes", lambda file, name: file.__setitem__(
      name, h5py.ExternalLink("/etc/passwd", "/x")))


def _plain(file):
  _replace(file, "images", lambda file, name: file.create_dataset(
      name, data=np.zeros([3, 1])))


def _circle(file):
  _replace(file, "images", lambda file, name: file.__setitem__(
      name, h5py.SoftLink("/images")))


def outside(file):
  """The numbers lie in another file."""
  entry = file.create_dataset(
      "#refs#/outside", shape=[4, 2], dtype="u1",
      external=[("/etc/passwd", 0, 8)])
  _replace(file, "boxes", lambda file, name: file.create_dataset(
      name, data=np.array([[entry.ref]] * 3, h5py.ref_dtype),
      dtype=h5py.ref_dtype))


def _null(file):
  _replace(file, "boxes", lambda file, name: file.create_dataset(
      name, shape=[3, 1], dtype=h5py.ref_dtype))


def level73(extra):
  """A sound file of HDF5 to which `extra` was done."""
  return _mat73(_sound73(), _EMPTY, extra)


def big_endian():
  """A sound file of a machine with the other byte order."""
  def matrix(kind, sides, name, *content):
    return _element(14, _element(6, struct.pack(">II", kind, 0), ">")
                    + _element(5, struct.pack(">ii", *sides), ">")
                    + _element(1, name, ">") + b"".join(content), ">")
  texts = [matrix(4, (1, len(name)), b"", _element(
      4, name.encode("utf-16-be"), ">")) for name in ("000005", "a")]
  boxes = matrix(6, _BOXES.shape, b"", _element(
      9, _BOXES.astype(">f8").tobytes(order="F"), ">"))
  return (b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\1\0MI"
          + matrix(1, (1, 2), b"images", *texts)
          + matrix(1, (1, 2), b"boxes", boxes, boxes))


def _element(kind, content, order="<"):
  padding = bytes(-len(content) % 8)
  return struct.pack(order + "II", kind, len(content)) + content + padding


def deep(depth):
  """A cell in a cell in a cell, as MATLAB 5 has it."""
  head = _element(6, struct.pack("<II", 1, 0)) + _element(
      5, struct.pack("<ii", 1, 1))
  # From the outside in, for the length of each is that of what it holds.
  wraps = [head + _element(1, b"")] * depth
  inner = _element(9, struct.pack("<d", 1.0))
  inner = _element(6, struct.pack("<II", 6, 0)) + _element(
      5, struct.pack("<ii", 1, 1)) + _element(1, b"") + inner
  parts, length = [], len(inner) + 8
  for wrap in wraps:
    parts.append(struct.pack("<II", 14, length + len(wrap)) + wrap)
    length += len(wrap) + 8
  outer = (_element(6, struct.pack("<II", 1, 0))
           + _element(5, struct.pack("<ii", 1, 1)) + _element(1, b"boxes"))
  content = b"".join(reversed(parts)) + struct.pack(
      "<II", 14, len(inner)) + inner
  start = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\0\1IM"
  return start + struct.pack("<II", 14, len(outer) + len(content)) + (
      outer + content)


def packed_bomb():
  """300 MB of zeros, packed."""
  packer = zlib.compressobj(9)
  rows = 300 * 2 ** 20 // 32
  head = (struct.pack("<II", 14, 56 + rows * 32)
          + struct.pack("<IIII", 6, 8, 6, 0)
          + struct.pack("<IIii", 5, 8, rows, 4)
          + struct.pack("<II8s", 1, 5, b"boxes")
          + struct.pack("<II", 9, rows * 32))
  packed = packer.compress(head)
  for _ in range(300):
    packed += packer.compress(bytes(2 ** 20))
  packed += packer.flush()
  start = b"MATLAB 5.0 MAT-file".ljust(116) + bytes(8) + b"\0\1IM"
  return start + struct.pack("<II", 15, len(packed)) + packed


def grammar():
  """Cells of odd values, and files made to harm."""
  harm = st.one_of(
      st.integers(2, 400).map(deep), st.sampled_from([3000, 30_000]).map(
          deep), st.builds(packed_bomb))
  return st.one_of(_files5(), _files5(), _files5(), _files73(), _files73(),
                   _files73(), g.mostly(_files5(), harm)).map(
                       lambda content: {"p.mat": content})


def check(folder):
  """Every image of a sound file has its proposals."""
  path = os.path.join(folder, "p.mat")
  file = proposal_files.open_file(
      path, order="yxyx", image_ids=_NAMES)
  for image_id in _NAMES + ("p",):
    proposals_npz.look_up(file, image_id, None, folder, PLACES)
