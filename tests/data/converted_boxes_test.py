"""What the records, the card and the metrics hold of faulty boxes."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd.data import cards
from kdwsd.data import conversion
from kdwsd.data import proposals
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import sources
from kdwsd.data.sources import voc
from kdwsd.evaluation import detection
from tests.data import fake_sets


class ConvertedBoxesTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.output = os.path.join(tempfile.mkdtemp(), "records")
    # Image 0, 2, 4: a cat of edges 0 to 16 and 12. 1, 3, 5: a dog as well.
    self.folder = fake_sets.write_voc(self.root)
    self._annotate("000000", ("cat", 20, 1, 36, 12, 0))   # 4 pixels too far.
    self._annotate("000001", ("cat", 40, 1, 50, 12, 0),   # All outside.
                   ("dog", 9, 7, 32, 24, 0), ("dog", 5, 5, 2, 2, 0))
    self._annotate("000002", ("cat", "nan", 1, 16, 12, 0))
    self._annotate("000003", ("cat", 1, 1, 32, 24, 0), height=48, width=64)
    self._annotate("000004", ("cat", 1, 1, 32, 24, 0), height=50, width=64)

  def _annotate(self, name, *objects, **size):
    fake_sets.write(os.path.join(self.folder, "Annotations", name + ".xml"),
                    fake_sets.annotation(objects, **size))

  def _convert(self, on_error="stop", num_workers=0):
    problems = sources.Problems(on_error)
    return conversion.convert(
        voc.read(self.root, problems=problems), output=self.output,
        split="train", problems=problems, num_shards=2, shuffle_seed=-1,
        num_workers=num_workers, progress=False,
        proposal_settings=proposals.Settings(
            max_proposals=20, min_side_pixels=4, min_box_area=16.0))

  @parameterized.parameters(("stop", 0), ("skip", 0), ("stop", 2))
  def test_images_and_labels_stay_and_boxes_are_counted(
      self, on_error, num_workers):
    card = self._convert(on_error, num_workers)
    self.assertEqual((card["num_images"], card["skipped"]), (6, 0))
    self.assertEqual(card["images_per_class"], {"cat": 6, "dog": 1})
    self.assertEqual(card["unknown_per_class"], {"dog": 1})  # Of 000005.
    # Clipped: 0. Dropped: 1 twice, 2, 4. Scaled: 3.
    self.assertEqual([card[f"boxes_{what}"] for what in (
        "clipped", "dropped", "scaled")], [1, 4, 1])
    self.assertEqual(card["num_images_with_boxes_known"], 4)
    self.assertEqual(card["objects_per_class"], {"cat": 3, "dog": 2})
    self.assertRegex(card["first_box_fault"], r"txt:1: .*000000.jpg: object 1 ")
    told = cards.summary(card, "train.json")
    self.assertIn("boxes      1 clipped to their image, 1 scaled with their "
                  "image, 4 dropped; first: ", told)
    self.assertIn("known in 4 of 6 images; the others give labels only", told)

  def test_cards_of_earlier_versions_are_told_too(self):
    card = self._convert()
    told = cards.summary(card, "train.json")
    for key in ("boxes_clipped", "boxes_dropped", "boxes_scaled",
                "first_box_fault", "num_images_with_boxes_known",
                "dark_images", "samples_taken_for"):
      del card[key]
    self.assertLess(set(cards.summary(card, "train.json").splitlines()),
                    set(told.splitlines()))

  def test_what_the_records_hold(self):
    self._convert()
    images = records.read_labelled_images(
        record_files.open_split(self.output, "train").paths)
    self.assertEqual([list(image.label_ids) for image in images],
                     [[0], [0, 1], [0], [0], [0], [0]])
    self.assertEqual([image.truth is None for image in images],
                     [False, False, True, False, True, False])
    # Clipped at 32 pixels; then the dog alone; then half of 64 x 48 pixels.
    for i, box, class_id in ((0, [0, 19 / 32, .5, 1], 0),
                             (1, [.25, .25, 1, 1], 1), (3, [0, 0, .5, .5], 0)):
      np.testing.assert_allclose(images[i].truth.boxes, [box], rtol=1e-6)
      np.testing.assert_array_equal(images[i].truth.class_ids, [class_id])

  def test_detections_in_an_image_of_unknown_objects_are_not_wrong(self):
    self._convert()
    images = records.read_labelled_images(
        record_files.open_split(self.output, "train").paths)
    found = [
        detection.Detections(
            boxes=np.array([[0, 0, 1, 1] if image.truth is None
                            else image.truth.boxes[0]], np.float32),
            scores=np.array([.9 if image.truth is None else .5], np.float32),
            class_ids=np.array([0 if image.truth is None
                                else image.truth.class_ids[0]], np.int64))
        for image in images]
    cats = detection.curves(found, images, 2)[0]
    # Those of images 0, 3 and 5 are found, and nothing else counts.
    self.assertEqual(cats.num_positives, 3)
    np.testing.assert_array_equal(cats.precision, [1, 1, 1])


if __name__ == "__main__":
  absltest.main()
