"""Tests of proposal files: both layouts, both MATLAB formats, what is wrong."""

import os
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import h5py
import numpy as np
from scipy import io

from kdwsd import errors
from kdwsd.data import proposal_files

# Pixels of an image of 100 x 200, counted from 1, both ends inside:
# (ymin, xmin, ymax, xmax). As fractions: 0 to 50 of 100, 0 to 100 of 200.
_MATLAB = np.array([[1, 1, 50, 100], [11, 21, 100, 200]])
_FRACTIONS = np.array([[0, 0, 0.5, 0.5], [0.1, 0.1, 1, 1]])
_NAMES = ("000005", "000007")


def _cell(values, column=False):
  cell = np.empty([1, len(values)], object)
  for place, value in enumerate(values):
    cell[0, place] = value
  return cell.T if column else cell


class _FilesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self._directory)

  def _path(self, name):
    return os.path.join(self._directory, name)


class NpzTest(_FilesTest):

  def test_what_is_written_is_read(self):
    path = self._path("p.npz")
    proposal_files.write(path, {
        "a": (_FRACTIONS, [0.9, 0.8]), "b": (np.zeros([0, 4]), []),
        "c": (_FRACTIONS[:1], [0.5])})
    file = proposal_files.open_file(path)
    self.assertLen(file, 3)
    for name, count in (("a", 2), ("b", 0), ("c", 1)):
      boxes, scores = file.lookup(name, 100, 200)
      np.testing.assert_allclose(boxes, _FRACTIONS[:count], atol=1e-7)
      self.assertEqual(scores.shape, (count,))
      self.assertEqual((boxes.dtype, scores.dtype), (np.float32, np.float32))

  def test_an_empty_file_is_no_error(self):
    path = self._path("p.npz")
    proposal_files.write(path, {})
    self.assertEmpty(proposal_files.open_file(path))

  def test_pixels_and_no_scores(self):
    path = self._path("p.npz")
    np.savez(path, image_ids=["a"], counts=[2], unit="pixel",
             boxes=[[0, 0, 50, 100], [10, 20, 100, 200]])
    boxes, scores = proposal_files.open_file(path).lookup("a", 100, 200)
    np.testing.assert_allclose(boxes, _FRACTIONS, atol=1e-7)
    np.testing.assert_array_equal(scores, [1, 1])

  def test_best_first_and_clipped(self):
    path = self._path("p.npz")
    np.savez(path, image_ids=["a"], counts=[3], scores=[0.1, 0.7, 0.7],
             boxes=[[0, 0, 1, 1], [-0.004, 0, 1, 1.004], [0, 0, 0.5, 1]])
    boxes, scores = proposal_files.open_file(path).lookup("a", 100, 200)
    np.testing.assert_allclose(
        boxes, [[0, 0, 1, 1], [0, 0, 0.5, 1], [0, 0, 1, 1]])
    np.testing.assert_allclose(scores, [0.7, 0.7, 0.1])

  def test_folder_and_extension_may_differ(self):
    path = self._path("p.npz")
    box = (_FRACTIONS[:1], [1])
    proposal_files.write(path, {
        "train/000005.jpg": box, "train/1.jpg": box, "val/1.jpg": box})
    file = proposal_files.open_file(path)
    self.assertLen(file.lookup("000005", 9, 9)[0], 1)
    self.assertLen(file.lookup("val/1.jpg", 9, 9)[0], 1)
    with self.assertRaisesRegex(errors.InputError, "'1'"):
      file.lookup("1", 9, 9)  # Which one?

  @parameterized.parameters(
      ([0.5, 0, 0.5, 1], 1), ([0, 0, 1.02, 1], 1), ([-0.02, 0, 1, 1], 1),
      ([0, np.nan, 1, 1], 1), ([0, 0, 1, 1], np.inf))
  def test_a_wrong_box_is_named(self, box, score):
    path = self._path("p.npz")
    proposal_files.write(
        path, {"a": ([[0, 0, 1, 1], box], [0.5, score])})
    with self.assertRaisesRegex(errors.InputError, r"p\.npz.*'a'.*box 2"):
      proposal_files.open_file(path).lookup("a", 100, 200)

  @parameterized.parameters(
      (dict(image_ids=["a"], boxes=np.zeros([1, 4])), "counts"),
      (dict(image_ids=["a"], counts=[2], boxes=np.zeros([1, 4])), "sum 2"),
      (dict(image_ids=["a"], counts=[1, 0], boxes=np.zeros([1, 4])), "2 c"),
      (dict(image_ids=["a"], counts=[1], boxes=np.zeros([1, 5])), r"\[1, 5\]"),
      (dict(image_ids=["a"], counts=[1], boxes=np.zeros([1, 4]),
            scores=np.zeros(3)), r"scores \[3\]"),
      (dict(image_ids=["a"], counts=[1], boxes=np.zeros([1, 4]),
            unit="inch"), "inch"),
      (dict(image_ids=["a", "a"], counts=[1, 0], boxes=np.zeros([1, 4])),
       "twice"))
  def test_a_wrong_layout_is_named(self, arrays, message):
    path = self._path("p.npz")
    np.savez(path, **arrays)
    with self.assertRaisesRegex(errors.InputError, message):
      proposal_files.open_file(path)

  @parameterized.parameters(
      (dict(counts=["a"]), "sum None"),
      (dict(counts=np.array([2 ** 63, 2 ** 63], np.uint64),
            image_ids=["a", "b"], boxes=np.zeros([0, 4])), f"sum {2 ** 64}"),
      (dict(counts=[1.0]), "sum None"), (dict(image_ids=[1.5]), "as text"),
      (dict(image_ids=[b"\xff"]), "as text"),
      (dict(boxes=np.zeros([1, 4], complex)), "expected numbers"),
      (dict(boxes=[["a"] * 4]), "expected numbers"),
      (dict(boxes=np.zeros([1, 4], "M8[s]")), "expected numbers"))
  def test_arrays_of_another_type(self, changes, message):
    path = self._path("p.npz")
    np.savez(path, **{"image_ids": ["a"], "counts": [1],
                      "boxes": [[0, 0, 1, 1.]], **changes})
    with self.assertRaisesRegex(errors.InputError, rf"p\.npz: .*{message}"):
      proposal_files.open_file(path)

  @parameterized.parameters(
      ([0, 0, 1, 1], "x"), ([0, 0, 1, 1], 1j), ([0, 0, 1, 1], 1e300),
      ([0, 0, 1, 1e300], 1))
  def test_numbers_that_are_none_are_named(self, box, score):
    path = self._path("p.npz")
    np.savez(path, image_ids=["a"], counts=[1], boxes=[box], scores=[score])
    with self.assertRaisesRegex(errors.InputError, "'a'"):
      proposal_files.open_file(path).lookup("a", 9, 9)

  def test_names_may_be_bytes_or_numbers(self):
    path = self._path("p.npz")
    for names, wanted in (([b"a.jpg", "é".encode()], "é"), ([5, 7], "7")):
      np.savez(path, image_ids=np.array(names), counts=[0, 1],
               boxes=[[0, 0, 1, 1.]])
      self.assertLen(proposal_files.open_file(path).lookup(wanted, 9, 9)[0], 1)

  def test_pickles_stay_closed(self):
    path = self._path("p.npz")
    np.savez(path, image_ids=np.array(["a", None]), counts=[0, 0],
             boxes=np.zeros([0, 4]))
    with self.assertRaisesRegex(errors.InputError, "plain arrays"):
      proposal_files.open_file(path)

  @parameterized.parameters(b"", b"PK\x03\x04 and no more", b"text")
  def test_a_damaged_file_is_named(self, content):
    path = self._path("p.npz")
    with open(path, "wb") as file:
      file.write(content)
    with self.assertRaisesRegex(errors.InputError, r"p\.npz"):
      proposal_files.open_file(path)

  @parameterized.parameters("p.txt", "p", "gone.npz", "gone.mat")
  def test_no_such_file_or_kind(self, name):
    with self.assertRaisesRegex(errors.InputError, name):
      proposal_files.open_file(self._path(name))


class MatTest(_FilesTest):

  @parameterized.product(column=(False, True), scored=(False, True))
  def test_matlab_5(self, column, scored):
    path = self._path("voc_2007_trainval.mat")
    cells = {"images": _cell(_NAMES, column),
             "boxes": _cell([_MATLAB.astype(np.uint16),
                             np.zeros([0, 4])], column)}
    if scored:
      cells["boxScores"] = _cell(
          [np.array([[0.2], [0.3]]), np.zeros([0, 1])], column)
    io.savemat(path, cells)
    file = proposal_files.open_file(path)
    boxes, scores = file.lookup("000005", 100, 200)
    order = [1, 0] if scored else [0, 1]
    np.testing.assert_allclose(boxes, _FRACTIONS[order], atol=1e-7)
    np.testing.assert_allclose(scores, [0.3, 0.2] if scored else [1, 1])
    self.assertEmpty(file.lookup("000007", 100, 200)[0])

  def test_matlab_7_3(self):
    path = self._path("EdgeBoxes.mat")
    with h5py.File(path, "w") as file:
      def put(name, arrays, empty=()):
        references = []
        for place, array in enumerate(arrays):
          entry = file.create_dataset(f"#refs#/{name}{place}", data=array)
          if place in empty:
            entry.attrs["MATLAB_empty"] = 1
          references.append(entry.ref)
        file.create_dataset(name, data=np.array(
            references, h5py.ref_dtype).reshape(-1, 1), dtype=h5py.ref_dtype)
      codes = [np.array([[ord(c)] for c in name], np.uint16)
               for name in _NAMES]
      put("images", codes)
      # Axes are reversed, and an empty array is stored as its shape.
      put("boxes", [_MATLAB.T, np.array([0, 4], np.uint64)], empty=(1,))
      put("boxScores", [np.array([[0.3, 0.2]]), np.array([0, 0], np.uint64)],
          empty=(1,))
    file = proposal_files.open_file(path)
    boxes, scores = file.lookup("JPEGImages/000005.jpg", 100, 200)
    np.testing.assert_allclose(boxes, _FRACTIONS, atol=1e-7)
    np.testing.assert_allclose(scores, [0.3, 0.2])
    self.assertEmpty(file.lookup("000007", 100, 200)[0])

  @parameterized.parameters(
      (dict(boxes=_cell([_MATLAB])), "no images"),
      (dict(images=_cell(["a", "b"]), boxes=_cell([_MATLAB])), "one length"),
      (dict(images=_cell(["a"]), boxes=_MATLAB), "a cell"))
  def test_a_wrong_layout_is_named(self, content, message):
    path = self._path("p.mat")
    io.savemat(path, content)
    with self.assertRaisesRegex(errors.InputError, message):
      proposal_files.open_file(path)

  def test_a_damaged_file_is_named(self):
    path = self._path("p.mat")
    with open(path, "wb") as file:
      file.write(b"MATLAB 5.0 MAT-file" + b"\0" * 200)
    with self.assertRaisesRegex(errors.InputError, r"p\.mat"):
      proposal_files.open_file(path)

  def test_scores_of_another_number_are_named(self):
    path = self._path("p.mat")
    io.savemat(path, dict(images=_cell(["a"]), boxes=_cell([_MATLAB]),
                          boxScores=_cell([np.ones([3, 1])])))
    with self.assertRaisesRegex(errors.InputError, "2 boxes"):
      proposal_files.open_file(path).lookup("a", 100, 200)


if __name__ == "__main__":
  absltest.main()
