"""Records on disk: shards, the card beside them, and faults by file and record.

Shards are `SPLIT-00000-of-00004.tfrecord`; the card is `SPLIT.json`. A TFRecord
file is a sequence of frames: the data's length (uint64, little endian), the
length's checksum (4 bytes), the data, and the data's checksum. Checksums are
CRC-32C, masked as TensorFlow does. Opening a split compares the sizes of the
shards with the card and reads the first record of each; TensorFlow checks the
data when it reads them.
"""

from concurrent import futures
import contextlib
import dataclasses
import os
import re
import struct

from absl import logging
from google.protobuf import message as protobuf
import tensorflow as tf

from kdwsd import errors
from kdwsd import files
from kdwsd import places
from kdwsd import system_errors
from kdwsd.data import records
from kdwsd.data import texts
from kdwsd.data import tuning

_HEADER = struct.Struct("<QI")
_FOOTER_BYTES = 4
_REQUESTS = 16  # At once, to a file system that is not local.

# Errors that damaged data (the first), or records of another tool, lead to. The
# last comes where TensorFlow's message quotes bytes that are not UTF-8.
_SYMPTOMS = (tf.errors.DataLossError, tf.errors.InvalidArgumentError,
             UnicodeDecodeError)


def shard_path(directory, split, index, num_shards):
  """Path of one shard."""
  return os.path.join(
      directory, f"{split}-{index:05d}-of-{num_shards:05d}.tfrecord")


def card_path(directory, split):
  """Path of the card that describes a split."""
  return os.path.join(directory, f"{split}.json")


@dataclasses.dataclass(frozen=True)
class RecordSet:
  """A converted split on disk.

  Attributes:
    directory: directory of the shards and the card.
    split: name of the split.
    paths: shard files, in order.
    card: the card's content; see `kdwsd.data.cards`.
  """
  directory: str
  split: str
  paths: tuple
  card: dict

  @property
  def classes(self):
    """Class names; their order gives the label ids."""
    return tuple(self.card["classes"])

  @property
  def num_images(self):
    """Number of records in all shards."""
    return int(self.card["num_images"])

  @property
  def card_path(self):
    """Path of the card."""
    return card_path(self.directory, self.split)


def open_split(directory, split):
  """Opens a converted split, checking that it is complete.

  Arguments are `--output` and `--split` of the conversion.

  Returns:
    A `RecordSet`.

  Raises:
    errors.InputError: no such split, another format, or shards that are
      missing, truncated or of another conversion.
  """
  if not places.isdir(directory):
    raise errors.InputError(
        f"{directory}: expected a directory of records, as written by "
        "`python -m kdwsd.make_records`. Received: no such directory.")
  path = card_path(directory, split)
  try:
    names = set(places.listdir(os.path.dirname(path)))
  except OSError:
    names = set()
  if os.path.basename(path) not in names:
    found = sorted(name[:-len(".json")] for name in names
                   if name.endswith(".json") and not name.startswith("."))
    raise errors.InputError(
        f"{path}: expected the card of a finished conversion. Received: no "
        f"such file; finished splits here: {', '.join(found) or 'none'}.")
  card = files.read_json(path)
  version = card.get("format_version") if isinstance(card, dict) else None
  if version != records.FORMAT_VERSION:
    raise errors.InputError(
        f"{path}: expected records of format {records.FORMAT_VERSION}. "
        f"Received: format {texts.quoted(version)}; convert the data again.")
  _check_card(path, card)
  num_shards, paths = card["num_shards"], []
  # One by one, because a damaged card may hold any number.
  for i in range(num_shards):
    paths.append(shard_path(directory, split, i, num_shards))
    if os.path.basename(paths[-1]) not in names:
      found = [name for name in names if re.fullmatch(
          re.escape(split) + rf"-.*-of-{num_shards:05d}\.tfrecord", name)]
      raise errors.InputError(
          f"{path}: expected {num_shards} shards. Received: "
          f"{num_shards - len(found)} missing, first {paths[-1]}.")
  _check_shards(path, card, paths)
  return RecordSet(directory, split, tuple(paths), card)


def first_record(path):
  """Bytes of the first record of a shard, unchecked; none if it is empty."""
  with places.open_bytes(path) as file:
    header = file.read(_HEADER.size)
    if len(header) < _HEADER.size:
      return b""
    length, _ = _HEADER.unpack(header)
    return file.read(min(length, places.getsize(path)))


def count(path):
  """Counts the records of a shard file by the lengths of its frames.

  Raises:
    errors.InputError: the file cannot be read, ends within a record, or has a
      length with a wrong checksum.
  """
  number = position = 0
  try:
    with (places.open_bytes(path) if places.is_remote(path)
          else open(path, "rb", buffering=0)) as file:
      size = places.getsize(path)
      while position < size:
        header = file.read(_HEADER.size)
        fault = "a file that ends within it"
        if len(header) == _HEADER.size:
          length, checksum = _HEADER.unpack(header)
          position += _HEADER.size + length + _FOOTER_BYTES
          if checksum != _masked_crc(header[:8]):
            fault = "a length with a wrong checksum"
          elif position <= size:
            fault = None
        if fault:
          raise errors.InputError(
              f"{path}: record {number} (counted from 0): expected a whole "
              f"record. Received: {fault}; convert the data again.")
        file.seek(position)
        number += 1
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected a shard of records. Received: {error.strerror}."
    ) from error
  return number


@contextlib.contextmanager
def naming_faults(*record_sets):
  """Turns a failure over a damaged record into an error that names the record.

  tf.data reports a damaged record wherever it happens to read ahead, without
  shard or number. So the shards are read once more when reading has failed.

  Args:
    *record_sets: `RecordSet`s that the block reads; None is left out.

  Raises:
    errors.InputError: a record is the reason. Another failure passes unchanged.
  """
  try:
    yield
  except _SYMPTOMS as error:
    logging.info("Reading failed; looking for the faulty record.")
    for record_set in record_sets:
      problem = record_set and find_fault(record_set)
      if problem:
        raise errors.InputError(problem) from error
    raise


def find_fault(record_set):
  """Finds the first record that cannot be used.

  Args:
    record_set: a `RecordSet`.

  Returns:
    A message for the user, or None where all records are good.
  """
  num_classes = len(record_set.classes)

  @tf.autograph.experimental.do_not_convert
  def inspect(serialized):
    parsed = records.parse(serialized, records.FEATURES, num_classes)
    # Returned, or TensorFlow would skip the decoding.
    return serialized, tf.shape(
        tf.io.decode_jpeg(parsed["image/encoded"], channels=3))

  for path in record_set.paths:
    number = 0
    shard = tuning.untuned(tf.data.TFRecordDataset(path))
    try:
      for serialized, _ in shard.map(
          inspect, tuning.num_calls(), deterministic=True):
        if records.odd_key(tf.train.Example.FromString(serialized.numpy())):
          break
        number += 1
      else:
        continue
    except _SYMPTOMS as error:
      # Where no rule is broken, only the decoding can have failed.
      broken = "a JPEG image under image/encoded", (
          system_errors.first_line(error))
    where = f"{path}: record {number} (counted from 0)"
    try:
      serialized = next(iter(shard.skip(number))).numpy()
    except tf.errors.OpError as error:
      return (f"{where}: expected bytes that fit their checksum. Received: "
              f"{system_errors.first_line(error)}; convert the data again.")
    image_id, rule = records.fault(serialized, num_classes)
    image = f", image {image_id!r}" if image_id else ""
    expected, received = rule or broken
    return f"{where}{image}: expected {expected}. Received: {received}."
  return None


def _check_card(path, card):
  """Checks the types of what is read of a card."""
  names, shards = card.get("classes"), card.get("shard_bytes")
  named = isinstance(names, list) and names and all(
      isinstance(name, str) for name in names)
  checks = [
      ("classes", "names", named),
      ("classes", "each name once", named and len(set(names)) == len(names)),
      *((key, f"a whole number from {least} on",
         type(card.get(key)) is int and card[key] >= least)  # No bool.
        for key, least in (("num_images", 0), ("num_shards", 1))),
      ("shard_bytes", "a list, or nothing,",
       shards is None or isinstance(shards, list))]
  for key, expected, holds in checks:
    if not holds:
      raise errors.InputError(
          f"{path}: expected {expected} under {key!r}. Received: "
          f"{card.get(key)!r:.100}; convert the data again.")


def _check_shards(path, card, paths):
  """Checks that shards are those that a card describes."""
  # Sizes first: they are there without reading. Only older cards lack them, and
  # then the records are counted, a short read each.
  sizes = card.get("shard_bytes") or ()
  for path, expected, received in zip(paths, sizes, _sizes(paths)):
    if received != expected:
      raise errors.InputError(
          f"{path}: expected the shard of {expected} bytes that its card was "
          f"written with. Received: {received} bytes, a truncated shard or one "
          "of another conversion; convert the data again.")
  counts = [] if len(sizes) == len(paths) else [count(path) for path in paths]
  if counts and sum(counts) != card["num_images"]:
    shown = ", ".join(
        f"{number} in {os.path.basename(path)}"
        for number, path in list(zip(counts, paths))[:8])
    raise errors.InputError(
        f"{path}: expected {card['num_images']} images in its {len(paths)} "
        f"shards. Received: {sum(counts)}, {shown}"
        f"{', ...' if len(paths) > 8 else ''}; a shard was truncated or is of "
        "another conversion; convert the data again.")
  if places.is_remote(path):
    paths = paths[:1]  # Each is a request.
  for path in paths:  # The first record only: all have the same keys.
    data = first_record(path)
    try:
      odd = data and records.odd_key(
          tf.train.Example.FromString(data), records.TRAINING_FEATURES)
    except protobuf.DecodeError:
      continue  # Damaged, perhaps; reading it will say so.
    if odd:
      raise errors.InputError(
          f"{path}: record 0 (counted from 0): expected {odd[0]}. Received: "
          f"{odd[1]}; convert the data again.")


def _sizes(paths):
  """Yields the sizes of files, in bytes."""
  if not places.is_remote(paths[0]):
    yield from map(places.getsize, paths)
    return
  with futures.ThreadPoolExecutor(_REQUESTS) as pool:
    yield from pool.map(places.getsize, paths)


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
