"""Finds the positions of images inside TFRecord files.

A TFRecord file is a sequence of records: the length of the data as 8 bytes, a
checksum of 4, the data, and a checksum of 4. An example contains an image's
bytes unchanged, so that a worker can read them without TensorFlow.

Source: tensorflow.org, "TFRecord and tf.train.Example", "TFRecords format
details".
"""

import os
import struct

from kdwsd import errors

_HEAD, _TAIL = 12, 4


class Places:
  """Positions of records in files, and of bytes in records."""

  def __init__(self):
    self._offsets = {}  # Of the file read last.

  def find(self, path, index, content):
    """Finds bytes in a record.

    Args:
      path: path of the TFRecord file.
      index: index of the record in the file.
      content: what to find.

    Returns:
      Offset in the file.

    Raises:
      errors.InputError: the file is damaged, compressed or of another kind.
    """
    try:
      if path not in self._offsets:
        self._offsets = {path: _records(path)}
      start, length = self._offsets[path][index]
      with open(path, "rb") as file:
        file.seek(start)
        place = file.read(length).find(content)
    except (OSError, IndexError, struct.error) as error:
      raise errors.InputError(
          f"{path}: expected TFRecords, at least {index + 1}. Received: "
          f"{getattr(error, 'strerror', None) or 'a damaged file'}."
      ) from error
    if place < 0 or not content:
      raise errors.InputError(
          f"{path}: expected the image in record {index}. Received: none, or "
          "a compressed file.")
    return start + place


def _records(path):
  """Offset and length of the data of each record of a file."""
  found, at, size = [], 0, os.path.getsize(path)
  with open(path, "rb") as file:
    while at < size:
      file.seek(at)
      length = struct.unpack("<Q", file.read(_HEAD)[:8])[0]
      if at + _HEAD + length + _TAIL > size:
        raise struct.error
      found.append((at + _HEAD, length))
      at += _HEAD + length + _TAIL
  return found
