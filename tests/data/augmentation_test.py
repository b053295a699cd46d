"""Augmentation: a function of the seed; operations against two others' own."""

from unittest import mock

from absl.testing import parameterized
import numpy as np
from official.vision.ops import augment as official_augment
from PIL import Image
from PIL import ImageEnhance
from PIL import ImageOps
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import augmentation

_OFFICIAL = {
    "autocontrast": "AutoContrast", "equalize": "Equalize", "invert": "Invert",
    "posterize": "Posterize", "solarize": "Solarize",
    "solarize_add": "SolarizeAdd", "color": "Color",
    "brightness": "Brightness", "sharpness": "Sharpness", "rotate": "Rotate",
    "shear_x": "ShearX", "shear_y": "ShearY", "translate_x": "TranslateX",
    "translate_y": "TranslateY"}
_PILLOW = {
    "autocontrast": lambda image, m: ImageOps.autocontrast(image),
    "equalize": lambda image, m: ImageOps.equalize(image),
    "invert": lambda image, m: ImageOps.invert(image),
    "posterize": lambda image, m: ImageOps.posterize(image, int(0.4 * m)),
    "solarize": lambda image, m: ImageOps.solarize(image, int(25.6 * m)),
    "color": lambda image, m: _enhance(ImageEnhance.Color, image, m),
    "contrast": lambda image, m: _enhance(ImageEnhance.Contrast, image, m),
    "brightness": lambda image, m: _enhance(ImageEnhance.Brightness, image, m),
    "sharpness": lambda image, m: _enhance(ImageEnhance.Sharpness, image, m),
}


def _enhance(enhancer, image, magnitude):
  return enhancer(image).enhance(0.1 + 0.18 * magnitude)


def _picture(side, seed=0):
  """Smooth enough to look at, with all three channels different: uint8."""
  random = np.random.RandomState(seed)
  small = np.uint8(random.randint(20, 230, [8, 8, 3]))
  return np.array(Image.fromarray(small).resize((side, side), Image.BICUBIC))


def _augment(image, seed, num_layers=2, magnitude=9.0, cutout_size=8):
  return augmentation.augment(
      image, seed, num_layers=num_layers, magnitude=magnitude,
      cutout_size=cutout_size)


def _drawn(returned, num_seeds, num_layers=1):
  """What `distort` was asked for, with seeds [0, 0], [1, 0] and so on.

  Args:
    returned: stands in for `distort`, on an image of one black pixel.
    num_seeds: how many.
    num_layers: of `augment`.

  Returns:
    [num_seeds] int.
  """
  black = tf.zeros([1, 1, 3], tf.uint8)
  with mock.patch.object(augmentation, "distort", returned):
    dataset = tf.data.Dataset.range(num_seeds).map(
        lambda i: _augment(black, tf.stack([i, 0]), num_layers, 9.0, 0))
  return np.int32(next(iter(dataset.batch(num_seeds)))[:, 0, 0, 0])


def _index(image, name, **_):
  return image * 16 + augmentation.OPERATIONS.index(name)


class AugmentTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters("uint8", "float32", "float16")
  def test_off_gives_the_image_back(self, dtype):
    image = (_picture(16) + 0.25).astype(dtype)
    output = _augment(image, [1, 2], num_layers=0, cutout_size=0)
    self.assertEqual(tf.float32, output.dtype)
    self.assertAllEqual(image.astype(np.float32), output)

  def test_same_seed_same_bytes_other_seeds_other_images(self):
    image = _picture(32)
    first = [_augment(image, [3, i]).numpy().tobytes() for i in range(8)]
    again = [_augment(image, [3, i]).numpy().tobytes() for i in range(2)]
    self.assertEqual(first[:2], again)
    self.assertGreater(len(set(first)), 6)
    self.assertNotEqual(first[1], _augment(image, [4, 1]).numpy().tobytes())

  def test_nothing_but_the_seed_matters(self):
    image = _picture(32)
    tf.random.set_seed(1)
    before = [_augment(image, [i, 5]) for i in range(4)]
    tf.random.set_seed(2)
    tf.random.uniform([100])
    np.random.seed(3)
    for i in reversed(range(4)):
      self.assertAllEqual(before[i], _augment(image, [i, 5]))

  def test_in_tf_data_with_unknown_sides(self):
    seeds = np.int64([[7, i] for i in range(4)])
    images = tf.data.Dataset.from_generator(
        lambda: (_picture(side, side) for side in (24, 32, 24, 32)),
        output_signature=tf.TensorSpec([None, None, 3], tf.uint8))
    dataset = tf.data.Dataset.zip(
        (images, tf.data.Dataset.from_tensor_slices(seeds))).map(
            lambda image, seed: _augment(image, seed, 1), tf.data.AUTOTUNE)
    self.assertEqual([None, None, 3], dataset.element_spec.shape.as_list())
    self.assertEqual(tf.float32, dataset.element_spec.dtype)
    for output, image, seed in zip(dataset, images, seeds):
      self.assertAllEqual(_augment(image, seed, 1), output)

  def test_kind_of_seed_does_not_matter(self):
    image = _picture(16)
    self.assertAllEqual(_augment(image, tf.constant([8, 9], tf.int32)),
                        _augment(image, tf.constant([8, 9], tf.int64)))

  def test_floats_are_rounded_and_stay_in_range(self):
    # Seed [1, 0] draws the identity: see the golden draws.
    image = np.float32([[[99.6, 255.7, -0.8]]])
    output = _augment(image, [1, 0], num_layers=1, cutout_size=0)
    self.assertAllEqual([[[100.0, 255.0, 0.0]]], output)

  def test_golden_draws(self):
    # Made by this function on TensorFlow 2.15, CPU. A change here changes
    # every resumed run.
    self.assertAllEqual([11, 0, 2, 5, 15, 5, 3, 3, 11, 0, 9, 7],
                        _drawn(_index, 12))
    image = _augment(np.zeros([64, 64, 3], np.uint8), [1, 2], num_layers=0)
    rows, columns = np.nonzero(image.numpy()[..., 0])
    self.assertEqual((42, 49, 35, 42), (
        rows.min(), rows.max(), columns.min(), columns.max()))

  def test_operations_and_signs_are_equally_likely(self):
    counts = np.bincount(_drawn(_index, 3200), minlength=16)
    # 200 expected of each, standard deviation 13.7.
    self.assertAllInRange(counts, 200 - 55, 200 + 55)
    signs = _drawn(
        lambda image, name, magnitude, sign: image + tf.cast(
            sign + 1.0, tf.uint8), 1000)
    self.assertAllEqual([0, 2], np.unique(signs))
    self.assertBetween(np.count_nonzero(signs), 430, 570)

  def test_layers_draw_apart_and_follow_one_another(self):
    one, two = _drawn(_index, 400), _drawn(_index, 400, num_layers=2)
    self.assertAllEqual(one, two // 16)
    # 256 pairs, of which 400 draws hit 202 on average.
    self.assertGreater(len(np.unique(two)), 170)

  @parameterized.parameters(
      ({"num_layers": -1}, "num_layers: expected 0 or more"),
      ({"magnitude": 11.0}, "magnitude: expected 0 to 10"),
      ({"cutout_size": -2}, "cutout_size: expected 0 or more"))
  def test_what_is_wrong_is_told(self, settings, message):
    with self.assertRaisesRegex(errors.InputError, message):
      _augment(_picture(8), [1, 2], **settings)


class CutOutTest(tf.test.TestCase, parameterized.TestCase):

  def test_by_hand(self):
    # 6 x 8, side 4, centre row 1, column 7: rows -1 to 2, columns 5 to 8.
    output = augmentation.cut_out(tf.zeros([6, 8, 3]), (1, 7), 4)
    expected = np.zeros([6, 8, 3])
    expected[0:3, 5:8] = 128
    self.assertAllEqual(expected, output)
    # An odd side is centred.
    output = augmentation.cut_out(tf.zeros([5, 5, 3]), (2, 2), 3)
    self.assertAllEqual(9 * 3 * 128, tf.reduce_sum(output))
    self.assertAllEqual(np.full([3, 3, 3], 128), output[1:4, 1:4])

  def test_leaves_all_else_alone(self):
    image = _picture(16) + np.float32(0.3)
    output = _augment(image, [1, 2], num_layers=0, cutout_size=6).numpy()
    cut = np.all(output == 128, axis=-1)
    self.assertBetween(np.count_nonzero(cut), 9, 36)
    self.assertAllEqual(image[~cut], output[~cut])

  def test_centre_is_anywhere_in_the_image(self):
    image = tf.zeros([6, 6, 3])
    dataset = tf.data.Dataset.range(400).map(
        lambda i: _augment(image, tf.stack([i, 1]), 0, 0.0, 1)[..., 0] > 0)
    hits = np.sum(list(dataset), axis=0)
    self.assertEqual(400, hits.sum())
    self.assertGreater(hits.min(), 0)  # 11.1 expected of each pixel.

  def test_larger_than_the_image_covers_a_quarter_at_least(self):
    image = tf.zeros([8, 8, 3])
    for i in range(10):
      output = _augment(image, [i, 1], num_layers=0, cutout_size=16)
      self.assertAllEqual(np.full([8, 8, 3], 128), output)


class DistortTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters(*_OFFICIAL)
  def test_is_the_official_operation_at_its_level(self, name):
    image = tf.constant(_picture(224))
    official = _OFFICIAL[name]
    to_argument = official_augment.level_to_arg(
        cutout_const=40.0, translate_const=100.0)[official]
    fill = (([128] * 3,) if official in official_augment.REPLACE_FUNCS else ())
    for magnitude in (0.0, 2.0, 7.0):
      expected = official_augment.NAME_TO_FUNC[official](
          image, *to_argument(magnitude), *fill)  # Sign drawn at random.
      outputs = [augmentation.distort(
          image, name, magnitude=magnitude, sign=sign) for sign in (-1.0, 1.0)]
      self.assertTrue(any(np.array_equal(output, expected)
                          for output in outputs), magnitude)

  @parameterized.parameters(*_PILLOW)
  def test_is_pillows_operation(self, name):
    picture = _picture(40)
    for magnitude in (3.0, 6.0, 10.0):
      output = augmentation.distort(
          tf.constant(picture), name, magnitude=magnitude).numpy()
      expected = _PILLOW[name](Image.fromarray(picture), magnitude)
      # Weights of luminance and rounding differ in the last digit, which the
      # factor of 1.9 may double.
      self.assertAllClose(np.int32(expected), np.int32(output), atol=3)

  def test_translations_by_hand(self):
    # A side of 56 at magnitude 4: 0.4 * 100 / 224 * 56 = 10 pixels.
    image = _picture(56)
    left = augmentation.distort(
        tf.constant(image), "translate_x", magnitude=4.0, sign=1.0)
    self.assertAllEqual(image[:, 10:], left[:, :-10])
    self.assertAllEqual(image[:, :-11:-1], left[:, -10:])
    down = augmentation.distort(
        tf.constant(image), "translate_y", magnitude=4.0, sign=-1.0)
    self.assertAllEqual(image[:-10], down[10:])
    self.assertAllEqual(image[9::-1], down[:10])

  @parameterized.parameters("rotate", "shear_x", "shear_y", "translate_x",
                            "translate_y")
  def test_signs_are_opposite(self, name):
    image = tf.constant(_picture(33))
    there = augmentation.distort(image, name, magnitude=9.0, sign=1.0)
    back = augmentation.distort(image, name, magnitude=9.0, sign=-1.0)
    self.assertNotAllEqual(image, there)
    self.assertNotAllEqual(there, back)
    middle = augmentation.distort(there, name, magnitude=9.0, sign=-1.0)
    centre = slice(14, 19)
    self.assertAllClose(np.int32(image)[centre, centre],
                        np.int32(middle)[centre, centre], atol=40)

  @parameterized.product(
      name=("autocontrast", "equalize", "contrast", "sharpness"),
      value=(0, 77, 255))
  def test_an_image_of_one_colour_stays_it(self, name, value):
    image = tf.fill([9, 9, 3], tf.constant(value, tf.uint8))
    self.assertAllEqual(
        image, augmentation.distort(image, name, magnitude=10.0))

  def test_unknown_operation_is_told(self):
    with self.assertRaisesRegex(ValueError, "Expected one of identity"):
      augmentation.distort(tf.zeros([2, 2, 3], tf.uint8), "cutout",
                           magnitude=1.0)


if __name__ == "__main__":
  tf.test.main()
