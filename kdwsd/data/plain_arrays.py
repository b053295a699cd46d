"""Reads plain arrays of limited size from users' `.npz` files.

NumPy refuses pickled objects, but does not limit the size: headers may claim
terabytes, and gigabytes of zeros compress to megabytes. Therefore the headers
are checked here before NumPy reads the arrays.
"""

import math
import zipfile

import numpy as np

from kdwsd import errors
from kdwsd import places
from kdwsd.data import texts

# Limit of the unpacked size of all arrays together: the larger one of this size
# and this multiple of the file's. Real boxes hardly compress, but constant
# scores compress to almost nothing.
_LEAST_BYTES = 256 * 2 ** 20
_MOST_TIMES = 100

_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0}


def read(path, what):
  """Reads all arrays of a `.npz` file.

  Args:
    path: path of the file.
    what: description of the expected content, for messages.

  Returns:
    Dict of name to array.

  Raises:
    errors.InputError: missing, damaged, too large, or with other content.
  """
  try:
    with places.open_bytes(path) as file:
      most = most_bytes(file.seek(0, 2))
      with zipfile.ZipFile(file) as archive:
        _check(archive, most)
      file.seek(0)
      with np.load(file, allow_pickle=False) as archive:
        return {name: checked(archive[name]) for name in archive.files}
  except Exception as error:  # Damaged files raise errors of many types.
    received = (getattr(error, "strerror", None) or str(error)
                or type(error).__name__)
    raise errors.InputError(
        f"{path}: expected {what}. Received: {texts.shown(received)}."
    ) from error


def most_bytes(size):
  """Maximum unpacked size, in bytes, of a file of `size` bytes."""
  return max(_LEAST_BYTES, _MOST_TIMES * size)


def rows_of_four(array, where):
  """An array of boxes as [n, 4] float64, checked as in `numbers`."""
  return numbers(four_columns(array, where), where)


def four_columns(array, where):
  """An array of boxes as [n, 4] of its own type, checked as in `numbers`."""
  array = np.asarray(array)
  if array.size == 0:
    return np.zeros([0, 4])
  if array.ndim != 2 or array.shape[1] != 4:
    raise errors.InputError(
        f"{where}: expected boxes as [n, 4] numbers. Received: "
        f"{list(array.shape)} {array.dtype}.")
  return _checked_numbers(array, where)


def numbers(array, where):
  """An array as float64; complex numbers, booleans and text are refused."""
  array = _checked_numbers(np.asarray(array), where)
  with np.errstate(invalid="ignore"):  # Signaling NaNs are refused later.
    return array.astype(np.float64)


def checked(array):
  """Returns the array; raises ValueError if its text is not valid Unicode."""
  if array.dtype.kind == "U" and array.size and array.dtype.itemsize:
    # NumPy reads any code points, but converting them to `str` fails.
    codes = np.ascontiguousarray(array).reshape(-1).view(
        np.dtype("u4").newbyteorder(array.dtype.byteorder))
    if np.any((codes > 0x10ffff) | (codes >= 0xd800) & (codes < 0xe000)):
      raise ValueError("text that is not valid Unicode")
  return array


def _checked_numbers(array, where):
  if array.dtype.kind not in "iuf":
    raise errors.InputError(
        f"{where}: expected numbers. Received: {list(array.shape)} "
        f"{array.dtype}.")
  return array


def _check(archive, most):
  """Raises an error of any type unless all members are plain arrays."""
  total, names = 0, set()
  for member in archive.infolist():
    name = member.filename
    with archive.open(member) as file:
      version = np.lib.format.read_magic(file)
      if version not in _HEADERS:
        raise ValueError(f"{texts.quoted(name)}, an array of version {version}")
      shape, _, dtype = _HEADERS[version](file)
      count = math.prod(shape)
      size = count * dtype.itemsize
      if dtype.hasobject:
        raise ValueError(f"{texts.quoted(name)}, an array of pickled objects")
      if name in names or file.tell() + size != member.file_size:
        raise ValueError(
            f"{texts.quoted(name)}, which occurs twice or does not match its "
            "header's size")
    names.add(name)
    total += max(size, count)  # Reading empty texts takes memory, too.
  if total > most:
    raise ValueError(f"{total} bytes when unpacked, more than {most}")
