"""Numbers, and cells of them, in MATLAB's files of the formats 5 to 7.3.

The formats 5 to 7 are read here and not by SciPy, whose reader in C follows
what a damaged file says of itself until the process ends: a wrong tag, or cells
within cells, suffice. Format 7.3 is HDF5, whose arrays are asked for their size
before they are read.

Source: MathWorks, "MAT-File Format", chapter 1, "MAT-File Level 5 File Format".
"""

import math
import os
import struct
import zlib

import numpy as np

from kdwsd import errors
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_UINT32, _INT32, _INT8 = 6, 5, 1  # Types of a header's parts.
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
    path: of a `.mat` file.
    names: of the variables wanted; the first is a cell of text.

  Returns:
    Dict of name to list, for a cell: of text for the first, of arrays for the
    others; or to array, for numbers. What is not there is left out.

  Raises:
    errors.InputError: damaged, too large, or with anything else in its cells.
  """
  import h5py  # pylint: disable=import-outside-toplevel
  try:
    read_format = _read_hdf5 if h5py.is_hdf5(path) else _read_level5
    return read_format(path, names)
  except Exception as error:  # Whatever a damaged file provokes.
    raise errors.InputError(
        f"{path}: expected a MATLAB file with cells of "
        f"{' and '.join(names[:2])}. Received: "
        f"{texts.shown(str(error) or type(error).__name__)}.") from error


def _read_level5(path, names):
  """Variables of a MATLAB 5 to 7 file."""
  found, size = {}, os.path.getsize(path)
  left = plain_arrays.most_bytes(size)
  with open(path, "rb") as file:
    order = {b"IM": "<", b"MI": ">"}.get(file.read(128)[126:])
    if order is None:
      raise ValueError("a file of another format")
    while file.tell() < size:
      content = _variable(file, size - file.tell(), left, order)
      left -= len(content)
      kind, _, _, name, at = _header(content, order)
      if name not in names:
        continue
      if name in found or kind != _CELL and (
          name == names[0] or not 6 <= kind <= 15):
        raise ValueError(f"{name}, which is not a cell or comes twice")
      found[name] = (list(_entries(content, at, order)) if kind == _CELL
                     else _leaf(content, order))
  if not all(isinstance(text, str) for text in found.get(names[0], ())):
    raise ValueError(f"numbers in {names[0]}")
  return found


def _variable(file, left, most, order):
  """Bytes of the next variable of a file, unpacked, without its tag."""
  kind, length = struct.unpack(order + "II", _exactly(file.read(8), 8))
  if length > left - 8:
    raise ValueError("a file that is cut short")
  content = file.read(length)
  if kind == _PACKED:
    content = _unpack(content, most, order)
    kind, content, _ = _element(memoryview(content), 0, order)
  if kind != _MATRIX:
    raise ValueError(f"an element of type {kind}")
  return memoryview(content)


def _unpack(content, most, order):
  """A packed element as bytes, no more of them than its own tag says."""
  head = _exactly(zlib.decompressobj().decompress(content, 8), 8)
  length = 8 + struct.unpack(order + "II", head)[1]
  if length > most:
    raise ValueError(f"{length} bytes, unpacked, where {most} are the most")
  unpacker = zlib.decompressobj()
  content = unpacker.decompress(content, length)
  # The end of the stream comes with the next byte asked for, if not before.
  if unpacker.decompress(unpacker.unconsumed_tail, 1) or not unpacker.eof:
    raise ValueError("a variable that is longer or shorter than it says")
  return content


def _element(content, at, order):
  """Type and bytes of the element at a place, and the place of the next."""
  kind, length = struct.unpack(order + "II", _exactly(content[at:at + 8], 8))
  if kind >> 16:  # Up to four bytes, which stand in the tag itself.
    kind, length = kind & 0xffff, kind >> 16
    return kind, _exactly(content[at + 4:at + 8], 4)[:length], at + 8
  end = at + 8 + length
  return kind, _exactly(content[at + 8:end], length), end + -length % 8


def _exactly(content, length):
  if len(content) != length:
    raise ValueError("a file that is cut short")
  return content


def _header(content, order):
  """Class, flags, sides and name of an array, and where its content starts."""
  parts, at = [], 0
  for wanted in (_UINT32, _INT32, _INT8):
    kind, part, at = _element(content, at, order)
    if kind != wanted:
      raise ValueError(f"an array's header of type {kind}")
    parts.append(bytes(part))
    flags = struct.unpack(order + "II", _exactly(parts[0], 8))[0]
    if flags & 0xff == _OPAQUE:  # A table, say, whose header is another.
      return _OPAQUE, flags, (), "", at
  sides = struct.unpack(f"{order}{len(parts[1]) // 4}i", parts[1])
  if min(sides, default=-1) < 0:
    raise ValueError(f"an array of {texts.quoted(sides)}")
  return flags & 0xff, flags, sides, parts[2].decode("ascii", "replace"), at


def _entries(content, at, order):
  """Yields what a cell holds: text or arrays."""
  _, _, sides, _, _ = _header(content, order)
  count = 0
  while at < len(content):
    kind, entry, at = _element(content, at, order)
    if kind != _MATRIX:
      raise ValueError(f"an element of type {kind} in a cell")
    count += 1
    yield _leaf(entry, order) if len(entry) else np.zeros([0, 0])
  if count != math.prod(sides):
    raise ValueError(f"{count} entries in a cell of {texts.quoted(sides)}")


def _leaf(content, order):
  """An array of numbers, or text."""
  kind, flags, sides, _, at = _header(content, order)
  if kind != _CHAR and not 6 <= kind <= 15 or flags & _COMPLEX:
    raise ValueError("neither text nor real numbers in a cell")
  stored, part, _ = _element(content, at, order)
  if kind == _CHAR:
    if stored not in _TEXTS or len(sides) != 2 or sides[0] > 1:
      raise ValueError("text that is not one line")
    codec = _TEXTS[stored]
    if codec != "utf-8":
      codec += "-le" if order == "<" else "-be"
    return bytes(part).decode(codec)
  if stored not in _NUMBERS:
    raise ValueError(f"numbers of type {stored}")
  values = np.frombuffer(part, order + _NUMBERS[stored])
  return values.reshape(sides, order="F")


def _read_hdf5(path, names):
  """Variables of a MATLAB 7.3 file, which is HDF5 with its axes reversed."""
  import h5py  # pylint: disable=import-outside-toplevel
  left = plain_arrays.most_bytes(os.path.getsize(path))

  def checked(dataset):
    nonlocal left
    left -= dataset.size * max(dataset.dtype.itemsize, 1)
    if left < 0 or dataset.external:
      raise ValueError("arrays that are not in the file")
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
    return np.zeros([0, 4])  # What is stored instead is the shape.
  return np.asarray(dataset).T


def _text(codes):
  if codes.size and codes.dtype.kind != "u":
    raise ValueError(f"text of type {codes.dtype}")
  return "".join(chr(code) for code in codes.reshape(-1).tolist())
