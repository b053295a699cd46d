"""A validation split has all classes, and divides no photograph or video."""

import collections
import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd import errors
from kdwsd.data import holdout
from kdwsd.data import sources
from tests.data import fake_sets


def _source(ids, labels=None, num_classes=2):
  labels = labels or [(index % num_classes,) for index in range(len(ids))]
  return sources.Source(
      classes=tuple(f"class{i}" for i in range(num_classes)),
      items=[sources.Item(image_path=f"/photos/{image_id}", image_id=image_id,
                          label_ids=tuple(ids_of))
             for image_id, ids_of in zip(ids, labels)],
      description={"format": "csv"})


def _ids(source):
  return [item.image_id for item in source.items]


def _labels(num_images, frequencies, seed=0):
  """Independent labels of given frequencies."""
  random = np.random.RandomState(seed)
  there = random.uniform(size=[num_images, len(frequencies)]) < frequencies
  return [np.flatnonzero(row).tolist() for row in there]


class ShareTest(parameterized.TestCase):

  def test_a_split_beside_the_whole_that_it_was_cut_from_is_found(self):
    cut, other = (holdout.by_share(_source(list("abcdefghij")), share)
                  for share in (0.2, 0.4))
    validation = {"source": cut.validation.description}
    for training, expected in (
        (cut.training, False), (other.training, True),
        (_source(list("abcdefghij")), True)):
      self.assertEqual(holdout.may_overlap(
          {"source": training.description}, validation), expected)
    self.assertFalse(holdout.may_overlap(
        validation, {"source": {"name": "test.csv"}}))

  @parameterized.parameters(0.1, 0.2, 0.5)
  def test_each_class_has_the_share(self, share):
    frequencies = [0.5, 0.3, 0.1, 0.05, 0.02, 0.01]
    labels = _labels(1000, frequencies)
    source = _source([f"{i:04d}.jpg" for i in range(1000)], labels, 6)
    parts = holdout.by_share(source, share)
    self.assertAlmostEqual(len(parts.validation.items), 1000 * share, delta=3)
    for label in range(6):
      total, there = (
          sum(label in item.label_ids for item in part.items)
          for part in (source, parts.validation))
      # Of ten images, chance alone would often give none or five.
      self.assertAlmostEqual(there, share * total, delta=2.5)

  def test_the_parts_are_the_whole_in_its_order_and_the_same_each_time(self):
    source = _source([f"{i:03d}" for i in range(50)])
    parts = holdout.by_share(source, 0.2)
    training, validation = _ids(parts.training), _ids(parts.validation)
    self.assertEqual(sorted(training + validation), _ids(source))
    self.assertEqual((training, validation),
                     (sorted(training), sorted(validation)))
    self.assertEqual(parts.training.classes, source.classes)
    self.assertEqual(_ids(holdout.by_share(source, 0.2).validation), validation)
    self.assertIn("10 of 50 images; no groups by name", parts.notice)
    # Cards of either tell it from the whole.
    self.assertEqual(parts.validation.description["part"],
                     {"name": "validation", "share": 0.2})

  def test_an_image_without_labels_can_be_in_either_part(self):
    source = _source([f"{i:03d}" for i in range(100)], [()] * 100)
    self.assertLen(holdout.by_share(source, 0.2).validation.items, 20)

  def test_no_group_is_divided(self):
    ids = [f"clip{clip}/frame_{frame:03d}.jpg"
           for clip in range(20) for frame in range(7)]
    parts = holdout.by_share(_source(ids), 0.2)
    clips = [collections.Counter(name.split("/")[0] for name in _ids(part))
             for part in (parts.training, parts.validation)]
    self.assertEmpty(set(clips[0]) & set(clips[1]))
    self.assertLen(clips[1], 4)
    self.assertIn("20 groups by name, such as clip0/ (7 images)", parts.notice)

  def test_a_pattern_says_what_belongs_together(self):
    ids = [f"P{patient:02d}-{view}.png" for patient in range(10)
           for view in "abc"]
    parts = holdout.by_share(_source(ids), 0.2, r"^(P\d+)-")
    patients = {name[:3] for name in _ids(parts.validation)}
    self.assertLen(patients, 2)
    self.assertLen(parts.validation.items, 6)

  def test_a_share_that_cannot_be_cut_is_refused(self):
    for ids, share, pattern, words in (
        ([f"a/frame{i}" for i in range(9)] + ["b"], 0.4, None,
         "10 images in 2 groups by name, the largest of 9"),
        (["a1", "a2"], 0.5, "a", "in 1 group by --validation_groups, the "
         "largest of 2; another expression says"),
        (["a", "b"], 1.0, None, "above 0, below 1. Received: 1.0"),
        (["a", "b"], 0.5, "(", "a regular expression"),
        (["a"], 0.2, None, "1 images, too few for")):
      with self.assertRaises(errors.InputError) as raised:
        holdout.by_share(_source(ids), share, pattern)
      self.assertIn(words, str(raised.exception))


class ListTest(parameterized.TestCase):

  def _list(self, text):
    return fake_sets.write(os.path.join(tempfile.mkdtemp(), "val.txt"), text)

  def test_a_list_names_ids_paths_or_names_without_extension(self):
    source = _source(["a/1.jpg", "a/2.jpg", "b/3.png", "b/4.jpg"])
    parts = holdout.by_list(
        source, self._list("a/2.jpg\r\n\n/photos/b/4.jpg\n3\n"))
    self.assertEqual(_ids(parts.validation), ["a/2.jpg", "b/3.png", "b/4.jpg"])
    self.assertEqual(_ids(parts.training), ["a/1.jpg"])

  @parameterized.parameters(
      ("a/1.jpg\nc.jpg\n", r"val.txt:2: expected an image .* 'c.jpg'"),
      ("1\n", r"val.txt:1: .* one image. Received: '1', which several have"),
      ("2\na/2.jpg\n", r"val.txt:2: .* 'a/2.jpg', also at .*val.txt:1"),
      ("a/1.jpg\n2\nb/1.jpg\n", "some of the 3 images. Received: all"),
      ("\n", "Received: none"))
  def test_a_wrong_line_is_told(self, text, words):
    source = _source(["a/1.jpg", "a/2.jpg", "b/1.jpg"])
    with self.assertRaisesRegex(errors.InputError, words):
      holdout.by_list(source, self._list(text))


if __name__ == "__main__":
  absltest.main()
