"""Tests of edge maps: geometry by hand, thinning against a NumPy loop."""

import os
import shutil
import tempfile
from unittest import mock
import uuid

from absl.testing import absltest
from absl.testing import parameterized
import cv2
import numpy as np

from kdwsd import errors
from kdwsd import files
from kdwsd.data import edges
from tests.data import forest


def _thin_by_loops(strength, orientation):
  """The definition, pixel by pixel, in float64; returns the margin.

  Neighbours lie on a grid of 1/32 pixel.
  """
  height, width = strength.shape
  margin = np.zeros([height, width])

  def at(y, x):
    y, x = np.rint(32 * np.array([y, x])) / 32
    y, x = np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)
    top, left = int(np.floor(y)), int(np.floor(x))
    bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
    dy, dx = y - top, x - left
    return ((1 - dy) * ((1 - dx) * strength[top, left]
                        + dx * strength[top, right])
            + dy * ((1 - dx) * strength[bottom, left]
                    + dx * strength[bottom, right]))

  for y in range(height):
    for x in range(width):
      dy, dx = np.sin(orientation[y, x]), np.cos(orientation[y, x])
      margin[y, x] = strength[y, x] - max(
          at(y + dy, x + dx), at(y - dy, x - dx))
  return margin


def _step(angle, side=64, low=60, high=180):
  """A straight edge through the centre; `angle` points across it, y down."""
  y, x = np.mgrid[:side, :side] - (side - 1) / 2
  beyond = np.cos(angle) * x + np.sin(angle) * y > 1e-9
  return np.repeat(np.where(beyond, high, low)[..., np.newaxis], 3, 2).astype(
      np.uint8)


class EdgesTest(parameterized.TestCase):

  def test_interpolation_is_that_of_opencv_4(self):
    rng = np.random.default_rng(0)
    values = rng.random([40, 50]).astype(np.float32)
    # Some lie outside.
    x = (np.rint(rng.uniform(-2, 52, [40, 50]) * 32) / 32).astype(np.float32)
    y = (np.rint(rng.uniform(-2, 42, [40, 50]) * 32) / 32).astype(np.float32)
    received = edges._interpolate(values, x, y)
    self.assertEqual(received.dtype, np.float32)
    expected = cv2.remap(values, x, y, cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REPLICATE)
    np.testing.assert_allclose(received, expected, rtol=0, atol=3e-7)
    if cv2.__version__.startswith("4."):
      np.testing.assert_array_equal(received, expected)

  def test_the_scale_is_that_of_float64(self):
    image = np.random.default_rng(1).integers(0, 256, [60, 64, 3], np.uint8)
    thinned = np.random.default_rng(2).random([60, 64]).astype(np.float32) + 1
    with mock.patch.object(edges, "thin", lambda *_: thinned):
      strength, _ = edges.gradient_edges(image, 1.0, 98.7)
    scale = np.percentile(thinned.astype(np.float64), 98.7)
    np.testing.assert_array_equal(
        strength, np.minimum(thinned / np.float32(scale), 1))

  @parameterized.parameters(0.0, np.pi / 6, np.pi / 4, np.pi / 2, 2.5)
  def test_orientation_points_across_the_edge(self, angle):
    strength, orientation = edges.gradient_edges(_step(angle))
    inner = np.s_[16:48, 16:48]
    found = orientation[inner][strength[inner] > 0.5]
    self.assertNotEmpty(found)
    # On the circle of half turns: 0 and pi are the same.
    self.assertGreater(np.min(np.cos(2 * (found - angle))), 0.98)

  def test_edge_is_one_or_two_pixels_wide(self):
    strength, _ = edges.gradient_edges(_step(0.0))
    columns = np.flatnonzero(strength[32])
    self.assertLessEqual(len(columns), 2)
    self.assertBetween(columns.mean(), 31, 32)

  def test_an_edge_of_colour_alone_is_seen(self):
    # Rec. 601 luma of both: 0.299 * 200 = 59.8 and 0.587 * 102 = 59.9.
    image = np.zeros([48, 48, 3], np.uint8)
    image[:, :24, 0] = 200
    image[:, 24:, 1] = 102
    strength, _ = edges.gradient_edges(image)
    self.assertGreater(strength[24, 22:26].max(), 0.9)

  @parameterized.parameters((1, 1), (1, 9), (17, 3), (40, 60))
  def test_ranges(self, height, width):
    image = np.random.default_rng(0).integers(
        0, 255, [height, width, 3], np.uint8)
    strength, orientation = edges.gradient_edges(image)
    for array in (strength, orientation):
      self.assertEqual(array.shape, (height, width))
      self.assertEqual(array.dtype, np.float32)
    self.assertTrue(np.all((strength >= 0) & (strength <= 1)))
    self.assertTrue(np.all((orientation >= 0) & (orientation < np.pi)))

  def test_plain_image_has_no_edge(self):
    strength, _ = edges.gradient_edges(np.full([30, 40, 3], 77, np.uint8))
    np.testing.assert_array_equal(strength, np.zeros([30, 40]))

  def test_percentile_cuts_the_strongest(self):
    image = np.zeros([60, 200, 3], np.uint8)
    image[:, 50:] = 10
    image[:, 150:] = 255
    even, _ = edges.gradient_edges(image, percentile=10)
    self.assertAlmostEqual(np.max(even[30, :100]), 1.0, places=3)
    strict, _ = edges.gradient_edges(image, percentile=100)
    self.assertLess(np.max(strict[30, :100]), 0.2)

  def test_thin_matches_loops(self):
    generator = np.random.default_rng(1)
    strength = generator.uniform(size=[23, 31]).astype(np.float32)
    orientation = generator.uniform(0, np.pi, [23, 31]).astype(np.float32)
    thinned = edges.thin(strength, orientation)
    margin = _thin_by_loops(strength, orientation)
    clear = np.abs(margin) > 1e-5
    self.assertGreater(np.mean(clear), 0.99)
    np.testing.assert_array_equal((thinned > 0)[clear], (margin > 0)[clear])
    np.testing.assert_array_equal(thinned[thinned > 0], strength[thinned > 0])


class LearnedEdgesTest(absltest.TestCase):

  def setUp(self):
    super().setUp()
    self._directory = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self._directory)

  def test_a_forest_is_read_and_asked(self):
    path = forest.write(self._directory)
    image = _step(0.0, side=96)
    strength, orientation = edges.learned_edges(image, path)
    self.assertEqual(strength.shape, (96, 96))
    self.assertEqual(orientation.shape, (96, 96))
    self.assertBetween(strength.max(axis=0).argmax(), 45, 50)
    self.assertEqual(strength[:, :30].max(), 0)
    remote = f"ram://{uuid.uuid4().hex}/forest.yml"
    files.upload(path, remote)
    np.testing.assert_array_equal(
        edges.learned_edges(image, remote)[0], strength)

  def test_a_missing_forest_is_an_error(self):
    with self.assertRaisesRegex(errors.InputError, "nowhere.*no such file"):
      edges.learned_edges(_step(0.0), "/nowhere/model.yml")

  def test_another_file_is_an_error(self):
    path = os.path.join(self._directory, "model.yml")
    with open(path, "w", encoding="utf-8") as file:
      file.write("hello")
    with self.assertRaisesRegex(errors.InputError, "structured-edge"):
      edges.learned_edges(_step(0.0), path)


if __name__ == "__main__":
  absltest.main()
