"""Tests of proposals: known rectangles, order, limits, repeatability."""

import importlib.metadata
import importlib.util
import json
import os
import pickle
from unittest import mock
import xml.etree.ElementTree as ElementTree

from absl.testing import absltest
from absl.testing import parameterized
import cv2
import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd.data import proposals
from kdwsd.data import recall

# Rows 40 to 100 and columns 30 to 80; rows 20 to 70 and columns 120 to 180.
_OBJECTS = np.array([[40, 30, 100, 80], [20, 120, 70, 180]]) / (
    [120, 200, 120, 200])
_COMPUTED = ("edge_boxes", "selective_search")


def _image(scale=1, noise=4):
  """Two rectangles on a plain ground, [120, 200, 3] times `scale`."""
  image = np.full([120, 200, 3], 120.0)
  image[40:100, 30:80] = (200, 60, 60)
  image[20:70, 120:180] = (40, 70, 190)
  image += np.random.default_rng(0).normal(0, noise, image.shape)
  image = np.clip(image, 0, 255).astype(np.uint8)
  return image.repeat(scale, axis=0).repeat(scale, axis=1)


class ProposeTest(parameterized.TestCase):

  @parameterized.parameters(*_COMPUTED)
  def test_finds_rectangles(self, method):
    boxes, _ = proposals.propose(
        _image(), proposals.Settings(method=method, max_proposals=30))
    self.assertEqual(recall.matched(_OBJECTS, boxes, iou=0.8), 2)

  def test_pixels_are_counted_from_one_and_edges_run_through_their_middle(
      self):
    # The edges found are those of columns 30 and 80 and of rows 40 and 100,
    # from 0; OpenCV adds 1. The middle of column 30 is 30.5.
    finder = mock.Mock()
    finder.getBoundingBoxes.return_value = (
        np.array([[31, 41, 50, 60]]), np.array([[0.3]]))
    with mock.patch.object(
        cv2.ximgproc, "createEdgeBoxes", return_value=finder):
      boxes, scores = proposals.propose(_image(), proposals.Settings())
    np.testing.assert_allclose(
        box_ops.to_pixels(boxes, 120, 200), [[40.5, 30.5, 100.5, 80.5]],
        rtol=1e-6)
    np.testing.assert_allclose(scores, [0.3])

  @parameterized.parameters(*_COMPUTED)
  def test_order_limits_and_types(self, method):
    settings = proposals.Settings(
        method=method, max_proposals=7, min_side_pixels=15)
    boxes, scores = proposals.propose(_image(noise=20), settings)
    self.assertLessEqual(len(boxes), 7)
    self.assertEqual(boxes.shape, (len(scores), 4))
    self.assertEqual((boxes.dtype, scores.dtype), (np.float32, np.float32))
    self.assertTrue(np.all(np.diff(scores) <= 0))
    self.assertTrue(np.all((boxes >= 0) & (boxes <= 1)))
    sides = box_ops.to_pixels(boxes, 120, 200)
    self.assertGreaterEqual(np.min(sides[:, 2:] - sides[:, :2]), 14.99)
    self.assertLen(np.unique(boxes, axis=0), len(boxes))

  @parameterized.parameters(*_COMPUTED)
  def test_the_same_image_gives_the_same_boxes(self, method):
    settings = proposals.Settings(method=method, max_proposals=50)
    first = proposals.propose(_image(noise=20), settings)
    proposals.propose(_image(noise=3), settings)  # Another in between.
    threads = cv2.getNumThreads()
    try:
      cv2.setNumThreads(1)
      again = proposals.propose(_image(noise=20), settings)
    finally:
      cv2.setNumThreads(threads)
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])

  def test_a_large_image_is_reduced(self):
    settings = proposals.Settings(longest_side=200, max_proposals=30)
    small, _ = proposals.propose(_image(noise=0), settings)
    large, _ = proposals.propose(_image(scale=5, noise=0), settings)
    np.testing.assert_allclose(large, small, atol=1e-6)

  def test_small_means_pixels_of_the_image_as_it_came(self):
    settings = proposals.Settings(longest_side=200, min_side_pixels=150)
    boxes, _ = proposals.propose(_image(scale=5), settings)
    sides = box_ops.to_pixels(boxes, 600, 1000)
    self.assertGreaterEqual(np.min(sides[:, 2:] - sides[:, :2]), 149.9)
    # 150 of 1000 pixels are 30 of 200.
    self.assertLess(np.min(sides[:, 2:] - sides[:, :2]), 250)

  @parameterized.product(
      method=_COMPUTED, size=((1, 1), (3, 50), (16, 16), (900, 17), (30, 40)))
  def test_nothing_to_see_gives_the_whole_image(self, method, size):
    boxes, scores = proposals.propose(
        np.full([*size, 3], 9, np.uint8), proposals.Settings(
            method=method, min_side_pixels=41))
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]])
    np.testing.assert_array_equal(scores, [1])

  def test_selective_search_has_no_scores(self):
    _, scores = proposals.propose(
        _image(), proposals.Settings(method="selective_search"))
    np.testing.assert_array_equal(scores, np.ones_like(scores))

  @parameterized.parameters(
      (np.zeros([9, 9], np.uint8),), (np.zeros([9, 9, 3], np.float32),))
  def test_other_arrays_are_refused(self, image):
    with self.assertRaisesRegex(ValueError, "Received"):
      proposals.propose(image, proposals.Settings())

  def test_methods_that_look_up_are_refused(self):
    with self.assertRaisesRegex(ValueError, "datalist"):
      proposals.propose(_image(), proposals.Settings(method="datalist"))

  def test_opencv_without_its_contributed_modules_is_named(self):
    with mock.patch.object(cv2, "ximgproc", object()):
      with self.assertRaisesRegex(errors.InputError, "opencv-contrib-python"):
        proposals.propose(_image(), proposals.Settings())

  @parameterized.parameters(
      (True, "-m pip install --force-reinstall --no-deps "),
      (False, "uv pip install --python=.* --reinstall --no-deps "))
  def test_the_command_that_repairs_opencv_suits_the_environment(
      self, has_pip, command):
    version = importlib.metadata.version("opencv-contrib-python-headless")
    with mock.patch.object(cv2, "ximgproc", object()), mock.patch.object(
        importlib.util, "find_spec", lambda name: has_pip):
      with self.assertRaisesRegex(
          errors.InputError,
          command + f"opencv-contrib-python-headless=={version}$"):
        proposals.check_opencv()

  def test_a_missing_edge_model_is_named(self):
    with self.assertRaisesRegex(errors.InputError, "/nowhere/model.yml.gz"):
      proposals.propose(
          _image(), proposals.Settings(edge_model="/nowhere/model.yml.gz"))

  @absltest.skipUnless(
      os.environ.get("KDWSD_DATA"), "KDWSD_DATA does not name the real data")
  def test_recall_on_photographs(self):
    judged = matched = 0
    for image, truth in _photographs(30):
      boxes, _ = proposals.propose(image, proposals.Settings())
      judged += len(truth)
      matched += recall.matched(truth, boxes)
    self.assertGreater(matched / judged, 0.75)


class SelectTest(parameterized.TestCase):

  def test_by_hand(self):
    boxes = [[0, 0, 0.5, 0.5], [0, 0, 1, 1], [0, 0, 0.5, 0.5],
             [0.2, 0.2, 0.25, 1]]
    scores = [0.2, 0.3, 0.9, 0.8]
    # The last is 5 of 100 pixels high; the first repeats the third.
    kept, kept_scores = proposals.select(
        boxes, scores, 100, 100, proposals.Settings(min_side_pixels=6))
    np.testing.assert_allclose(kept, [[0, 0, 0.5, 0.5], [0, 0, 1, 1]])
    np.testing.assert_allclose(kept_scores, [0.9, 0.3])

  def test_equal_scores_keep_their_order(self):
    boxes = np.linspace(0, 0.4, 20)[:, None] + [[0, 0, 0.5, 0.5]]
    kept, _ = proposals.select(
        boxes, np.ones(20), 100, 100, proposals.Settings(max_proposals=10))
    np.testing.assert_allclose(kept, boxes[:10], rtol=1e-6)

  def test_a_side_of_just_the_least_is_kept(self):
    # 20 of 333 pixels is no float32.
    boxes = np.array([[7, 11, 27, 31]]) / 333
    kept, _ = proposals.select(
        boxes, [1], 333, 333, proposals.Settings(min_side_pixels=20))
    self.assertLen(kept, 1)

  def test_empty_boxes_go_even_without_a_least_side(self):
    kept, _ = proposals.select(
        [[0.5, 0, 0.5, 1]], [1], 100, 100,
        proposals.Settings(min_side_pixels=0))
    self.assertEmpty(kept)

  def test_nothing(self):
    boxes, scores = proposals.select([], [], 10, 10, proposals.Settings())
    self.assertEqual((boxes.shape, scores.shape), ((0, 4), (0,)))


class SettingsTest(parameterized.TestCase):

  @parameterized.parameters(
      (dict(method="magic"), "magic"),
      (dict(method="selective_search", selective_search_mode="slow"), "slow"),
      (dict(max_proposals=0), "at least 1"),
      (dict(method="file"), "path of the proposals"))
  def test_bad_settings_are_named(self, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      proposals.Settings(**settings)

  def test_card_names_what_bears_on_the_method(self):
    card = proposals.Settings().as_dict()
    self.assertEqual(card["method"], "edge_boxes")
    self.assertIn("edge_sigma", card)
    self.assertNotIn("selective_search_mode", card)
    learned = proposals.Settings(edge_model="m.yml").as_dict()
    self.assertNotIn("edge_sigma", learned)
    self.assertEqual(json.loads(json.dumps(learned)), learned)

  def test_learned_edges_keep_the_papers_settings(self):
    self.assertEqual(proposals.Settings(edge_model="m.yml").kappa, 1.5)
    self.assertEqual(proposals.Settings(edge_model="m.yml", kappa=2.).kappa, 2)
    self.assertNotEqual(proposals.Settings().kappa, 1.5)

  def test_goes_to_other_processes(self):
    settings = proposals.Settings(max_proposals=3)
    self.assertEqual(pickle.loads(pickle.dumps(settings)), settings)


def _photographs(count):
  """Yields (image, boxes of objects that are not difficult)."""
  root = os.path.join(os.environ["KDWSD_DATA"], "voc", "VOCdevkit", "VOC2012")
  path = os.path.join(root, "ImageSets", "Main", "trainval.txt")
  with open(path, encoding="utf-8") as file:
    names = file.read().split()
  for name in names[::len(names) // count][:count]:
    jpeg = os.path.join(root, "JPEGImages", name + ".jpg")
    image = cv2.cvtColor(cv2.imread(jpeg), cv2.COLOR_BGR2RGB)
    annotation = ElementTree.parse(
        os.path.join(root, "Annotations", name + ".xml"))
    corners = [
        [float(item.findtext(f"bndbox/{edge}"))
         for edge in ("xmin", "ymin", "xmax", "ymax")]
        for item in annotation.iter("object")
        if item.findtext("difficult") != "1"]
    yield image, box_ops.from_inclusive_pixels(
        corners, *image.shape[:2], first=1)


if __name__ == "__main__":
  absltest.main()
