"""Tests of proposal files: every layout with its boxes, and what is wrong."""

import os
import pickle
import shutil
import tempfile
import uuid
import warnings

from absl.testing import absltest
from absl.testing import parameterized
import h5py
import numpy as np
from scipy import io

from kdwsd import errors
from kdwsd import files
from kdwsd.data import proposal_files
from kdwsd.data import proposal_npz
from tests.data import fake_pickles

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


class RemoteTest(_FilesTest):

  def test_files_on_other_file_systems_are_read_as_local_ones(self):
    proposal_npz.write(self._path("p.npz"), {"a": (_FRACTIONS, [0.9, 0.8])})
    with open(self._path("p.pkl"), "wb") as file:
      pickle.dump({"ids": ["a"], "boxes": [np.array([[5, 5, 60, 60]])],
                   "objectness_logits": [[0.5]], "bbox_mode": 0}, file)
    os.mkdir(self._path("folder"))
    for name in "p.mat", "folder/a.mat":
      io.savemat(self._path(name), {
          "images": _cell(["a"]), "boxes": _cell([_MATLAB]),
      } if name == "p.mat" else {"bboxes": _MATLAB})
    with h5py.File(self._path("folder/b.mat"), "w") as file:
      file["bboxes"] = _MATLAB.T
    remote = f"ram://{uuid.uuid4().hex}"
    for where, _, names in os.walk(self._directory):
      for name in names:
        path = os.path.join(where, name)
        files.upload(path, remote + path[len(self._directory):])
    for name in "p.npz", "p.pkl", "p.mat", "folder":
      given, other = (
          proposal_files.open_file(f"{place}/{name}", order=None)
          for place in (self._directory, remote))
      self.assertEqual(len(other), len(given))
      for image in ("a", "b") if name == "folder" else ("a",):
        np.testing.assert_array_equal(
            other.lookup(image, 100, 200)[0], given.lookup(image, 100, 200)[0])
    with self.assertRaisesRegex(errors.InputError, f"{remote}/x.mat: .*no suc"):
      proposal_files.open_file(f"{remote}/x.mat")


class NpzTest(_FilesTest):

  def test_what_is_written_is_read(self):
    path = self._path("p.npz")
    proposal_npz.write(path, {
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
    proposal_npz.write(path, {})
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
    proposal_npz.write(path, {
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
    proposal_npz.write(
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

  def test_a_signaling_nan_is_refused_without_a_warning(self):
    path = self._path("p.npz")
    np.savez(path, image_ids=["a"], counts=[1], boxes=np.array(
        [[0, 0, 1, 0x7f800001]], np.uint32).view(np.float32))
    with warnings.catch_warnings():
      warnings.simplefilter("error")
      with self.assertRaisesRegex(errors.InputError, "nan"):
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
      (dict(images=_cell(["a"])), "no boxes"),
      (dict(boxes=_cell([_MATLAB]), bboxes=_MATLAB), "boxes and bboxes"),
      (dict(images=_cell(["a", "b"]), boxes=_cell([_MATLAB])), "equal length"),
      (dict(images=_cell(["a"]), boxes=_MATLAB), "a cell"),
      (dict(bboxes=_MATLAB, scores=_cell([_MATLAB])), "an array"),
      (dict(boxes=_cell([_MATLAB]), boxScores=_MATLAB), "equal length|a cell"))
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

  def test_one_image_a_file_as_mcg_shares_them(self):
    folder = self._path("mcg")
    os.makedirs(os.path.join(folder, "00"))
    for name, variable, scores, content in (
        ("00/000005.mat", "bboxes", "scores", _MATLAB),
        ("000007.mat", "boxes", "bboxes_scores", _MATLAB[:1])):
      io.savemat(os.path.join(folder, name), {
          variable: content.astype(np.float64),
          scores: np.array([[0.2], [0.3]])[:len(content)],
          "superpixels": np.zeros([3, 3], np.int16)})
    file = proposal_files.open_file(folder)
    boxes, scores = file.lookup("000005", 100, 200)
    np.testing.assert_allclose(boxes, _FRACTIONS[::-1], atol=1e-7)
    np.testing.assert_allclose(scores, [0.3, 0.2])
    np.testing.assert_allclose(
        file.lookup("JPEGImages/000007.jpg", 100, 200)[0], _FRACTIONS[:1])
    alone = proposal_files.open_file(os.path.join(folder, "000007.mat"))
    np.testing.assert_allclose(
        alone.lookup("000007", 100, 200)[0], _FRACTIONS[:1])
    with self.assertRaisesRegex(
        errors.InputError, r"one image, '000007'; .* pass their folder"):
      alone.lookup("000005", 100, 200)

  def test_mcg_of_matlab_7_3(self):
    path = self._path("000005.mat")
    with h5py.File(path, "w") as file:
      file.create_dataset("bboxes", data=_MATLAB.T)
      file.create_dataset("scores", data=np.array([[0.3, 0.2]]))
    boxes, scores = proposal_files.open_file(path).lookup("000005", 100, 200)
    np.testing.assert_allclose(boxes, _FRACTIONS, atol=1e-7)
    np.testing.assert_allclose(scores, [0.3, 0.2])

  def test_a_folder_without_mat_files(self):
    with open(self._path("a.txt"), "wb"):
      pass
    with self.assertRaisesRegex(errors.InputError, "and 1 other files"):
      proposal_files.open_file(self._directory)

  @parameterized.parameters(
      ("yxyx", _MATLAB), ("xyxy", _MATLAB[:, [1, 0, 3, 2]] - 1),
      ("xywh", np.array([[1, 1, 100, 50, 0.3], [21, 11, 180, 90, 0.2]])))
  def test_all_boxes_go_by_the_order_of_the_images(self, order, boxes):
    path = self._path("all_boxes.mat")
    io.savemat(path, dict(all_boxes=_cell([boxes, np.zeros([0, 4])])))
    with self.assertRaisesRegex(errors.InputError, "--proposals_order=yxyx|xy"):
      proposal_files.match(path, _NAMES)  # Scripts differ, nothing tells.
    line, ids = proposal_files.match(path, _NAMES, order=order)
    self.assertRegex(line, "matched by their order, 000005 to 000007")
    file = proposal_files.open_file(path, order=order, image_ids=ids)
    found, scores = file.lookup("000005", 100, 200)
    np.testing.assert_allclose(found, _FRACTIONS, atol=1e-7)
    np.testing.assert_allclose(scores, [.3, .2] if order == "xywh" else [1, 1])
    self.assertEmpty(file.lookup("000007", 100, 200)[0])
    with self.assertRaisesRegex(errors.InputError, "Received: 2 and 3"):
      proposal_files.match(path, _NAMES + ("000009",), order=order)

  def test_the_order_can_be_given(self):
    path = self._path("xyxy.mat")
    io.savemat(path, dict(images=_cell(["000005.jpg"]),
                          boxes=_cell([_MATLAB[:, [1, 0, 3, 2]]])))
    with self.assertRaisesRegex(
        errors.InputError, r"box 2 = .* all boxes of the image are within: "
        r"--proposals_order=xyxy\."):
      proposal_files.open_file(path).lookup("000005", 100, 200)
    file = proposal_files.open_file(path, order="xyxy")
    np.testing.assert_allclose(
        file.lookup("000005", 100, 200)[0], _FRACTIONS, atol=1e-7)


class PickleTest(_FilesTest):

  def _pickle(self, content):
    path = self._path("p.pkl")
    with open(path, "wb") as file:
      pickle.dump(content, file, 2)
    return path

  def _check(self, path, scores, order=None, name="000005"):
    file = proposal_files.open_file(path, order=order, image_ids=_NAMES)
    boxes, found = file.lookup(name, 100, 200)
    np.testing.assert_allclose(boxes, _FRACTIONS, atol=1e-7)
    np.testing.assert_allclose(found, scores)
    self.assertEmpty(file.lookup("000007", 100, 200)[0])

  @parameterized.product(
      ids=("indexes", "ids"), numbers=(False, True), stacked=(False, True))
  def test_lists_of_detectron(self, ids, numbers, stacked):
    # (xmin, ymin, xmax, ymax), pixels from 0, both ends inside.
    names = [5, 7] if numbers else ["000005", "000007"]
    boxes = [np.array([[0, 0, 99, 49], [20, 10, 199, 99]], np.uint16),
             np.zeros([0, 4])]
    scores = [np.array([0.9, 0.8]), np.zeros([0])]
    if stacked:
      boxes, scores, names = (np.stack([boxes[0]] * 2),
                              np.stack([scores[0]] * 2), np.array(names))
    path = self._pickle({"boxes": boxes, "scores": scores, ids: names})
    if stacked:
      found, _ = proposal_files.open_file(path).lookup("000007", 100, 200)
      np.testing.assert_allclose(found, _FRACTIONS, atol=1e-7)
    else:
      self._check(path, [0.9, 0.8])

  @parameterized.parameters(
      (dict(), [[0, 0, 100, 50], [20, 10, 200, 99.5]], 99.5),
      (dict(bbox_mode=1), [[0, 0, 100, 50], [20, 10, 180, 90]], 100),
      (dict(bbox_mode=0), [[0, 0, 99, 49], [20, 10, 199, 99]], 100))
  def test_edges_of_detectron2(self, mode, boxes, last):
    # Edges, unless all numbers are whole: those are pixels.
    path = self._pickle({
        "boxes": [np.array(boxes)], "objectness_logits": [np.array([2, -1.])],
        "ids": ["000005"], **mode})
    found, scores = proposal_files.open_file(path).lookup("000005", 100, 200)
    np.testing.assert_allclose(
        found, [_FRACTIONS[0], [0.1, 0.1, last / 100, 1]], atol=1e-7)
    np.testing.assert_allclose(scores, [2, -1])

  def test_a_pickle_of_python_2(self):
    path = self._path("p.pkl")
    with open(path, "wb") as file:
      file.write(fake_pickles.PYTHON_2)
    boxes, _ = proposal_files.open_file(path).lookup("000012", 10, 10)
    np.testing.assert_allclose(boxes, [[0.2, 0.1, 0.5, 0.4]], atol=1e-7)

  @parameterized.parameters(
      ({5: [[0, 0, 99, 49, .9], [20, 10, 199, 99, .8]], 7: []},),
      ({"000005.jpg": {"boxes": [[0, 0, 99, 49], [20, 10, 199, 99]],
                       "scores": [.9, .8]}, "7": {"boxes": []}},),
      ([np.array([[0, 0, 99, 49, .9], [20, 10, 199, 99, .8]]),
        np.zeros([0, 5])],))
  def test_layouts_that_do_not_tell_the_order(self, content):
    path = self._pickle(content)
    with self.assertRaisesRegex(errors.InputError, "--proposals_order="):
      proposal_files.open_file(path, image_ids=_NAMES)
    self._check(path, [0.9, 0.8], order="xyxy")

  @parameterized.parameters(
      ({}, "a dict of 0"), (5, "Received: 5"), ([], "a list of 0"),
      (10 ** 40, "more than 30 digits"), ({"boxes": 1}, "a list under boxes"),
      ({"boxes": [np.eye(4)], "ids": [1, 2]}, "equal length"),
      ({"boxes": [np.eye(4)], "ids": [1.5]}, "names or integers"),
      ({"boxes": [np.eye(4)], "ids": [10 ** 31]}, "names or integers"),
      ({"boxes": [np.eye(4)], "ids": [1], "indexes": [1]}, "ids"),
      ({"boxes": [np.eye(4)], "ids": [1], "bbox_mode": 2}, "bbox_mode"),
      ({"boxes": [np.eye(4)], "ids": [1]}, "no number above 1"),
      ({"boxes": [np.eye(3)], "ids": [1]}, r"\[n, 4\] .*\[3, 3\]"),
      ({"boxes": [[[1, 2, 3]]], "ids": [1]}, "a list of 1"),
      ({"boxes": [[["a"] * 4]], "ids": [1]}, "a list of 1"),
      ({"boxes": [np.eye(4)], "ids": [1], "scores": ["a"]}, "a score for"),
      ({"a": [[1, 2, 3, 4], [5]]}, r"'a': expected boxes"),
      ([[[1, 2, 3, 4]], None], "entry 1: expected boxes"))
  def test_a_wrong_layout_is_named(self, content, message):
    with self.assertRaisesRegex(errors.InputError, rf"p\.pkl.*{message}"):
      proposal_files.open_file(self._pickle(content), order="xyxy",
                               image_ids=["a"])


class MatchTest(_FilesTest):

  def _file(self, names):
    path = self._path("p.npz")
    np.savez(path, image_ids=names, counts=[1] * len(names),
             boxes=[[0, 0, 1, (i + 1) / 8] for i in range(len(names))])
    return path

  @parameterized.parameters(
      ([12, 17], "000017"), (["12", "17"], "val/000017.png"),
      (["000012.jpg", "000017.jpeg"], "000017"),
      (["a/12.jpg", "b/17.jpg"], "c/000017.TIF"),
      ([2008000012, 2008000017], "2008_000017"),
      (["COCO_val2014_000000000012", "COCO_val2014_000000000017"], "17"))
  def test_numbers_and_endings(self, names, wanted):
    file = proposal_files.open_file(self._file(names))
    np.testing.assert_allclose(
        file.lookup(wanted, 10, 10)[0], [[0, 0, 1, 0.25]])

  def test_whole_names_come_first(self):
    file = proposal_files.open_file(self._file(["12", "000012"]))
    for place, name in enumerate(["12", "000012"]):
      np.testing.assert_allclose(
          file.lookup(name, 10, 10)[0], [[0, 0, 1, (place + 1) / 8]])
    with self.assertRaisesRegex(errors.InputError, "'0012'.*several"):
      file.lookup("0012", 10, 10)

  def test_no_two_images_share_proposals(self):
    path = self._file([12, 17])
    self.assertRegex(proposal_files.match(path, ["000012", "000017"])[0],
                     "proposals of 2 images, 2 of the split's 2; boxes are "
                     "read as ymin, xmin, ymax, xmax")
    for ids in (["000012", "12"], ["a/000012", "b/000012"]):
      with self.assertRaisesRegex(errors.InputError, "same one for '.*12' and"):
        proposal_files.match(path, ids)
    with self.assertRaisesRegex(errors.InputError, "'a'"):
      proposal_files.match(path, ["a", "b"])


if __name__ == "__main__":
  absltest.main()
