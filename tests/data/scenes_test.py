"""Tests of the scenes: true boxes, repeatability, what a class needs."""

import os
import shutil
import tempfile
import xml.etree.ElementTree as ElementTree

from absl.testing import absltest
from absl.testing import parameterized
import cv2
import numpy as np

from kdwsd import errors
from kdwsd.data import scenes


def _draw(index, side=96):
  return scenes.draw(np.random.default_rng([3, index]), side)


class DrawTest(absltest.TestCase):

  def test_boxes_are_inside_and_not_tiny(self):
    for index in range(20):
      scene = _draw(index)
      height, width = scene.image.shape[:2]
      self.assertEqual(max(height, width), 96)
      self.assertEqual(scene.image.dtype, np.uint8)
      self.assertLen(scene.corners, len(scene.names))
      if len(scene.names):
        xmin, ymin, xmax, ymax = scene.corners.T
        self.assertGreaterEqual(min(xmin.min(), ymin.min()), 1)
        self.assertLessEqual(xmax.max(), width)
        self.assertLessEqual(ymax.max(), height)
        self.assertGreater((xmax - xmin).min(), 4)
        self.assertGreater((ymax - ymin).min(), 4)

  def test_scenes_vary(self):
    drawn = [_draw(index) for index in range(40)]
    names = {name for scene in drawn for name in scene.names}
    self.assertEqual(names, set(scenes.CLASSES))
    self.assertGreater(
        len([s for s in drawn if len(set(s.names)) > 1]), 10)
    self.assertTrue(any(scene.occluded.any() for scene in drawn))
    self.assertTrue(any(scene.truncated.any() for scene in drawn))
    self.assertGreater(len({scene.image.shape for scene in drawn}), 10)

  def test_a_box_hugs_its_object(self):
    # Without noise, and compared with the same scene without the object:
    # what differs is the object, and the box is where it differs.
    canvas = scenes._Canvas(np.random.default_rng(0), 80, 80)
    before = canvas._image.copy()
    canvas.add("ring", 0.25)
    differs = np.any(np.abs(canvas._image - before) > 2, axis=2)
    rows, columns = np.nonzero(differs)
    xmin, ymin, xmax, ymax = canvas.finish().corners[0]
    # The canvas is twice as fine; pixels count from 1.
    np.testing.assert_allclose(
        [xmin, ymin, xmax, ymax],
        np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        // 2 + 1, atol=1)

  def test_objects_stay_visible(self):
    for index in range(20):
      canvas = scenes._Canvas(np.random.default_rng(index), 64, 64)
      for name in ("crate", "ball", "star", "cross"):
        canvas.add(name, 0.25)
      for place, whole in enumerate(canvas._whole):
        seen = np.count_nonzero(canvas._owner == place)
        self.assertEqual(seen, canvas._visible[place])
        self.assertGreaterEqual(seen, scenes._LEAST_VISIBLE * whole)


class WriteTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self._directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self._directory)

  def _write(self, name="a", **options):
    options = {"num_train": 3, "num_test": 2, "image_side": 64, **options}
    return scenes.write(os.path.join(self._directory, name), **options)

  def _content(self, root):
    content = {}
    for folder, _, names in os.walk(root):
      for name in names:
        path = os.path.join(folder, name)
        with open(path, "rb") as file:
          content[os.path.relpath(path, root)] = file.read()
    return content

  def test_the_tree_is_voc(self):
    root = os.path.join(self._write(), "VOC2012")
    for split, count in (("trainval", 3), ("test", 2)):
      with open(os.path.join(root, "ImageSets", "Main", split + ".txt"),
                encoding="utf-8") as file:
        names = file.read().split()
      self.assertLen(names, count)
      for name in names:
        image = cv2.imread(os.path.join(root, "JPEGImages", name + ".jpg"))
        annotation = ElementTree.parse(
            os.path.join(root, "Annotations", name + ".xml")).getroot()
        size = [int(annotation.findtext(f"size/{side}"))
                for side in ("height", "width", "depth")]
        self.assertEqual(list(image.shape), size)
        for item in annotation.iter("object"):
          self.assertIn(item.findtext("name"), scenes.CLASSES)
          self.assertEqual(item.findtext("difficult"), "0")
          self.assertLen(list(item.find("bndbox")), 4)

  def test_the_same_seed_gives_the_same_bytes(self):
    first = self._content(self._write("a"))
    self.assertEqual(first, self._content(self._write("b")))
    other = self._content(self._write("c", seed=1))
    self.assertEqual(sorted(first), sorted(other))
    self.assertNotEqual(first, other)

  def test_fewer_images_are_the_first_of_more(self):
    few = self._content(self._write("a", num_train=2))
    more = self._content(self._write("b"))
    image = os.path.join("VOC2012", "JPEGImages", "trainval_000001.jpg")
    self.assertEqual(few[image], more[image])

  def test_validation_scenes_leave_the_others_as_they_are(self):
    plain = self._content(self._write("a"))
    more = self._content(self._write("b", num_validation=2))
    self.assertLen(more.keys() - plain.keys(), 2 * 2 + 1)
    self.assertEqual(plain, {name: more[name] for name in plain})

  def test_what_is_there_is_left_alone(self):
    root = self._write()
    image = os.path.join(root, "VOC2012", "JPEGImages", "test_000000.jpg")
    os.remove(image)
    self._write()
    self.assertFalse(os.path.exists(image))
    self._write(seed=1)  # Another set: written anew.
    self.assertTrue(os.path.exists(image))

  @parameterized.parameters(
      dict(num_train=-1), dict(num_validation=-1), dict(image_side=10),
      dict(seed=-1))
  def test_bad_numbers_are_refused(self, **options):
    with self.assertRaisesRegex(errors.InputError, "Received"):
      self._write(**options)


if __name__ == "__main__":
  absltest.main()
