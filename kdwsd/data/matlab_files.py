"""Reads numbers and cells from MATLAB files of the formats 5 to 7.3.

The formats 5 to 7 are parsed here because SciPy's reader, written in C, crashes
the process on damaged files: a wrong tag or 30,000 nested cells suffice. Format
7.3 is HDF5; the size of its arrays is checked before they are read.

Source: MathWorks, "MAT-File Format", chapter 1, "MAT-File Level 5 File Format".
"""

import math
import os
import struct
import zlib

import numpy as np

from kdwsd import errors
from kdwsd import places
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_UINT32, _INT32, _INT8 = 6, 5, 1  # Types of a header's elements.
_MATRIX, _PACKED = 14, 15
_NUMBERS = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4",
            9: "f8", 12: "i8", 13: "u8"}
_TEXTS = {1: "utf-8", 2: "utf-8", 4: "utf-16", 16: "utf-8", 17: "utf-16",
          18: "utf-32"}
_CELL, _CHAR, _OPAQUE = 1, 4, 17  # Classes of arrays; 6 to 15: numbers.
_COMPLEX = 0x0800


def read(path, names):
  """Reads variables.

  Args:
    path: path of a `.mat` file.
    names: names of the variables to read; the first is a cell of text.

  Returns:
    Dict by name. A cell is a list: of text for the first name, of arrays for
    the others. Numbers are an array. Variables not in the file are left out.

  Raises:
    errors.InputError: damaged, too large, or with other content in its cells.
  """
  import h5py  # pylint: disable=import-outside-toplevel
  try:
    with places.local_copy(path) as local:
      read_format = _read_hdf5 if h5py.is_hdf5(local) else _read_level5
      return read_format(local, names)
  except Exception as error:  # Damaged files raise errors of many types.
    raise errors.InputError(
        f"{path}: expected a MATLAB file with cells of "
        f"{' and '.join(names[:2])}. Received: "
        f"{texts.shown(str(error) or type(error).__name__)}.") from error


def _read_level5(path, names):
  """Variables of a MATLAB 5 to 7 file."""
  with open(path, "rb") as file:
    content = memoryview(file.read())
  order = {b"IM": "<", b"MI": ">"}.get(bytes(content[126:128]))
  if order is None:
    raise ValueError("a file of another format")
  found, left = {}, plain_arrays.most_bytes(len(content))
  for kind, part in _elements(content[128:], order):
    if kind == _PACKED:
      kind, part = next(_elements(_unpack(part, left, order), order))
    left -= len(part)
    variable, _, sides, name, rest = _header(kind, part, order)
    if name not in names:
      continue
    if name in found or variable != _CELL and (
        name == names[0] or not 6 <= variable <= 15):
      raise ValueError(f"{name}, which is not a cell or occurs twice")
    if variable != _CELL:
      found[name] = _leaf(kind, part, order)
      continue
    found[name] = [_leaf(*element, order) for element in rest]
    if len(found[name]) != math.prod(sides):
      raise ValueError(f"{len(found[name])} entries in a cell of "
                       f"{texts.quoted(sides)}")
  if not all(isinstance(text, str) for text in found.get(names[0], ())):
    raise ValueError(f"numbers in {names[0]}")
  return found


def _elements(content, order):
  """Yields the type and the bytes of each element."""
  at = 0
  while at < len(content):
    kind, length = struct.unpack(order + "II", _cut(content, at, 8))
    at += 8
    if kind >> 16:  # Up to four bytes are stored in the tag itself.
      yield kind & 0xffff, _cut(content[at - 4:at], 0, kind >> 16)
    else:
      yield kind, _cut(content, at, length)
      at += length if kind == _PACKED else length + -length % 8


def _cut(content, at, length):
  if at + length > len(content):
    raise ValueError("a truncated file")
  return content[at:at + length]


def _unpack(content, most, order):
  """Decompresses an element up to the length in its own tag."""
  head = zlib.decompressobj().decompress(content, 8)
  length = 8 + struct.unpack(order + "II", _cut(head, 0, 8))[1]
  if length > most:
    raise ValueError(f"{length} bytes when unpacked, more than {most}")
  unpacker = zlib.decompressobj()
  content = unpacker.decompress(content, length)
  # Asking for one more byte makes the decompressor read the end of the stream.
  if unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof:
    raise ValueError("a variable that is longer or shorter than its tag says")
  return memoryview(content)


def _header(kind, content, order):
  """Class, flags, shape and name of an array, and its other elements."""
  if kind != _MATRIX:
    raise ValueError(f"an element of type {kind}")
  elements, parts = _elements(content, order), []
  for wanted in (_UINT32, _INT32, _INT8):
    kind, part = next(elements, (None, b""))
    if kind != wanted:
      raise ValueError(f"an array's header of type {kind}")
    parts.append(bytes(part))
    flags = struct.unpack(order + "II", _cut(parts[0], 0, 8))[0]
    if flags & 0xff == _OPAQUE:  # A table, say; its header has another layout.
      return _OPAQUE, flags, (), "", elements
  sides = struct.unpack(f"{order}{len(parts[1]) // 4}i", parts[1])
  if min(sides, default=-1) < 0:
    raise ValueError(f"an array of {texts.quoted(sides)}")
  return flags & 0xff, flags, sides, parts[2].decode("ascii", "replace"), (
      elements)


def _leaf(kind, content, order):
  """An array of numbers, or text."""
  if kind == _MATRIX and not content:
    return np.zeros([0, 0])
  kind, flags, sides, _, elements = _header(kind, content, order)
  if kind != _CHAR and not 6 <= kind <= 15 or flags & _COMPLEX:
    raise ValueError("neither text nor real numbers in a cell")
  stored, part = next(elements, (None, b""))
  if kind == _CHAR:
    if stored not in _TEXTS or len(sides) != 2 or sides[0] > 1:
      raise ValueError("text that is not one line")
    codec = _TEXTS[stored]
    if codec != "utf-8":
      codec += "-le" if order == "<" else "-be"
    return bytes(part).decode(codec)
  if stored not in _NUMBERS:
    raise ValueError(f"numbers of type {stored}")
  return np.frombuffer(part, order + _NUMBERS[stored]).reshape(sides, order="F")


def _read_hdf5(path, names):
  """Variables of a MATLAB 7.3 file, which is HDF5 with its axes reversed."""
  import h5py  # pylint: disable=import-outside-toplevel
  left = plain_arrays.most_bytes(os.path.getsize(path))

  def checked(dataset):
    nonlocal left
    left -= dataset.size * max(dataset.dtype.itemsize, 1)
    if left < 0 or dataset.external:
      raise ValueError("arrays that are too large or not in the file")
    return dataset

  found = {}
  with h5py.File(path, "r") as file:
    for name in names:
      if name not in file:
        continue
      variable = checked(file[name])
      if h5py.check_dtype(ref=variable.dtype) is None and name != names[0]:
        found[name] = _transposed(variable)
      else:
        found[name] = [_transposed(checked(file[reference]))
                       for reference in np.asarray(variable).reshape(-1)]
  if names[0] in found:
    found[names[0]] = [_text(codes) for codes in found[names[0]]]
  return found


def _transposed(dataset):
  if dataset.attrs.get("MATLAB_empty", 0):
    return np.zeros([0, 4])  # The stored array holds the shape instead.
  return np.asarray(dataset).T


def _text(codes):
  if codes.size and codes.dtype.kind != "u":
    raise ValueError(f"text of type {codes.dtype}")
  return "".join(chr(code) for code in codes.reshape(-1).tolist())
