"""Facts about the student that hold whatever its weights."""

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import student


def _config(**changes):
  settings = dict(num_classes=3, backbone="small", image_size=112, fc_units=8)
  settings.update(changes)
  return student.StudentConfig(**settings)


def _images(side=112, batch=2, seed=0):
  random = np.random.RandomState(seed)
  return tf.constant(random.uniform(0, 255, [batch, side, side, 3]), tf.float32)


def _proposals(count=5, batch=2, seed=0):
  random = np.random.RandomState(seed)
  corners = np.sort(random.rand(batch, count, 2, 2), axis=2)
  return tf.constant(corners.reshape(batch, count, 4), tf.float32)


def _corner_aligned(image, size):
  """[H, W, 3] to [size, size, 3], one output pixel at a time."""
  height, width = image.shape[:2]
  out = np.zeros([size, size, 3])
  for row in range(size):
    for column in range(size):
      y = row * (height - 1) / (size - 1)
      x = column * (width - 1) / (size - 1)
      top, left = int(y), int(x)
      bottom, right = min(top + 1, height - 1), min(left + 1, width - 1)
      dy, dx = y - top, x - left
      out[row, column] = (
          (1 - dy) * (1 - dx) * image[top, left] + (1 - dy) * dx
          * image[top, right] + dy * (1 - dx) * image[bottom, left]
          + dy * dx * image[bottom, right])
  return out


class StudentTest(tf.test.TestCase, parameterized.TestCase):

  def test_resize_puts_corners_on_corners(self):
    image = np.random.RandomState(0).uniform(0, 255, [13, 17, 3])
    resized = student.resize(tf.constant(image[np.newaxis], tf.float32), 6)
    self.assertAllClose(resized[0], _corner_aligned(image, 6), atol=1e-3)
    self.assertAllClose(resized[0, 0, 0], image[0, 0], atol=1e-4)
    self.assertAllClose(resized[0, -1, -1], image[-1, -1], atol=1e-4)

  @parameterized.parameters(
      ("small", 112, 8), ("small", 48, 0), ("mobilenet_v2", 64, 0),
      ("vgg16", 112, 4))
  def test_logits_have_one_row_an_image(self, backbone, size, fc_units):
    model = student.build(_config(
        backbone=backbone, image_size=size, fc_units=fc_units,
        backbone_width=0.35 if backbone == "mobilenet_v2" else 1.0))
    logits = model(_images(size))
    self.assertEqual(logits.shape, [2, 3])
    self.assertEqual(logits.dtype, tf.float32)

  @parameterized.parameters(1.0, 0.25)
  def test_whole_image_as_region_is_the_image(self, scale):
    # 112 / 8 = 14 cells: RoI samples fall on cells, and 2 x 2 max is pool5.
    model = student.build(_config(feature_scale=scale))
    images = _images()
    described = model.regions(
        images, tf.tile([[[0.0, 0.0, 1.0, 1.0]]], [2, 1, 1]),
        tf.fill([2, 1], scale))
    self.assertAllClose(model.fc8(described["fc7"][:, 0]), model(images),
                        rtol=1e-4, atol=1e-5)

  @parameterized.parameters(0, 8)
  def test_padding_changes_nothing(self, fc_units):
    model = student.build(_config(fc_units=fc_units))
    proposals = _proposals()
    factor = tf.tile([[1.0, 0.5, 2.0, 1.0, 0.0]], [2, 1])
    plain = model.regions(_images(), proposals, factor)
    odd = tf.concat([proposals[:, :4], tf.fill([2, 1, 4], np.nan)], axis=1)
    padded = model.regions(_images(), odd, factor)
    self.assertIn("fc7", plain)
    for name, values in plain.items():
      self.assertAllEqual(values, padded[name], name)

  def test_factor_multiplies_what_is_pooled(self):
    model = student.build(_config(fc_units=0))
    one = model.regions(_images(), _proposals(), tf.ones([2, 5]))
    three = model.regions(_images(), _proposals(), tf.fill([2, 5], 3.0))
    self.assertAllClose(3 * one["pool"], three["pool"], rtol=1e-5)
    self.assertAllClose(3 * one["fc7"], three["fc7"], rtol=1e-5)

  @parameterized.parameters(0, 8)
  def test_dropout_goes_by_the_seed_alone(self, fc_units):
    model = student.build(_config(fc_units=fc_units))
    seeds = tf.constant([[0, 1], [0, 2]])
    once = model(_images(), training=True, dropout_seeds=seeds)
    self.assertAllEqual(
        once, model(_images(), training=True, dropout_seeds=seeds))
    other = model(_images(), training=True, dropout_seeds=seeds + 1)
    self.assertNotAllClose(once, other)
    self.assertAllEqual(model(_images()), model(_images()))
    with self.assertRaisesRegex(ValueError, "dropout_seeds"):
      model(_images(), training=True)

  def test_fc6_and_fc7_drop_units_of_their_own(self):
    units = 64
    model = student.build(_config(fc_units=units, num_classes=units))
    # fc6 is 1 everywhere; fc7 adds 1 to what is left of it; the logits are
    # what is left of fc7: 0, 2 or, of units that neither drops, 6.
    model.fc6.kernel.assign(tf.zeros_like(model.fc6.kernel))
    model.fc6.bias.assign(tf.ones([units]))
    model.fc7.kernel.assign(tf.eye(units))
    model.fc7.bias.assign(tf.ones([units]))
    model.fc8.kernel.assign(tf.eye(units))
    model.fc8.bias.assign(tf.zeros([units]))
    logits = model(_images(), training=True,
                   dropout_seeds=tf.constant([[0, 1], [0, 2]])).numpy()
    shares = [np.mean(logits == value) for value in (0, 2, 6)]
    self.assertAllClose(shares, [0.5, 0.25, 0.25], atol=0.12)

  @parameterized.parameters("mobilenet_v2", "efficientnet_b0")
  def test_training_uses_the_stored_statistics_and_drops_no_block(
      self, backbone):
    model = student.build(_config(
        backbone=backbone, fc_units=0, image_size=64, dropout_rate=0.0))
    images = _images(64)
    self.assertAllEqual(model(images), model(images, training=True))

  def test_scores_are_probabilities_of_the_resized_image(self):
    model = student.build(_config())
    large = _images(150)
    expected = tf.sigmoid(model(student.resize(large, 112)))
    self.assertAllClose(
        model.score({"image": large})["image_scores"], expected)

  def test_size_that_fc6_cannot_take_is_refused(self):
    with self.assertRaisesRegex(errors.InputError,
                                "multiple of 56.*Received: 96"):
      student.build(_config(image_size=96))
    student.build(_config(image_size=96, fc_units=0))

  @parameterized.parameters(
      ("num_classes", 0), ("dropout_rate", 1.0), ("backbone", "alexnet"),
      ("image_size", 8), ("fc_units", -1), ("roi_pooling", "mean"))
  def test_bad_settings_are_refused(self, name, value):
    with self.assertRaisesRegex(errors.InputError, f"Received: {value!r}"):
      _config(**{name: value})


if __name__ == "__main__":
  tf.test.main()
