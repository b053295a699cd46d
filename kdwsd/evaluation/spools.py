"""Arrays that outgrow memory: in memory while they are few, then on disk.

The detections of a split grow with the number of images. On disk they are in an
unnamed file in the folder for temporary files (`TMPDIR`), which vanishes with
the process.
"""

import array
import tempfile

import numpy as np

from kdwsd import errors
from kdwsd import system_errors

_IN_MEMORY = 2 ** 27  # bytes
_CHUNK = 2 ** 20  # rows


class Spool:
  """Bytes that are appended and read again."""

  def __init__(self, in_memory=_IN_MEMORY):
    """Makes an empty one.

    Args:
      in_memory: bytes; more than this are moved to disk.
    """
    # Closed when nothing refers to it any more.
    self._file = tempfile.SpooledTemporaryFile(in_memory)  # noqa: SIM115
    self._size = 0

  def append(self, *arrays):
    """Appends the bytes of arrays; returns the position of the first.

    Raises:
      errors.InputError: the disk is full.
    """
    position = self._size
    try:
      self._file.seek(position)
      for values in arrays:
        self._size += self._file.write(values.tobytes())
    except OSError as error:
      raise errors.InputError(
          f"{tempfile.gettempdir()}: expected room for the detections, "
          f"{self._size / 1e9:.1f} GB so far; set TMPDIR to a larger disk, or "
          "raise --score_threshold. Received: "
          f"{system_errors.first_line(error)}.") from error
    return position

  def read(self, position, size):
    """Reads `size` bytes from a position on."""
    self._file.seek(position)
    return self._file.read(size)


class ByClass:
  """Rows of numbers, appended image by image and read class by class."""

  def __init__(self, num_classes, dtype, chunk=_CHUNK):
    """Makes an empty one.

    Args:
      num_classes: C.
      dtype: NumPy dtype of a row, structured or not.
      chunk: rows that are sorted by class together.
    """
    self._num_classes, self.dtype = num_classes, np.dtype(dtype)
    self._chunk = chunk
    self._spool = Spool()
    self._waiting, self._num_waiting = [], 0
    self._chunks = []  # (position in the spool, [C + 1] edges in rows)

  def add(self, class_ids, rows):
    """Adds rows [K] of classes [K]."""
    self._waiting.append((class_ids, rows))
    self._num_waiting += len(rows)
    if self._num_waiting >= self._chunk:
      self._flush()

  def read(self, class_id):
    """The rows of a class, in the order in which they were added."""
    self._flush()
    size, parts = self.dtype.itemsize, [b""]
    for position, edges in self._chunks:
      first, last = edges[class_id:class_id + 2].tolist()
      if last > first:
        parts.append(self._spool.read(
            position + first * size, (last - first) * size))
    return np.frombuffer(b"".join(parts), self.dtype)

  def _flush(self):
    if not self._num_waiting:
      return
    class_ids, rows = map(np.concatenate, zip(*self._waiting))
    self._waiting, self._num_waiting = [], 0
    # 16 bits are sorted in linear time.
    small = np.min_scalar_type(self._num_classes)
    order = np.argsort(class_ids.astype(small), kind="stable")
    edges = np.searchsorted(
        class_ids[order], np.arange(self._num_classes + 1))
    self._chunks.append((self._spool.append(rows[order]), edges))


class Sequence:
  """A list of objects that hold arrays, which grows beyond memory.

  All arrays of an object have the same length. It is read as a list is:
  `len`, an index from 0, a loop.
  """

  def __init__(self, make, columns):
    """Makes an empty one.

    Args:
      make: class of the objects; called with their arrays.
      columns: {attribute of an object: (dtype, shape of one of its values)}, in
        the order of the arguments of `make`.
    """
    self._make = make
    self._columns = {name: (np.dtype(dtype), shape)
                     for name, (dtype, shape) in columns.items()}
    self._row_bytes = sum(
        dtype.itemsize * int(np.prod(shape))
        for dtype, shape in self._columns.values())
    self._spool = Spool()
    self._positions, self._lengths = array.array("q"), array.array("q")

  def append(self, one):
    """Appends an object, as a copy of its arrays."""
    values = [np.asarray(getattr(one, name), dtype)
              for name, (dtype, _) in self._columns.items()]
    self._positions.append(self._spool.append(*values))
    self._lengths.append(len(values[0]))

  def __len__(self):
    return len(self._lengths)

  def __getitem__(self, index):
    length = self._lengths[index]
    content = self._spool.read(
        self._positions[index], length * self._row_bytes)
    values, position = [], 0
    for dtype, shape in self._columns.values():
      values.append(np.frombuffer(
          content, dtype, length * int(np.prod(shape)), position
      ).reshape(length, *shape))
      position += values[-1].nbytes
    return self._make(*values)

  def __iter__(self):
    return (self[index] for index in range(len(self)))
