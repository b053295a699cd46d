"""Tests of arrays that people bring: what is damaged, pickled, or a bomb."""

import io
import os
import shutil
import tempfile
import tracemalloc
import zipfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import plain_arrays
from tests.fuzz.targets import proposals_npz as archives


class PlainArraysTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, directory)
    self.path = os.path.join(directory, "p.npz")

  def _write(self, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(self.path, "w", method) as archive:
      for name, content in members:
        archive.writestr(name, content)

  def _array(self, array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()

  def _refused(self, message):
    tracemalloc.start()
    try:
      with self.assertRaisesRegex(
          errors.InputError,
          rf"p\.npz: expected arrays. Received: .*{message}"):
        plain_arrays.read(self.path, "arrays")
      return tracemalloc.get_traced_memory()[1]
    finally:
      tracemalloc.stop()

  def test_arrays_come_back(self):
    np.savez_compressed(self.path, a=np.arange(3), b=np.array("text"),
                        c=np.zeros([0, 4]), d=np.asfortranarray(np.eye(3)))
    found = plain_arrays.read(self.path, "arrays")
    self.assertEqual(sorted(found), ["a", "b", "c", "d"])
    np.testing.assert_array_equal(found["a"], [0, 1, 2])
    np.testing.assert_array_equal(found["d"], np.eye(3))
    self.assertEqual(str(found["b"]), "text")

  def test_a_header_that_lies_makes_no_array(self):
    for shape in (f"({2 ** 40}, 4)", "(999999999999999999999999,)"):
      header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}}}"
      self._write([("a.npy", archives.forged(header.ljust(118) + "\n"))])
      self.assertLess(self._refused("its header's size"), 10 ** 7)

  def test_empty_texts_without_number(self):
    lie = f"{{'descr': '<U0', 'fortran_order': False, 'shape': {(2 ** 40,)}}}"
    self._write([("a.npy", archives.forged(lie.ljust(118) + "\n", b""))])
    self.assertLess(self._refused("bytes when unpacked, more than"), 10 ** 7)

  def test_a_bomb_is_not_unpacked(self):
    with open(self.path, "wb") as file:
      file.write(archives.bomb())
    self.assertLess(os.path.getsize(self.path), 10 ** 7)
    self.assertLess(self._refused("bytes when unpacked, more than"), 10 ** 7)

  def test_twice_the_same_name(self):
    with self.assertWarns(UserWarning):
      self._write([("a.npy", self._array(np.zeros(1)))] * 2)
    self._refused("twice")

  def test_a_member_that_is_no_array(self):
    for content in (
        b"", b"not an array", b"\x93NUMPY\x01\x00", archives.forged("{}"),
        b"\x93NUMPY\x03\x00" + b" " * 200, archives.forged("(" * 9000),
        archives.forged("-" * 9000 + "1")):
      self._write([("a.npy", content)])
      self._refused("")

  @parameterized.product(code=(0x110000, 0xffffffff, 0xd800), order=("<", ">"))
  def test_text_that_no_python_can_hold(self, code, order):
    names = np.array(["a", "bc"], order + "U2")
    np.savez(self.path, a=names)
    np.testing.assert_array_equal(
        plain_arrays.read(self.path, "arrays")["a"], ["a", "bc"])
    whole = self._array(names)
    codes = code.to_bytes(4, "little" if order == "<" else "big")
    self._write([("a.npy", whole[:-4] + codes)])
    self._refused("text that is not valid Unicode")

  def test_objects_stay_pickled(self):
    np.savez(self.path, a=np.array([archives.Pickled()], object))
    self._refused("pickled objects")
    self.assertEmpty(archives.opened)

  @parameterized.parameters(True, False)
  def test_every_cut_and_every_flip_is_named(self, cut):
    np.savez_compressed(self.path, a=np.arange(30))
    with open(self.path, "rb") as file:
      whole = file.read()
    for place in range(0, len(whole), 3):
      damaged = whole[:place] if cut else (
          whole[:place] + bytes([whole[place] ^ 255]) + whole[place + 1:])
      with open(self.path, "wb") as file:
        file.write(damaged)
      try:
        plain_arrays.read(self.path, "arrays")
      except errors.InputError as error:
        self.assertIn("p.npz: expected arrays. Received: ", str(error))
      else:  # A date, or the like.
        self.assertFalse(cut)

  def test_no_file(self):
    self._refused("No such file")

  def test_an_array_alone_is_no_archive(self):
    with open(self.path, "wb") as file:
      np.save(file, np.zeros([3, 4]))
    self._refused("not a zip file")


if __name__ == "__main__":
  absltest.main()
