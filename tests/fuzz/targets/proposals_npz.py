"""Proposals as .npz: zip files, array headers, shapes, types and pickles."""

import io
import os
import pickle
import struct
import zipfile
import zlib

from hypothesis import strategies as st
import numpy as np

from kdwsd import errors
from kdwsd.data import proposal_files
from tests.fuzz import grammar as g
from tests.fuzz import mutations
from tests.fuzz import oracle

PLACES = r"^p\.npz: "
_IDS = ("a", "b/c.jpg", "000005")
_SIZES = ((100, 200), (1, 1))
opened = []  # What a pickle has done, if one was opened.


class Pickled:

  def __reduce__(self):
    return opened.append, (1,)


def _arrays():
  boxes = np.array([[0, 0, .5, .5], [.1, .1, 1, 1], [0, .2, .3, .9]])
  return {"image_ids": np.array(_IDS), "counts": np.array([2, 0, 1]),
          "boxes": boxes, "scores": np.array([.5, .7, .2])}


def _member(array):
  buffer = io.BytesIO()
  np.lib.format.write_array(buffer, np.asanyarray(array))
  return buffer.getvalue()


def _zipped(members, method=zipfile.ZIP_DEFLATED):
  buffer = io.BytesIO()
  with zipfile.ZipFile(buffer, "w", method) as archive:
    for name, content in members.items():
      archive.writestr(zipfile.ZipInfo(name), content, compress_type=method)
  return buffer.getvalue()


def _npz(arrays, method=zipfile.ZIP_DEFLATED):
  return _zipped({name + ".npy": _member(array)
                  for name, array in arrays.items()}, method)


def forged(header, body=b"\0" * 64):
  """A member with a header of any text."""
  text = header.encode("latin1")
  return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + body


def examples():
  """Sound files, packed and not, in both units."""
  pixels = {**_arrays(), "boxes": np.array(
      [[0, 0, 50, 100], [10, 20, 100, 200], [0, 0, 1, 1]]), "unit": "pixel"}
  del pixels["scores"]
  return [{"p.npz": _npz(_arrays())},
          {"p.npz": _npz(_arrays(), zipfile.ZIP_STORED)},
          {"p.npz": _npz(pixels, zipfile.ZIP_STORED)}]


def _odd_arrays():
  dtypes = ("float16", "float32", "float64", "int8", "uint64", "bool",
            "complex64", "U3", "S3", "M8[s]", "V4", ">f8", "i2,f4")
  return st.one_of(
      st.builds(
          np.zeros,
          st.lists(st.integers(0, 4), max_size=3),
          st.sampled_from(dtypes)),
      st.sampled_from([
          np.array([2 ** 63, 2 ** 63, 3], np.uint64),
          np.array([-1, 3, 1]), np.array([2.0, 0.0, 1.0]),
          np.array([2 ** 62, 2 ** 62, 2 ** 63 - 1]),
          np.array([3, 0, 0]), np.array([127, 127, 5], np.int8),
          np.array([[np.nan] * 4] * 3), np.array([[0, 0, np.inf, 1]] * 3),
          np.array([[1e308, 0, 1, 1]] * 3), np.array([[1, 1, 0, 0.]] * 3),
          np.array([b"a", b"b", b"\xff"]), np.array(["a", "a", "b"]),
          np.array(["a\0b", "c\nd", "e"]), np.array(["", " ", "x" * 5000]),
          np.array([1, 2, 3]), np.array([1.5, 1e300, -np.inf]),
          np.array([1 + 2j, 2, 3]), np.array("pixel"), np.array("inch"),
          np.array(["fraction", "pixel"])]))


def _members():
  """Bytes of members that are no sound array."""
  return st.sampled_from([
      b"", b"text", b"\x93NUMPY", b"\x93NUMPY\x09\x00" + b"\0" * 100,
      forged("{'descr': '<f8', 'fortran_order': False, 'shape': "
              f"({2 ** 40}, 4)}}\n"),
      forged("{'descr': '<f8', 'fortran_order': False, 'shape': "
              "(99999999999999999999999, 4)}\n"),
      forged("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4)}\n"),
      forged("{'descr': '<U268435455', 'fortran_order': False, 'shape': "
              "(3,)}\n"),
      forged("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}\n",
              pickle.dumps([Pickled()])),
      forged("(" * 5000), forged("-" * 9000 + "1"), forged("[" * 9000),
      forged("{'descr': " + "[('a'," * 500), forged("\0" * 50),
      forged("'" * 9999), forged("{'descr': 1, 'shape': 2}"),
      forged("{'descr': '<f8', 'fortran_order': False, 'shape': (3, 4)"
              + " " * 60000 + "}\n"),
      pickle.dumps(Pickled())])


@st.composite
def _archives(draw):
  members = {name + ".npy": _member(array)
             for name, array in _arrays().items()}
  for _ in range(draw(st.integers(0, 2))):
    name = draw(st.sampled_from(
        ["image_ids", "counts", "boxes", "scores", "unit"])) + ".npy"
    what = draw(st.integers(0, 5))
    if what < 4:
      members[name] = _member(draw(_odd_arrays()))
    elif what == 4:
      members[name] = draw(_members())
    else:
      content = members.pop(name, b"x")
      if draw(st.booleans()):
        members[draw(st.sampled_from(
            [name[:-4], "../x.npy", "\0.npy", "a" * 300, "boxes.npy/"]))
               ] = content
  content = _zipped(members, draw(st.sampled_from(
      [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED, zipfile.ZIP_BZIP2,
       zipfile.ZIP_LZMA])))
  return draw(g.mostly(st.just(content), st.sampled_from([
      b"", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 18, _members_alone(),
      pickle.dumps(Pickled()), bomb(), content[:-10],
      # Of unknown method; encrypted; of a size that is not so.
      content.replace(b"\x08\0", b"\x63\0"),
      content.replace(b"PK\x01\x02\x14\x03\x14\0\0", b"PK\x01\x02\x14\x03\x14"
                      b"\0\1")])))


def _members_alone():
  return _member(np.zeros([3, 4]))


_BOMB = []


def bomb():
  """A few megabytes that want to be 3 GB, with headers that agree."""
  if not _BOMB:
    rows = 3 * 2 ** 30 // 32
    packer = zlib.compressobj(9)
    head = forged("{'descr': '<f8', 'fortran_order': False, 'shape': "
                   f"({rows}, 4)}}\n", b"")
    packed = packer.compress(head)
    # Deflate repeats itself: one block of zeros, many times over.
    block = bytes(2 ** 20)
    packed += packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    chunk = zlib.compressobj(9)
    chunk.compress(block)
    chunk.flush(zlib.Z_FULL_FLUSH)
    again = chunk.compress(block) + chunk.flush(zlib.Z_FULL_FLUSH)
    packed = packed[2:] + again * (3 * 2 ** 10 - 1) + b"\3\0"
    size = len(head) + 3 * 2 ** 30
    name = b"boxes.npy"
    other = _zipped({
        "image_ids.npy": _member(np.array(_IDS)),
        "counts.npy": _member(np.array([rows, 0, 0]))})
    local = struct.pack("<4s5H3L2H", b"PK\3\4", 20, 0, 8, 0, 0, 0,
                        len(packed), size, len(name), 0) + name + packed
    # In front of the other members: their offsets are moved by zipfile, which
    # takes what stands before an archive for a program that unpacks it.
    start = other.index(b"PK\1\2")
    end = other.index(b"PK\5\6")
    central = struct.pack(
        "<4s6H3L5H2L", b"PK\1\2", 20, 20, 0, 8, 0, 0, 0, len(packed), size,
        len(name), 0, 0, 0, 0, 0, start) + name
    directory = other[start:end] + central
    _BOMB.append(
        other[:start] + local + directory + struct.pack(
            "<4s4H2LH", b"PK\5\6", 0, 0, 3, 3, len(directory),
            start + len(local), 0))
  return _BOMB[0]


def grammar():
  """Archives whose members may be odd, or no arrays at all."""
  return _archives().map(lambda content: {"p.npz": content})


def damage(case, random, others):
  """Damages the archive, or what is in it, which checksums hide otherwise."""
  try:
    if random.random() < 0.3:
      raise zipfile.BadZipFile
    whole, other = (_unzipped(one["p.npz"])
                    for one in (case, random.choice(others)))
  except Exception:  # It is damaged already.
    return mutations.mutate(case, random, others)
  return {"p.npz": _zipped(mutations.mutate(whole, random, [other]),
                           zipfile.ZIP_STORED)}


def _unzipped(content):
  with zipfile.ZipFile(io.BytesIO(content)) as archive:
    if sum(one.file_size for one in archive.infolist()) > 10 ** 6:
      raise zipfile.BadZipFile
    return {one: archive.read(one) for one in archive.namelist()}


def check(folder):
  """Every image has its proposals, or none are given at all."""
  path = os.path.join(folder, "p.npz")
  try:
    file = proposal_files.open_file(path)
  finally:
    was_opened = bool(opened)
    opened.clear()
    oracle.demand(not was_opened, "a pickle was opened")
  with np.load(path, allow_pickle=False) as content:
    ids = content["image_ids"].reshape(-1)
    counts = content["counts"].reshape(-1)
  oracle.demand(len(file) == len(ids), f"images lost: {len(file)} of {ids}")
  for image_id, count in zip(ids, counts):
    image_id = (image_id.decode("utf-8") if isinstance(image_id, bytes)
                else str(image_id))
    look_up(file, image_id, int(count), folder, r"^p\.npz: ")


def look_up(file, image_id, count, folder, places):
  """Checks the proposals of one image; a refusal is as good."""
  for height, width in _SIZES:
    try:
      boxes, scores = file.lookup(image_id, height, width)
    except errors.InputError as error:
      oracle.refusal(error, folder, places)
      continue
    oracle.boxes(boxes, scores, inside=True)
    oracle.demand(count is None or len(boxes) == count,
                  f"proposals lost: {len(boxes)} of {count}")
    oracle.demand(bool((np.diff(scores) <= 0).all()), "not best first")
