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
      ("category_id", 2, "category. Received: 2"),
      ("category_id", None, "category. Received: None"),
      ("category_id", [90], r"category. Received: \[90\]"),
      ("category_id", 90.5, "category. Received: 90.5"),
      ("category_id", True, "category. Received: True"))
  def test_bad_annotation_spoils_its_image(self, key, value, message):
    self.content["annotations"][0][key] = value
    with self.assertRaisesRegex(errors.InputError, message):
      self._read()
    source = self._read(on_error="skip")
    self.assertEqual([item.image_id for item in source.items], ["4"])
    self.assertLen(self.problems.messages, 1)

  @parameterized.parameters(
      ("bbox", [1, 2, 3], "bbox x, y, width, height = [1, 2, 3]"),
      ("bbox", [1, 2, -3, 4], "bbox x, y, width, height = [1, 2, -3, 4]"),
      ("bbox", [1, 2, "3", 4], "bbox x, y, width, height = [1, 2, '3', 4]"),
      ("bbox", [1, 2, 3, 0], "bbox x, y, width, height = [1, 2, 3, 0]"),
      ("bbox", [1, 2, 10 ** 400, 4], "bbox x, y, width, height = [1, 2, 10"),
      ("bbox", [1, 2, 1e308, 4], "bbox x, y, width, height = [1, 2, 1e+308, 4"),
      ("bbox", [float("nan"), 2, 1, 4], "bbox x, y, width, height = [nan, "),
      ("bbox", [1, 2, float("inf"), 4], "bbox x, y, width, height = [1, 2, in"),
      ("bbox", "1 2 3 4", "bbox x, y, width, height = '1 2 3 4'"),
      ("iscrowd", 2, "iscrowd = 2"), ("iscrowd", [], "iscrowd = []"))
  def test_a_bad_box_is_dropped_and_its_label_stays(self, key, value, fault):
    del self.content["annotations"][2]
    self.content["annotations"][0][key] = value
    item = self._read().items[0]
    self.assertEqual(item.label_ids, (0, 2))
    np.testing.assert_array_equal(item.objects.boxes, [[0, 0, 24, 32]])
    np.testing.assert_array_equal(item.objects.class_ids, [0])
    self.assertEqual(item.objects.dropped, 1)
    self.assertStartsWith(item.objects.fault, "annotations[0] with " + fault)
    # Of other classes it is not counted.
    item = self._read(classes=("person",)).items[0]
    self.assertEqual((item.objects.dropped, item.objects.fault), (0, ""))

  @parameterized.parameters(
      (None, 0), (0.0, 0), (False, 0), ("0", 0), (True, 1), (1.0, 1), ("1", 1))
  def test_flags_as_tools_write_them(self, value, meant):
    self.content["annotations"][0]["iscrowd"] = value
    self.assertEqual(self._read().items[0].objects.crowd[0], meant)

  def test_ignored_objects_are_difficult_ones(self):
    first, _, third = self.content["annotations"]
    first["ignore"], third["ignore"] = 1, 0
    item = self._read().items[0]
    self.assertEqual((item.label_ids, item.unknown_label_ids), ((0, 1), (2,)))
    np.testing.assert_array_equal(item.objects.difficult, [True, False])
    # One more that is not ignored: the class is there.
    self.content["annotations"].append({**first, "ignore": None})
    item = self._read().items[0]
    self.assertEqual((item.label_ids, item.unknown_label_ids),
                     ((0, 1, 2), ()))

  @parameterized.parameters({}, {"bbox": None}, {"bbox": []})
  def test_a_file_without_boxes_gives_labels(self, **box):
    for entry in self.content["annotations"]:
      del entry["bbox"]
      entry.update(box)
    source = self._read()
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1, 2), ()])
    self.assertEqual([item.objects for item in source.items], [None, None])
    self.assertRegex(source.notices[0], "no annotation has a box")

  def test_an_annotation_without_a_box_leaves_its_image_s_objects_unknown(self):
    self.content["annotations"][0]["bbox"] = []
    self.content["annotations"].append(
        {"id": 4, "image_id": 4, "category_id": 1, "bbox": [0, 0, 8, 12]})
    source = self._read()
    self.assertEqual([item.label_ids for item in source.items],
                     [(0, 1, 2), (0,)])
    self.assertIsNone(source.items[0].objects)
    np.testing.assert_array_equal(
        source.items[1].objects.boxes, [[0, 0, 12, 8]])
    self.assertRegex(source.notices[0], "1 of 2 images .*labels only.* 9")
    # Where that class is not asked for, all is known.
    source = self._read(classes=("person", "stop sign"))
    self.assertLen(source.items[0].objects.boxes, 1)
    self.assertEqual(
        source.notices,
        ("--classes leaves out 1 of the data's names: toothbrush (1).",))

  def test_text_ids_of_camera_traps(self):
    self.content = {
        "images": [{"id": f"uuid-{i}", "file_name": f"{i}.jpg"}
                   for i in (1, 2, 3)],
        "categories": [{"id": 10, "name": "fox"}, {"id": 9, "name": "deer"},
                       {"id": "x", "name": "empty"}],
        "annotations": [
            {"id": "a", "image_id": "uuid-1", "category_id": 9},
            {"id": "b", "image_id": "uuid-1", "category_id": "10"},
            {"id": "c", "image_id": "uuid-3", "category_id": "x"}]}
    source = self._read()
    self.assertEqual(source.classes, ("deer", "fox", "empty"))
    self.assertEqual(
        {item.image_id: item.label_ids for item in source.items},
        {"uuid-1": (0, 1), "uuid-2": (), "uuid-3": (2,)})

  @parameterized.parameters(float, str)
  def test_ids_as_floats_or_texts_are_those_of_integers(self, kind):
    expected = self._read()
    for entry in self.content["annotations"]:
      entry["image_id"] = kind(entry["image_id"])
    self.content["categories"][0]["id"] = kind(90)
    self.content["images"][1]["id"] = kind(4)
    source = self._read()
    self.assertEqual(source.classes, expected.classes)
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("9", (0, 1, 2)), ("4", ())])

  @parameterized.parameters(
      "./000000000004.jpg", ".//000000000004.jpg",
      "../val2017/000000000004.jpg")
  def test_a_file_is_one_image_however_its_path_is_written(self, name):
    self.content["images"].append(
        {"id": 7, "file_name": name, "height": 24, "width": 32})
    self.content["annotations"][0]["image_id"] = 7
    self.assertEqual([(item.image_id, item.label_ids)
                      for item in self._read().items],
                     [("9", (0, 1)), ("4", (2,))])

  def test_numbers_as_names_of_categories(self):
    for number, category in enumerate(self.content["categories"]):
      category["name"] = number  # By ascending id: 1, 2, 0.
    self.assertEqual(self._read().classes, ("1", "2", "0"))
    self.content["categories"][0]["name"] = True
    with self.assertRaisesRegex(errors.InputError, r"categories\[0\].*`name`"):
      self._read()

  def test_entries_of_one_file_are_joined(self):
    self.content["images"].append(
        {"id": 7, "file_name": "000000000004.jpg", "height": 24, "width": 32})
    for i, image_id in ((0, 4), (1, 7), (2, 9)):
      self.content["annotations"][i]["image_id"] = image_id
    source = self._read()
    self.assertEqual({item.image_id: item.label_ids for item in source.items},
                     {"9": (1,), "4": (0, 2)})
    np.testing.assert_array_equal(source.items[1].objects.class_ids, [2, 0])
    self.assertRegex(source.notices[0],
                     "1 entries .*joined.*, first 000000000004.jpg")

  def _roboflow(self, root="animals"):
    self.content["categories"] = [
        {"id": 0, "name": root, "supercategory": "none"},
        {"id": 1, "name": "cat", "supercategory": root},
        {"id": 2, "name": "dog", "supercategory": root}]
    for i, entry in enumerate(self.content["annotations"]):
      entry["category_id"] = 1 + i % 2

  def test_a_root_category_without_objects_is_left_out(self):
    for root in ("animals", "cat"):
      self._roboflow(root)
      source = self._read()
      self.assertEqual(source.classes, ("cat", "dog"))
      self.assertEqual(source.items[0].label_ids, (0, 1))
      self.assertLen(source.notices, 1)
      self.assertRegex(source.notices[0], rf"{root} \(id 0\) is left out")
      source = self._read(classes=("dog", "cat", "yak"))
      self.assertEqual(source.classes, ("dog", "cat", "yak"))
      self.assertEqual(source.items[0].label_ids, (0, 1))

  def test_what_is_no_root_category_stays(self):
    self._roboflow()
    self.content["annotations"][0]["category_id"] = 0
    self.assertEqual(self._read().classes, ("animals", "cat", "dog"))
    self._roboflow()
    self.content["categories"][0]["supercategory"] = "animals"
    self.assertEqual(self._read().classes, ("animals", "cat", "dog"))
    self._roboflow()
    self.content["categories"][0]["name"] = "beasts"
    self.assertEqual(self._read().classes, ("beasts", "cat", "dog"))

  def test_categories_of_one_name_are_joined(self):
    self.content["categories"].append({"id": 95, "name": "person "})
    self.content["annotations"][1]["category_id"] = 95
    source = self._read()
    self.assertEqual(source.classes, ("person", "stop sign", "toothbrush"))
    self.assertEqual(source.items[0].label_ids, (0, 1, 2))
    np.testing.assert_array_equal(source.items[0].objects.class_ids, [2, 0])
    self.assertRegex(source.notices[0], "categories 1, 95 are joined.* person")
    self.assertEqual(self._read(classes=("person",)).items[0].label_ids, (0,))

  def test_classes_of_another_split(self):
    source = self._read(classes=("yak", "person"))
    self.assertEqual(source.classes, ("yak", "person"))
    self.assertEqual(source.items[0].label_ids, (1,))
    self.assertEqual(source.notices, (
        "--classes leaves out 2 of the data's names: stop sign (1), toothbrush "
        "(1).",))
    with self.assertRaisesRegex(errors.InputError, "at least one class.*: yak"):
      self._read(classes=("yak",))

  def test_many_images_without_annotations_are_told(self):
    self.assertEmpty(self._read().notices)  # Half of them.
    self.content["images"].append({"id": 5, "file_name": "5.jpg"})
    self.assertRegex(self._read().notices[0], "2 of 3 images have no annotat")

  def test_windows_paths_and_folders(self):
    self.content["images"][0]["file_name"] = "a\\b c\\1.jpg"
    self.content["images"][1]["file_name"] = "a/2.jpg"
    folder = os.path.join(self.root, "val2017")
    self.assertEqual([item.image_path for item in self._read().items],
                     [f"{folder}/a/b c/1.jpg", f"{folder}/a/2.jpg"])

  def test_images_of_lvis_by_their_address(self):
    for entry in self.content["images"]:
      entry["coco_url"] = (
          "http://images.cocodataset.org/val2017/" + entry.pop("file_name"))
      entry["neg_category_ids"] = []
    source = self._read()
    self.assertEqual(source.items[0].image_path, os.path.join(
        self.root, "val2017", "000000000009.jpg"))
    self.assertRegex(source.notices[0], "neg_category_ids")
    source = self._read(images=self.root)
    self.assertEqual(source.items[0].image_path, os.path.join(
        self.root, "val2017", "000000000009.jpg"))

  @parameterized.parameters(
      "export/train/_annotations.coco.json", "images/default/../x.json",
      "annotations/instances_default.json")
  def test_the_folder_of_the_images_is_found(self, name):
    folder = os.path.join(self.root, "export" if "export" in name else ".")
    folder = os.path.join(folder, "train" if "export" in name else "images")
    if "instances" in name:
      folder = os.path.join(folder, "default")
    fake_sets.write(os.path.join(folder, "000000000009.jpg"), b"x")
    path = fake_sets.write(os.path.join(self.root, name),
                           json.dumps(self.content))
    source = coco.read(annotations=path, image_set="train",
                       problems=sources.Problems())
    self.assertTrue(os.path.samefile(
        os.path.dirname(source.items[0].image_path), folder))

  @parameterized.parameters(
      ({"annotations": [{"image_id": 9, "caption": "A dog."}],
        "images": []}, "Received: captions"),
      ({"categories": [{"id": 1, "name": "person", "keypoints": ["nose"]}]},
       "Received: keypoints of one category, 'person'"),
      ({"annotations": [{"image_id": 9, "segments_info": []}]},
       "Received: panoptic segments"))
  def test_other_files_of_coco_are_named(self, change, message):
    self.content.update(change)
    if "captions" in message:
      del self.content["categories"]
    with self.assertRaisesRegex(errors.InputError,
                                "instances_.*json: expected.*" + message):
      self._read()

  def test_detections_are_no_instances(self):
    self.content = [{"image_id": 9, "category_id": 1, "score": .5}]
    with self.assertRaisesRegex(errors.InputError, "a list, as of detections"):
      self._read()

  @parameterized.parameters(77, None, "nine", True, 9.5)
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

  @parameterized.parameters(True, 9.5, None)
  def test_a_bad_entry_takes_no_others_annotations(self, image_id):
    self.content["images"].insert(0, {"id": image_id, "file_name": "x.jpg"})
    self.content["images"][1]["id"] = 1
    for entry in self.content["annotations"]:
      entry["image_id"] = 1
    source = self._read(on_error="skip")
    self.assertEqual([len(item.objects.boxes) for item in source.items], [2, 0])
    self.assertLen(self.problems.messages, 1)

  def test_one_id_written_in_two_ways_is_one(self):
    self.content["images"][1]["id"] = "9"
    with self.assertRaisesRegex(errors.InputError, r"images\[1\].*'9' again"):
      self._read()

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
    self.content["categories"][1] = {"id": 1, "supercategory": "person"}
    with self.assertRaisesRegex(errors.InputError,
                                r"categories\[1\].*a `name`. Received: {'id'"):
      self._read()
    self.content["categories"] = []
    with self.assertRaisesRegex(errors.InputError, "class names.*: none"):
      self._read()


if __name__ == "__main__":
  absltest.main()
