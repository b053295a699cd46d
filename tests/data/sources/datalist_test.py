"""Tests of the Caffe datalist."""

import os
import tempfile

from absl.testing import absltest
from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data.sources import datalist
from tests.data import fake_sets

CLASSES = ("cat", "dog", "yak")


class DatalistTest(parameterized.TestCase):

  def setUp(self):
    super().setUp()
    self.path = os.path.join(tempfile.mkdtemp(), "train.txt")

  def _read(self, text, on_error="stop", **arguments):
    fake_sets.write(self.path, text)
    self.problems = sources.Problems(on_error)
    arguments = {"classes": CLASSES, "frame": "warped672", **arguments}
    return datalist.read(self.path, problems=self.problems, **arguments)

  def test_labels_and_boxes(self):
    source = self._read("a.jpg 1 0 1  0 0 671 335 0.5 336 0 671 671 0.7\n\n"
                        "b/c.jpg\t0 0 0\n")
    self.assertEqual([item.label_ids for item in source.items], [(0, 2), ()])
    self.assertEqual(source.items[1].where, f"{self.path}:3")
    self.assertEqual(source.items[1].image_path, os.path.join(
        os.path.dirname(self.path), "b/c.jpg"))
    # Inclusive pixels 0 to 671 of 672 are the whole side.
    boxes, scores = datalist.read_proposals(source.items[0].proposals, 5, 7)
    np.testing.assert_array_equal(boxes, [[0, 0, .5, 1], [0, .5, 1, 1]])
    np.testing.assert_allclose(scores, [.5, .7])
    boxes, scores = datalist.read_proposals(source.items[1].proposals, 5, 7)
    self.assertEqual((boxes.shape, scores.shape), ((0, 4), (0,)))

  def test_backslashes_are_separators(self):
    source = self._read("a\\b.jpg 1 0 1\na/c.jpg 0 0 0\n")
    self.assertEqual([item.image_id for item in source.items],
                     ["a/b.jpg", "a/c.jpg"])
    self.assertEqual(source.items[0].image_path, os.path.join(
        os.path.dirname(self.path), "a/b.jpg"))
    with self.assertRaisesRegex(errors.InputError, "a/b.jpg, also in line 1"):
      self._read("a\\b.jpg 1 0 1\na/b.jpg 0 0 0\n")

  def test_frames_differ(self):
    line = "a.jpg 1 0 1 0 0 9 19 1\n"
    item = self._read(line, frame="original").items[0]
    boxes, _ = datalist.read_proposals(item.proposals, 40, 20)
    np.testing.assert_array_equal(boxes, [[0, 0, .5, .5]])
    with self.assertRaisesRegex(errors.InputError, "inside the image of 20 x"):
      datalist.read_proposals(item.proposals, 10, 20)

  def test_a_pixel_too_far_is_clipped(self):
    item = self._read("a.jpg 1 0 1 -1 0 672 671.5 1").items[0]
    boxes, _ = datalist.read_proposals(item.proposals, 9, 9)
    np.testing.assert_array_equal(boxes, [[0, 0, 1, 1]])

  @parameterized.parameters(
      ("b.jpg 1 0", "expected a path, 3 labels and 5 numbers per proposal. "
                    "Received: 2 numbers after 'b.jpg'"),
      ("b.jpg", "Received: 0 numbers"),
      ("b.jpg 1 0 1 1 2 3 4", "Received: 7 numbers"),
      ("b.jpg 1 0 1 1 2 3 4 .5 1", "Received: 9 numbers"),
      ("b.jpg 1 2 1", "0 or 1. Received: '2' as label 2 of 'b.jpg'"),
      ("b.jpg 1 -1 1", "Received: '-1'"),
      ("b.jpg 1 0.5 1", "Received: '0.5'"),
      ("b.jpg 1 0 1 1 2 x 4 .5", "Received: 'x' in proposal 1 of 'b.jpg'"),
      ("b.jpg 1 0 1 1 2 3 4 1 1 2 3 nan 1", "Received: 'nan' in proposal 2"),
      ("b.jpg 1 0 1 0 0 674 9 1", "inside the image of 672 x 672 pixels. "
                                  r"Received: \[0.0, 0.0, 674.0, 9.0\]"),
      ("b.jpg 1 0 1 -3 0 6 9 1", "as proposal 1"),
      ("b.jpg 1 0 1 9 0 6 9 1", "xmin ymin xmax ymax"),
      ("b.jpg 1 0 1 1 2 3 4 1e39", "expected numbers. Received: '1e39'"),
      ("b\0.jpg 1 0 1", r"control character. Received: 'b\\x00.jpg'"),
      ("x" * 5000 + " 1 0 1", "at most 1000 characters"),
      # A Mac's line ends of old: the second image would become a box.
      ("1 1 0 1\r0 0 1 1 1", "a CR within a line"),
      (b"\xff\xfe 1 0 1", "UTF-8"))
  def test_bad_line(self, line, message):
    line = line if isinstance(line, bytes) else line.encode()
    text = b"a.jpg 1 0 1\n" + line + b"\nc.jpg 0 0 0 1 1 2 2 1\n"
    with self.assertRaisesRegex(errors.InputError,
                                f"{self.path}:2: .*{message}"):
      self._read(text)
    items = self._read(text, on_error="skip").items
    self.assertEqual([item.image_id for item in items], ["a.jpg", "c.jpg"])
    self.assertLen(self.problems.messages, 1)
    boxes, _ = datalist.read_proposals(items[1].proposals, 9, 9)
    self.assertLen(boxes, 1)

  def test_an_image_with_two_lines_is_left_out_whole(self):
    text = "a.jpg 1 0 1\nc.jpg 0 0 0\na.jpg 0 1 1\n"
    with self.assertRaisesRegex(errors.InputError,
                                f"{self.path}:3: .*a.jpg, also in line 1"):
      self._read(text)
    items = self._read(text, on_error="skip").items
    self.assertEqual([item.image_id for item in items], ["c.jpg"])
    self.assertLen(self.problems.messages, 1)

  def test_arguments(self):
    with self.assertRaisesRegex(errors.InputError, "--classes"):
      self._read("", classes=None)
    with self.assertRaisesRegex(errors.InputError, "original, warped672"):
      self._read("", frame="warped")
    with self.assertRaisesRegex(errors.InputError, "No such file"):
      datalist.read("/nowhere.txt", classes=CLASSES,
                    problems=sources.Problems())

  @settings(max_examples=100, deadline=None)
  @given(rows=strategies.lists(strategies.text(
      alphabet=" 01.-5exn\tàa", max_size=40), max_size=4))
  def test_any_text_is_read_or_refused(self, rows):
    try:
      source = self._read("\n".join(rows), frame="original")
    except errors.InputError as error:
      self.assertRegex(str(error), r"train.txt:\d+: expected")
      return
    for item in source.items:
      try:
        boxes, scores = datalist.read_proposals(item.proposals, 60, 60)
      except errors.InputError:
        continue
      self.assertEqual(len(boxes), len(scores))
      self.assertTrue(np.all((boxes >= 0) & (boxes <= 1)))


if __name__ == "__main__":
  absltest.main()
