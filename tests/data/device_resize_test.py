"""Images that the device warps: the batches stay the same."""

import os
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.data import device_resize
from kdwsd.data import input_pipeline
from tests.data import marked_records
from tests.data import mixed_records

# Grey levels of 255.
_TOLERANCE = 1e-3


def _batch(sizes, side, *, mirrored=None, padding=0):
  """Noise of these sizes, in the form of the pipeline, and without padding."""
  random = np.random.RandomState(0)
  images = [random.randint(0, 256, [*size, 3]).astype(np.uint8)
            for size in sizes]
  height, width = np.max(sizes, axis=0)
  padded = np.full([len(sizes), height, width, 3], padding, np.uint8)
  for row, image in zip(padded, images):
    row[:image.shape[0], :image.shape[1]] = image
  mirrored = np.zeros(len(sizes), bool) if mirrored is None else mirrored
  return {"image": tf.constant(padded),
          "image_size": tf.constant(sizes, tf.int32),
          "side": tf.fill([len(sizes)], side),
          "mirrored": tf.constant(mirrored)}, images


class DeviceResizeTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(1, 2, 7, 32, 33, 90)
  def test_is_bilinear_with_half_pixel_centres(self, side):
    mirrored = np.arange(len(mixed_records.SIZES)) % 2 == 1
    batch, images = _batch(mixed_records.SIZES, side, mirrored=mirrored)
    warped = device_resize.warp(batch, (side, side + 1))["image"]
    self.assertEqual(warped.dtype, tf.float32)
    for row, image, flip in zip(warped, images, mirrored):
      expected = marked_records.warp(image, side)
      # Places in float32, as in TensorFlow's own warp, against float64.
      self.assertAllClose(row, expected[:, ::-1] if flip else expected,
                          atol=5e-3, rtol=0)

  def test_padding_changes_nothing(self):
    mirrored = np.arange(len(mixed_records.SIZES)) % 2 == 0
    black, white = [_batch(mixed_records.SIZES, 24, padding=value,
                           mirrored=mirrored)[0] for value in (0, 255)]
    self.assertNotAllEqual(black["image"], white["image"])
    self.assertAllEqual(device_resize.warp(black, (24,))["image"],
                        device_resize.warp(white, (24,))["image"])

  @parameterized.product(
      sizes=[(24,), (24, 40, 65)], mirror=[False, True],
      cache=["none", "memory", "disk"])
  def test_batches_are_those_of_the_pipeline(self, sizes, mirror, cache):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    record_set = mixed_records.write(directory.name, "train")
    plain, unwarped = [
        input_pipeline.training_batches(
            record_set, global_batch_size=4, sizes=sizes, num_proposals=8,
            seed=5, start_step=1, mirror=mirror, shuffle_buffer=4,
            cache="none" if resize else cache, resize=resize,
            cache_directory=os.path.join(directory.name, "cache"))
        for resize in (True, False)]
    flips, sides = set(), set()
    for expected, given in zip(plain.take(8), unwarped.take(8)):
      self.assertEqual(given["image"].dtype, tf.uint8)
      self.assertAllEqual(given["image"].shape[1:3],
                          tf.reduce_max(given["image_size"], axis=0))
      batch = device_resize.warp(given, sizes)
      self.assertEqual(set(batch), set(expected))
      self.assertAllClose(batch.pop("image"), expected.pop("image"),
                          atol=_TOLERANCE, rtol=0)
      for key, values in batch.items():
        self.assertAllEqual(values, expected[key], msg=key)
      flips.update(batch["mirrored"].numpy())
      sides.add(int(given["side"][0]))
    self.assertEqual(flips, {False, True} if mirror else {False})
    self.assertEqual(sides, set(sizes))

  def test_one_trace_for_all_padded_shapes(self):
    traces = []
    spec = {"image": tf.TensorSpec([2, None, None, 3], tf.uint8),
            "image_size": tf.TensorSpec([2, 2], tf.int32),
            "side": tf.TensorSpec([2], tf.int32),
            "mirrored": tf.TensorSpec([2], tf.bool)}

    @tf.function(input_signature=[spec])
    def warp(batch):
      traces.append(batch)
      return device_resize.warp(batch, (16, 24))["image"]

    for sizes, side in ((((9, 30), (30, 9)), 16), (((50, 5), (4, 4)), 24)):
      self.assertEqual(warp(_batch(sizes, side)[0]).shape, (2, side, side, 3))
    self.assertLen(traces, 1)

  def test_a_single_side_is_a_static_shape(self):
    spec = {"image": tf.TensorSpec([2, None, None, 3], tf.uint8),
            "image_size": tf.TensorSpec([2, 2], tf.int32),
            "side": tf.TensorSpec([2], tf.int32),
            "mirrored": tf.TensorSpec([2], tf.bool)}
    warp = tf.function(lambda batch: device_resize.warp(batch, (16,)))
    shape = warp.get_concrete_function(spec).structured_outputs["image"].shape
    self.assertEqual(shape, [2, 16, 16, 3])

  def test_xla_computes_the_same(self):
    batch, _ = _batch(mixed_records.SIZES, 24, mirrored=np.arange(7) > 3)
    warp = tf.function(lambda batch: device_resize.warp(batch, (24,))["image"],
                       jit_compile=True)
    self.assertAllClose(warp(batch), device_resize.warp(batch, (24,))["image"],
                        atol=5e-3, rtol=0)


if __name__ == "__main__":
  tf.test.main()
