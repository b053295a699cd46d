"""Tests of TensorFlow Datasets: small data sets that are prepared here."""

import os
import shutil
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np
import tensorflow_datasets as library

from kdwsd import errors
from kdwsd.data import images
from kdwsd.data import preparation
from kdwsd.data import proposals
from kdwsd.data import sources
from kdwsd.data.sources import tfds
from kdwsd.data.sources import tfrecord_places
from tests.data import fake_sets
from tests.data import fake_tfds

_features = library.features
_BOX = _features.BBox(ymin=0.25, xmin=0.5, ymax=0.75, xmax=1.0)
_CORNER = _features.BBox(ymin=0.0, xmin=0.0, ymax=0.5, xmax=0.5)


def _content(number):
  return fake_sets.encoded(fake_sets.pixels(seed=number))


class TfdsTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.root)

  def _read(self, name, on_error="stop", **arguments):
    self.problems = sources.Problems(on_error)
    return tfds.read(name, problems=self.problems,
                     **{"data_dir": self.root, **arguments})

  def _prepare_boxes(self, name="boxes"):
    label = _features.ClassLabel(names=["boat", "person", "yak"])
    pose = _features.ClassLabel(names=["left", "right"])

    def entry(number, objects):
      return {"image": _content(number),
              "image/filename": f"{number:06d}.jpg", "objects": objects,
              "labels": [0]}

    def one(label, box, difficult=False):
      return {"bbox": box, "label": label, "pose": 0,
              "is_difficult": difficult}

    fake_tfds.prepare(self.root, name, {
        "image": _features.Image(), "image/filename": _features.Text(),
        "labels": _features.Sequence(label),
        "objects": _features.Sequence({
            "bbox": _features.BBoxFeature(), "label": label, "pose": pose,
            "is_difficult": np.bool_})}, [
                entry(3, [one(1, _BOX), one(0, _CORNER, True),
                          one(1, _CORNER, True)]),
                entry(5, []), entry(7, [one(2, _BOX)])])

  def test_boxes(self):
    self._prepare_boxes()
    source = self._read("boxes")
    self.assertEqual(source.classes, ("boat", "person", "yak"))
    self.assertEqual(
        [(item.image_id, item.label_ids, item.unknown_label_ids)
         for item in source.items],
        [("000003.jpg", (1,), (0,)), ("000005.jpg", (), ()),
         ("000007.jpg", (2,), ())])
    objects = source.items[0].objects
    np.testing.assert_allclose(
        objects.boxes, [[.25, .5, .75, 1], [0, 0, .5, .5], [0, 0, .5, .5]])
    np.testing.assert_array_equal(objects.class_ids, [1, 0, 1])
    np.testing.assert_array_equal(objects.difficult, [False, True, True])
    self.assertTrue(objects.fractions)

  def test_images_are_read_where_they_are(self):
    self._prepare_boxes()
    for number, item in zip((3, 5, 7), self._read("boxes").items):
      image = images.read(item.image_path, span=item.span)
      self.assertEqual(image.encoded, _content(number))
    item = self._read("boxes").items[0]
    prepared = preparation.prepare(
        item, proposals.Settings(max_proposals=5), max_pixels=10 ** 6)
    self.assertEqual(prepared.encoded, _content(3))
    np.testing.assert_allclose(prepared.truth.boxes, item.objects.boxes)

  def test_classes_slices_and_the_features_of_ones_choice(self):
    self._prepare_boxes()
    source = self._read("boxes", image_set="train[1:]",
                        classes=("yak", "dog"))
    self.assertEqual([(item.image_id, item.label_ids) for item in source.items],
                     [("000005.jpg", ()), ("000007.jpg", (0,))])
    for number, item in zip((5, 7), source.items):
      self.assertEqual(images.read(item.image_path, span=item.span).encoded,
                       _content(number))
    self.assertEqual(self._read("boxes", image_set="train+test").items[0].where,
                     self._read("boxes").items[0].where.replace(
                         "boxes/1.0.0 train:", "boxes/1.0.0 train+test:"))
    source = self._read("boxes", label_feature="labels")
    self.assertEqual(source.items[2].label_ids, (0,))
    self.assertIsNone(source.items[2].objects)
    self.assertIn("person (1)", " ".join(self._read(
        "boxes", classes=("boat",)).notices))

  def test_one_label_an_image(self):
    fake_tfds.prepare(self.root, "single", {
        "image": _features.Image(encoding_format="png"),
        "label": _features.ClassLabel(num_classes=3)}, [
            {"image": np.full([8, 8, 3], 9, np.uint8), "label": label}
            for label in (2, -1, 0)])
    with self.assertRaisesRegex(errors.InputError, "a label. Received: -1"):
      self._read("single")
    source = self._read("single", on_error="skip")
    self.assertEqual(source.classes, ("0", "1", "2"))
    self.assertEqual([item.label_ids for item in source.items], [(2,), (0,)])
    self.assertEqual(source.items[1].image_id,
                     "single-train.tfrecord-00001-of-00002__0")
    self.assertLen(self.problems.messages, 1)
    pixels = images.read(source.items[1].image_path,
                         span=source.items[1].span).pixels
    np.testing.assert_array_equal(pixels, np.full([8, 8, 3], 9))

  def test_what_is_there_is_told(self):
    with self.assertRaisesRegex(
        errors.InputError, "Received: none; prepare it once: tfds build boxes"):
      self._read("boxes")
    self._prepare_boxes()
    for name in ("boxes", "boxes:1.0.0", os.path.join(
        self.root, "boxes", "1.0.0")):
      self.assertLen(self._read(name).items, 3)
    with self.assertRaisesRegex(errors.InputError, "Received: boxes; prepare"):
      self._read("voc/2007")
    with self.assertRaisesRegex(errors.InputError, "there are: test, train"):
      self._read("boxes", image_set="valid")
    with self.assertRaisesRegex(errors.InputError, "labels labels, objects"):
      self._read("boxes", label_feature="pose")
    with self.assertRaisesRegex(errors.InputError, "--input: expected the"):
      self._read("../boxes")

  def test_a_damaged_data_set_is_named(self):
    self._prepare_boxes()
    folder = os.path.join(self.root, "boxes", "1.0.0")
    shard = os.path.join(folder, "boxes-train.tfrecord-00000-of-00002")
    with open(shard, "r+b") as file:
      file.truncate(2000)
    with self.assertRaisesRegex(errors.InputError, "00002: expected TFRec"):
      self._read("boxes")
    fake_sets.write(os.path.join(folder, "features.json"), "{")
    with self.assertRaisesRegex(errors.InputError, "expected a data set that"):
      self._read("boxes")

  def test_places_of_a_damaged_file(self):
    path = fake_sets.write(os.path.join(self.root, "a.tfrecord"), b"\1" * 40)
    with self.assertRaisesRegex(errors.InputError, "expected TFRecords"):
      tfrecord_places.Places().find(path, 0, b"a")


if __name__ == "__main__":
  absltest.main()
