"""Arrays on disk are read as they were written."""

import errno
import tempfile

import numpy as np
import pytest

from kdwsd import errors
from kdwsd.evaluation import detection
from kdwsd.evaluation import spools
from tests.evaluation import fakes


@pytest.mark.parametrize("in_memory", [1, 10 ** 6])
def test_bytes_can_be_appended_after_reading(in_memory):
  spool = spools.Spool(in_memory)
  assert spool.append(np.arange(3, dtype=np.uint8)) == 0
  assert spool.read(1, 1) == b"\1"
  assert spool.append(np.uint8([7]), np.uint8([8, 9])) == 3
  assert spool.read(2, 4) == b"\2\7\x08\x09"


def test_a_spool_leaves_memory_when_it_grows(monkeypatch, tmp_path):
  monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
  spool = spools.Spool(in_memory=10)
  spool.append(np.zeros(10, np.uint8))
  assert not spool._file._rolled
  spool.append(np.zeros(1, np.uint8))
  assert spool._file._rolled
  assert not list(tmp_path.iterdir())  # It has no name, so nothing is left.


def test_a_full_disk_names_the_folder():
  spool = spools.Spool()

  class Full:
    def seek(self, _):
      pass

    def write(self, _):
      raise OSError(errno.ENOSPC, "No space left on device")

  spool._file = Full()
  with pytest.raises(errors.InputError, match="TMPDIR.*Received: .*No space"):
    spool.append(np.zeros(1))


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_rows_of_a_class_keep_their_order(chunk):
  random = np.random.default_rng(0)
  class_ids = random.integers(0, 5, 200)
  rows = np.empty(200, [("score", np.float32), ("hit", np.bool_)])
  rows["score"], rows["hit"] = random.uniform(size=200), class_ids % 2
  kept = spools.ByClass(6, rows.dtype, chunk)
  for first in range(0, 200, 13):
    part = slice(first, first + 13)
    kept.add(class_ids[part], rows[part])
    if first == 104:  # Reading in between changes nothing.
      np.testing.assert_array_equal(
          kept.read(2), rows[:117][class_ids[:117] == 2])
  for class_id in range(6):
    np.testing.assert_array_equal(
        kept.read(class_id), rows[class_ids == class_id])


def test_no_rows_at_all():
  kept = spools.ByClass(2, [("score", np.float32)])
  kept.add(np.zeros([0], np.int32), np.zeros([0], kept.dtype))
  assert kept.read(1).shape == (0,)


def test_a_sequence_is_a_list():
  _, found = fakes.split(
      np.random.default_rng(0), num_images=7, num_classes=3)
  found.insert(3, fakes.detections([], [], []))
  kept = detection.sequence()
  for one in found:
    kept.append(one)
  assert len(kept) == len(found)
  for one, other in zip(found, kept):
    for name in ("boxes", "class_ids", "scores"):
      np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
      assert getattr(one, name).dtype == getattr(other, name).dtype
  np.testing.assert_array_equal(kept[5].scores, found[5].scores)
  assert kept[3].boxes.shape == (0, 4)
  with pytest.raises(IndexError):
    kept[len(found)]  # pylint: disable=expression-not-assigned
