"""Shards as files: how many records they hold, and whether they are whole.

A TFRecord file is a row of frames: the data's length (uint64, little endian),
the length's checksum (4 bytes), the data, and the data's checksum. Checksums
are CRC-32C, masked as TensorFlow does. Only the lengths are looked at here, and
the keys of first records; the data's checksums are TensorFlow's to check when
it reads (`record_faults`).
"""

import os
import struct

from google.protobuf import message as protobuf
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import record_rules

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4


def count(path):
  """Counts the records of a shard, going from length to length.

  Args:
    path: of a TFRecord file.

  Returns:
    int.

  Raises:
    errors.InputError: the file cannot be read, ends within a record, or has a
      length with a wrong checksum.
  """
  number = position = 0
  try:
    with open(path, "rb", buffering=0) as file:
      size = os.fstat(file.fileno()).st_size
      while position < size:
        header = file.read(_HEADER.size)
        problem = None
        if len(header) < _HEADER.size:
          problem = "a file that ends within it"
        else:
          length, checksum = _HEADER.unpack(header)
          position += _HEADER.size + length + _FOOTER_BYTES
          if checksum != _masked_crc(header[:8]):
            problem = "a length with a wrong checksum"
          elif position > size:
            problem = "a file that ends within it"
        if problem:
          raise errors.InputError(
              f"{path}: record {number} (counted from 0): expected a whole "
              f"record. Received: {problem}; convert the data again.")
        file.seek(position)
        number += 1
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a shard of records. Received: {error.strerror}."
    ) from error
  return number


def check_card(path, card):
  """Checks what is read of a card; `cards` says what all is in it.

  Args:
    path: of the card, for the message.
    card: dict.

  Raises:
    errors.InputError: classes or counts are missing or of another type.
  """
  classes = card.get("classes")
  named = isinstance(classes, list) and classes and all(
      isinstance(name, str) for name in classes)
  checks = [("classes", "names", named), (
      "classes", "each name once", named and len(set(classes)) == len(classes))]
  for key, least in (("num_images", 0), ("num_shards", 1)):
    value = card.get(key)
    checks.append((key, f"a whole number from {least} on", isinstance(
        value, int) and not isinstance(value, bool) and value >= least))
  checks.append(("shard_bytes", "a list, or nothing,", isinstance(
      card.get("shard_bytes"), (list, type(None)))))
  for key, expected, holds in checks:
    if not holds:
      raise errors.InputError(
          f"{path}: expected {expected} under {key!r}. Received: "
          f"{card.get(key)!r:.100}; convert the data again.")


def check(card_path, card, paths, features):
  """Checks that shards are those that a card describes.

  Args:
    card_path: for the message.
    card: the card's content, checked; `shard_bytes` is optional.
    paths: of all its shards.
    features: of which the first record of each shard must have all.

  Raises:
    errors.InputError: a shard is damaged, or not the card's.
  """
  counts = [count(path) for path in paths]
  if sum(counts) != card["num_images"]:
    shown = ", ".join(
        f"{number} in {os.path.basename(path)}"
        for number, path in list(zip(counts, paths))[:8])
    raise errors.InputError(
        f"{card_path}: expected {card['num_images']} images in its "
        f"{len(paths)} shards. Received: {sum(counts)}, {shown}"
        f"{', ...' if len(paths) > 8 else ''}; a shard was cut short or is of "
        "another conversion; convert the data again.")
  for path, expected in zip(paths, card.get("shard_bytes") or ()):
    received = os.path.getsize(path)
    if received != expected:
      raise errors.InputError(
          f"{path}: expected the shard of {expected} bytes that its card was "
          f"written with. Received: {received} bytes, a shard of another "
          "conversion; convert the data again.")
  for path in paths:
    _check_first(path, features)


def _check_first(path, features):
  """Checks the keys of a shard's first record: who wrote it wrote them all."""
  with open(path, "rb") as file:
    header = file.read(_HEADER.size)
    data = header and file.read(_HEADER.unpack(header)[0])
  try:
    odd = data and record_rules.odd_key(
        tf.train.Example.FromString(data), features)
  except protobuf.DecodeError:
    return  # Damaged, perhaps; reading will tell.
  if odd:
    raise errors.InputError(
        f"{path}: record 0 (counted from 0): expected {odd[0]}. Received: "
        f"{odd[1]}; convert the data again.")


def _masked_crc(data):
  crc = 0xFFFFFFFF
  for byte in data:
    crc = _TABLE[(crc ^ byte) & 0xFF] ^ (crc >> 8)
  crc ^= 0xFFFFFFFF
  return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def _table():
  """CRC-32C (Castagnoli) of every byte, reflected."""
  table = []
  for crc in range(256):
    for _ in range(8):
      crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    table.append(crc)
  return tuple(table)


_TABLE = _table()
