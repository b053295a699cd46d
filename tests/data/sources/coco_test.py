"""Tests of the COCO source."""

import copy
import json
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import coco
from tests.data import fake_sets

INSTANCES = {
    "images": [
        {"id": 9, "file_name": "000000000009.jpg", "height": 24, "width": 32},
        {"id": 4, "file_name": "000000000004.jpg", "height": 24, "width": 32}],
    "categories": [
        {"id": 90, "name": "toothbrush"}, {"id": 1, "name": "person"},
        {"id": 13, "name": "stop sign"}],
    "annotations": [
        {"id": 1, "image_id": 9, "category_id": 90, "bbox": [2, 3, 4, 5],
         "iscrowd": 0},
        {"id": 2, "image_id": 9, "category_id": 1, "bbox": [0, 0, 32, 24],
         "iscrowd": 1},
        {"id": 3, "image_id": 9, "category_id": 13, "bbox": [5, 5, 1.5, 0]}]}


class CocoTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    os.makedirs(os.path.join(self.root, "val2017"))
    self.content = copy.deepcopy(INSTANCES)

  def _read(self, on_error="stop", **arguments):
    path = os.path.join(self.root, "annotations", "instances_val2017.json")
    fake_sets.write(path, json.dumps(self.content))
    self.problems = sources.Problems(on_error)
    return coco.read(self.root, image_set="val2017", problems=self.problems,
                     **arguments)

  def test_label_ids_follow_category_ids(self):
    source = self._read()
    self.assertEqual(source.classes, ("person", "stop sign", "toothbrush"))
    item = source.items[0]
    self.assertEqual(item.image_id, "9")
    self.assertEqual(item.label_ids, (0, 1, 2))
    # x 2, y 3, width 4, height 5: edges y 3 to 8 and x 2 to 6. The box of no
    # area is no object.
    np.testing.assert_array_equal(
        item.objects.boxes, [[3, 2, 8, 6], [0, 0, 24, 32]])
    np.testing.assert_array_equal(item.objects.class_ids, [2, 0])
    np.testing.assert_array_equal(item.objects.crowd, [False, True])
    self.assertFalse(item.objects.difficult.any())

  def test_image_without_annotation_stays(self):
    item = self._read().items[1]
    self.assertEqual(item.label_ids, ())
    self.assertEqual(item.objects.boxes.shape, (0, 4))

  def test_chosen_classes(self):
    source = self._read(classes=("toothbrush", "person"))
    self.assertEqual(source.items[0].label_ids, (0, 1))
    np.testing.assert_array_equal(source.items[0].objects.class_ids, [0, 1])

  def test_paths_may_be_elsewhere(self):
    self._read()
    path = os.path.join(self.root, "annotations", "instances_val2017.json")
    for arguments in ({}, {"images": os.path.join(self.root, "val2017")}):
      source = coco.read(annotations=path, problems=self.problems, **arguments)
      self.assertTrue(source.items[0].image_path.endswith(
          "val2017/000000000009.jpg"))
    with self.assertRaisesRegex(errors.InputError, "--images"):
      coco.read(annotations=path, images="/nowhere", problems=self.problems)

  @parameterized.parameters(
      ("bbox", [1, 2, 3], r"annotations\[0\].*Received: \[1, 2, 3\]"),
      ("bbox", [1, 2, -3, 4], "width, height"),
      ("bbox", [1, 2, "3", 4], "width, height"),
      ("bbox", None, "Received: None"),
      ("iscrowd", 2, "0 or 1. Received: 2"),
      ("category_id", 2, "category. Received: 2"),
      ("category_id", None, "category. Received: None"),
      ("category_id", [90], r"category. Received: \[90\]"),
      ("category_id", True, "category. Received: True"),
      ("bbox", [1, 2, 10 ** 400, 4], r"annotations\[0\].*Received: \[1, 2, 10"),
      ("bbox", [1, 2, 1e308, 4], "Received: .*1e"),
      ("bbox", [1, 2, float("nan"), 4], "Received: .*nan"))
  def test_bad_annotation_spoils_its_image(self, key, value, message):
    self.content["annotations"][0][key] = value
    with self.assertRaisesRegex(errors.InputError, message):
      self._read()
    source = self._read(on_error="skip")
    self.assertEqual([item.image_id for item in source.items], ["4"])
    self.assertLen(self.problems.messages, 1)

  @parameterized.parameters(77, None, "9", True)
  def test_annotation_of_no_image(self, image_id):
    self.content["annotations"][0]["image_id"] = image_id
    with self.assertRaisesRegex(errors.InputError, r"annotations\[0\]"):
      self._read()
    self.assertLen(self._read(on_error="skip").items, 2)
    self.assertLen(self.problems.messages, 1)

  def test_bad_image_entry(self):
    self.content["images"][0] = {"id": 9}
    with self.assertRaisesRegex(errors.InputError, r"images\[0\].*file_name"):
      self._read()
    self.assertLen(self._read(on_error="skip").items, 1)
    self.assertLen(self.problems.messages, 1)
    self.content["images"][0] = self.content["images"][1]
    with self.assertRaisesRegex(errors.InputError, r"images\[1\].*4 again"):
      self._read()

  @parameterized.parameters(True, 9.0, "9")
  def test_a_bad_entry_takes_no_others_annotations(self, image_id):
    self.content["images"].insert(0, {"id": image_id, "file_name": "x.jpg"})
    self.content["images"][1]["id"] = 1
    for entry in self.content["annotations"]:
      entry["image_id"] = 1
    source = self._read(on_error="skip")
    self.assertEqual([len(item.objects.boxes) for item in source.items], [2, 0])
    self.assertLen(self.problems.messages, 1)

  def test_the_second_of_two_entries_is_refused_even_if_the_first_is_bad(self):
    self.content["images"].insert(0, {"id": 9})
    source = self._read(on_error="skip")
    self.assertEqual([item.image_id for item in source.items], ["4"])
    self.assertLen(self.problems.messages, 2)
    self.assertIn("9 again", self.problems.messages[1])

  @parameterized.parameters("a\0b.jpg", "a\nb.jpg", "\ud800.jpg", "a" * 2000)
  def test_a_name_that_no_file_can_have(self, name):
    self.content["images"][0]["file_name"] = name
    with self.assertRaisesRegex(errors.InputError, r"images\[0\]: .*file_name"):
      self._read()
    self.assertLen(self._read(on_error="skip").items, 1)
    self.assertLess(len(self.problems.messages[0]), 500)
    self.content["categories"][0]["name"] = name
    with self.assertRaisesRegex(errors.InputError, "class names"):
      self._read()

  @parameterized.parameters("images", "annotations", "categories")
  def test_not_instances(self, key):
    del self.content[key]
    with self.assertRaisesRegex(errors.InputError, f"list `{key}`"):
      self._read()

  def test_not_json(self):
    self._read()
    path = fake_sets.write(os.path.join(self.root, "x.json"), '{"images": [')
    with self.assertRaisesRegex(errors.InputError, "x.json: expected JSON"):
      coco.read(self.root, annotations=path, images=self.root,
                problems=self.problems)

  def test_bad_categories(self):
    self.content["categories"][1]["id"] = 90
    with self.assertRaisesRegex(errors.InputError, r"categories\[1\]"):
      self._read()
    self.content["categories"][1] = {"id": 1, "name": "toothbrush"}
    with self.assertRaisesRegex(errors.InputError, "toothbrush more than once"):
      self._read()


if __name__ == "__main__":
  absltest.main()
