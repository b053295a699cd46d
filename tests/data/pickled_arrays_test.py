"""Tests of pickles of arrays: what is read, what is refused and not run."""

import collections
import os
import pickle
import re
import shutil
import struct
import tempfile
import tracemalloc

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import pickled_arrays
from tests.data import fake_pickles

_ran = []


class _Runs:

  def __reduce__(self):
    return _ran.append, (1,)


class PickledArraysTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, directory)
    self._path = os.path.join(directory, "p.pkl")
    _ran.clear()

  def _read(self, content):
    with open(self._path, "wb") as file:
      file.write(content)
    return pickled_arrays.read(self._path, "a pickle")

  def _refused(self, content, message):
    with self.assertRaisesRegex(
        errors.InputError, rf"p\.pkl: expected a pickle\. Received: {message}"):
      self._read(content)

  @parameterized.product(
      protocol=(0, 1, 2, 3, 4, 5),
      dtype=("<f4", "<f8", ">f8", "<i2", "u1", "<u8", "?", "<U6", "S3"),
      order=("C", "F"))
  def test_arrays_are_read_as_pickle_reads_them(self, protocol, dtype, order):
    array = np.arange(12).reshape(3, 4).astype(dtype, order=order)
    content = pickle.dumps(
        {"a": [array, array[:1], array[:0]], "b": (array, 1.5, None, "é"),
         "c": collections.OrderedDict(d=[array[0, 0]]), "e": b"\xff\0"},
        protocol)
    ours, theirs = self._read(content), pickle.loads(content)
    for one, other in zip(ours["a"] + [ours["b"][0]],
                          theirs["a"] + [theirs["b"][0]]):
      np.testing.assert_array_equal(one, other)
      self.assertEqual((one.dtype.newbyteorder("="), one.shape),
                       (other.dtype.newbyteorder("="), other.shape))
    self.assertEqual(ours["b"][1:], [1.5, None, "é"])
    self.assertEqual(ours["c"]["d"], [array[0, 0].item()])
    self.assertEqual(ours["e"], b"\xff\0")

  @parameterized.parameters(b"numpy.core.", b"numpy._core.")
  def test_numpy_1_and_2_name_their_modules_differently(self, named):
    content = pickle.dumps([np.eye(2), np.float32(3)], 2)
    content = re.sub(rb"numpy\._?core\.", named, content)
    self.assertIn(named + b"multiarray", content)
    ours = self._read(content)
    np.testing.assert_array_equal(ours[0], np.eye(2))
    self.assertEqual(ours[1], 3.0)

  def test_python_2(self):
    ours = self._read(fake_pickles.PYTHON_2)
    self.assertEqual(ours["indexes"], [12])
    np.testing.assert_array_equal(ours["boxes"][0], [[1, 2, 3, 4]])

  def test_the_mode_of_detectron2s_boxes_is_its_number(self):
    mode = b"cdetectron2.structures.boxes\nBoxMode\n(K\x01tR"
    self.assertEqual(self._read(b"\x80\x02}X\x01\0\0\0m" + mode + b"s."),
                     {"m": 1})
    self._refused(mode.replace(b"K\x01", b"]") + b".", "a mode of boxes")

  def test_an_array_of_arrays_is_a_list(self):
    array = np.empty([2], object)
    array[:] = [np.eye(2), np.zeros([0, 4])]
    ours = self._read(pickle.dumps({"boxes": array}))["boxes"]
    self.assertIsInstance(ours, list)
    np.testing.assert_array_equal(ours[0], np.eye(2))
    self.assertEqual(ours[1].shape, (0, 4))

  @parameterized.parameters(
      (b"cos\nsystem\n(S'true'\ntR.", r".*refers to os\.system"),
      (b"\x80\x04\x8c\x02os\x8c\x06system\x93.", r".*refers to os\.system"),
      (b"cbuiltins\neval\n.", r".*refers to builtins\.eval"),
      (b"c__builtin__\neval\n.", r".*refers to __builtin__\.eval"),
      (b"cnumpy\nload\n.", r".*refers to numpy\.load"),
      (b"cnumpy.core.multiarray\nfromfile\n.", r".*refers to .*\.fromfile"),
      (b"\x80\x04\x8c\x05numpy\x8c\x0edtype.__init__\x93.",
       r".*refers to numpy\.dtype\.__init__"),
      (pickle.dumps(_Runs(), 2), ".*refers to builtins.getattr|.*refers to"),
      (pickle.dumps(slice(3), 4), r".*refers to builtins\.slice"),
      (pickle.dumps({1, 2}, 2), r".*refers to __builtin__\.set"),
      (pickle.dumps(np.ma.zeros(3)), r".*refers to numpy\.ma"),
      (b"(i__main__\nA\n.", "a pickle with INST"),
      (b"P1\n.", "a pickle with PERSID"), (b"\x82\x01.", "a pickle with EXT1")
  )
  def test_anything_else_is_refused_by_name_and_not_run(self, content, message):
    self._refused(content, message)
    self.assertEmpty(_ran)

  @parameterized.parameters(
      (np.zeros(2, "i4,f4"), "neither numbers nor text"),
      (np.zeros(2, "M8[s]"), "neither numbers nor text"),
      (np.zeros(2, complex), "neither numbers nor text"),
      (np.empty([2, 2], object), "array of objects that is not a list"))
  def test_arrays_of_other_types(self, array, message):
    self._refused(pickle.dumps(array), f".*{message}")

  @parameterized.parameters(
      b"", b"text", b"\x80\x09.", b"}", b".", b"0.", b"(.", b"\x93.",
      fake_pickles.PYTHON_2[:-20],
      fake_pickles.PYTHON_2.replace(b"K\x04\x86", b"K\x05\x86"),
      fake_pickles.PYTHON_2.replace(
          b"U\x01bq\x06\x87Rq\x07(", b"U\x01bq\x06\x87("),
      b"cnumpy\ndtype\n.", b"cnumpy\ndtype\n}S'call'\nI1\nsb.")
  def test_a_damaged_file_is_named(self, content):
    self._refused(content, "")

  def test_a_slot_of_the_memo_takes_no_memory(self):
    for content in (b"}r" + struct.pack("<I", 2 ** 31) + b".",
                    b"}p999999999\n."):
      tracemalloc.start()
      try:
        self.assertEqual(self._read(content), {})
        self.assertLess(tracemalloc.get_traced_memory()[1], 10 ** 7)
      finally:
        tracemalloc.stop()

  def test_bytes_that_say_they_are_huge(self):
    tracemalloc.start()
    try:
      self._refused(b"\x80\x05\x96" + struct.pack("<Q", 2 ** 40) + b"x.", "")
      self.assertLess(tracemalloc.get_traced_memory()[1], 10 ** 7)
    finally:
      tracemalloc.stop()

  def test_one_text_for_many_arrays_is_not_copied_without_end(self):
    text = b"X" + struct.pack("<I", 2 ** 20) + b"a" * 2 ** 20
    once = b"c_codecs\nencode\nh\x00X\x06\x00\x00\x00latin1\x86Ra"
    self._refused(b"\x80\x02]" + text + b"q\x000" + once * 300 + b".",
                  "arrays larger than their file could hold")

  def test_tuples_in_tuples_are_never_hashed(self):
    for deep in (b"\x85" * 500_000, b"q\x000h\x00\x85" * 500, b"2\x86" * 64):
      self._refused(b"\x80\x02}K\x01" + deep + b"K\x01s.", "a damaged pickle")
    self.assertLen(self._read(b"\x80\x02]K\x01" + b"2\x86" * 64 + b"a."), 1)

  def test_a_function_is_no_data(self):
    for content in (b"cnumpy\ndtype\n.", b"]cnumpy\ndtype\na.",
                    b"}U\x01acnumpy\ndtype\ns.",
                    b"]cnumpy\ndtype\n(U\x02f4tRa."):
      self._refused(content, "a function or type in place of data")

  def test_lists_that_share_lists_are_read_once(self):
    content = b"\x80\x02]K\x01aq\x00"
    for slot in range(40):  # 2 ** 40 numbers, if each were visited.
      content += b"]h" + bytes([slot]) + b"ah" + bytes([slot]) + b"aq" + bytes(
          [slot + 1])
    self.assertLen(self._read(content + b"."), 2)


if __name__ == "__main__":
  absltest.main()
