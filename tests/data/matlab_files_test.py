"""Tests of MATLAB's files: what they hold, and what would end a process."""

import os
import shutil
import struct
import tempfile
import tracemalloc

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
from scipy import io

from kdwsd import errors
from kdwsd.data import matlab_files
from tests.fuzz.targets import proposals_mat as made

_NAMES = ("images", "boxes", "boxScores")


class MatlabFilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, directory)
    self.path = os.path.join(directory, "p.mat")

  def _write(self, content):
    with open(self.path, "wb") as file:
      file.write(content)

  def _refused(self, message):
    tracemalloc.start()
    try:
      with self.assertRaisesRegex(
          errors.InputError, rf"p\.mat: expected .* Received: .*{message}"):
        matlab_files.read(self.path, _NAMES)
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  @parameterized.product(
      packed=(True, False),
      dtype=("u1", "i2", "u2", "i4", "f4", "f8", "i8", "u8", "i1", "u4"))
  def test_agrees_with_scipy(self, packed, dtype):
    boxes = (np.arange(12).reshape(3, 4) * 7).astype(dtype)
    io.savemat(self.path, {
        "images": made.cell(["000005", "é", ""]), "other": np.eye(5),
        "boxes": made.cell([boxes, np.zeros([0, 4]), boxes[:1]])},
               do_compression=packed)
    cells = matlab_files.read(self.path, _NAMES)
    theirs = io.loadmat(self.path)["boxes"].reshape(-1)
    self.assertEqual(cells["images"], ["000005", "é", ""])
    self.assertEqual(set(cells), {"images", "boxes"})
    for ours, other in zip(cells["boxes"], theirs):
      np.testing.assert_array_equal(ours, other)
      self.assertEqual(ours.shape, other.shape)

  def test_a_file_of_another_byte_order(self):
    io.savemat(self.path, made.sound_level5())
    ours = matlab_files.read(self.path, _NAMES)
    self._write(made.big_endian())
    other = matlab_files.read(self.path, _NAMES)
    self.assertEqual(other["images"], ["000005", "a"])
    np.testing.assert_array_equal(other["boxes"][0], ours["boxes"][0])

  def test_variables_of_other_kinds_are_passed_over(self):
    io.savemat(self.path, {**made.sound_level5(), "s": {"a": 1}, "t": "text",
                           "c": np.eye(2) * 1j, "n": made.cell([1, "a"])})
    with open(self.path, "ab") as file:  # A table: flags, then names.
      file.write(struct.pack("<IIIIIIIIII", 14, 32, 6, 8, 17, 0, 1, 1, 0x74, 0))
    cells = matlab_files.read(self.path, _NAMES)
    self.assertEqual(set(cells), set(_NAMES))

  @parameterized.parameters(3, 100, 30_000)
  def test_cells_in_cells_do_not_end_the_process(self, depth):
    self._write(made.deep(depth))
    self._refused("neither text nor real numbers")

  def test_a_tag_that_lies_does_not_end_the_process(self):
    io.savemat(self.path, made.sound_level5())
    with open(self.path, "rb") as file:
      whole = file.read()
    for place in range(128, len(whole) - 4, 4):
      for value in (0, 14, 15, 0x7fffffff, 0xffffffff):
        self._write(whole[:place] + value.to_bytes(4, "little")
                    + whole[place + 4:])
        try:
          matlab_files.read(self.path, _NAMES)
        except errors.InputError as error:
          self.assertIn("p.mat: expected a MATLAB file", str(error))

  def test_a_bomb_is_not_unpacked(self):
    self._write(made.packed_bomb())
    self.assertLess(os.path.getsize(self.path), 10 ** 6)
    self.assertLess(self._refused("bytes when unpacked, more than"), 10 ** 7)

  def test_hdf5_that_says_it_is_huge_is_not_read(self):
    self._write(made.level73(made.huge))
    self.assertLess(self._refused("not in the file"), 10 ** 7)

  def test_hdf5_does_not_read_other_files(self):
    self._write(made.level73(made.outside))
    self._refused("not in the file")

  @parameterized.parameters(
      (np.array([[1 + 2j]]), "real numbers"), ({"a": 1}, "real numbers"),
      (np.array(["ab", "cd"]), "one line"))
  def test_other_things_in_a_cell(self, value, message):
    io.savemat(self.path, {"images": made.cell(["a"]),
                           "boxes": made.cell([value])})
    self._refused(message)

  def test_numbers_are_no_names(self):
    io.savemat(self.path, {"images": made.cell([5.0])})
    self._refused("numbers in images")

  @parameterized.parameters(b"", b"text", b"\0" * 200,
                            b"MATLAB 5.0".ljust(126) + b"XX")
  def test_no_matlab_file(self, content):
    self._write(content)
    self._refused("another format")


if __name__ == "__main__":
  absltest.main()
