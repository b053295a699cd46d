"""Decoding in the graph, against Pillow's way into the records."""

import tempfile
import zlib

from absl.testing import parameterized
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.data import images
from kdwsd.data import input_pipeline
from kdwsd.data import sample_ranges
from kdwsd.serving import image_decoding
from tests.data import deep_images
from tests.data import fake_records
from tests.data import fake_sets
from tests.serving import fakes

_SIZE = 64
_PIXELS = fakes.pixels()
_IMAGE = Image.fromarray(_PIXELS)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decode(image_bytes):
  return image_decoding.decode(image_bytes, _SIZE)


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decode_each(image_bytes):
  return image_decoding.decode_each(image_bytes, _SIZE)


def _expected(content):
  return tf.image.resize(images.decode(content).pixels, [_SIZE, _SIZE]).numpy()


def _alpha(mode):
  ramp = (np.arange(40 * 52).reshape(40, 52, 1) % 256).astype(np.uint8)
  image = Image.fromarray(np.concatenate([_PIXELS, ramp], axis=-1))
  return fake_sets.encoded(image.convert(mode), "PNG")


def _grey_png(bits):
  rows = np.random.RandomState(bits).randint(0, 256, [9, 9], np.uint8)
  rows[:, 0] = 0  # No filter.
  return fakes.png_file(8 * 8 // bits, 9, bits, 0, rows.tobytes())


_GOOD = {
    "jpeg": fakes.jpeg(),
    "jpeg_subsampled": fakes.jpeg(subsampling=2),
    "jpeg_progressive": fakes.jpeg(progressive=True),
    "jpeg_grey": fakes.grey_jpeg(),
    "jpeg_cmyk": fakes.cmyk_jpeg(),
    "jpeg_cmyk_without_adobe": fakes.cmyk_jpeg(adobe=False),
    "jpeg_with_bytes_behind": fakes.jpeg() + b"trailer",
    "png": fakes.png(),
    "png_alpha": _alpha("RGBA"),
    "png_grey_alpha": _alpha("LA"),
    "png_transparent_colour": fake_sets.encoded(
        _IMAGE, "PNG", transparency=(0, 0, 0)),
    "png_transparent_grey": fake_sets.encoded(
        _IMAGE.convert("L"), "PNG", transparency=0),
    "png_16_bits": fake_sets.encoded(Image.fromarray(
        (np.arange(40 * 52).reshape(40, 52) * 31).astype(np.uint16)), "PNG"),
    "png_interlaced_free_palette": fake_sets.encoded(
        _IMAGE.quantize(64), "PNG"),
    **{f"jpeg_turned_{i}": fakes.rotated(i) for i in range(1, 9)},
    **{f"png_turned_{i}": fakes.rotated(i, "PNG") for i in (2, 5, 6, 8)},
    **{f"png_grey_{bits}": _grey_png(bits) for bits in (1, 2, 4, 8)},
    **{f"png_palette_{bits}": fake_sets.encoded(
        _IMAGE.quantize(2 ** bits), "PNG", bits=bits) for bits in (1, 2, 4)},
    **{f"png_transparent_palette_{bits}": fake_sets.encoded(
        _IMAGE.quantize(2 ** bits), "PNG", bits=bits, transparency=1)
       for bits in (1, 4, 8)},
}

_BAD = {
    "nothing": (b"", "zero bytes"),
    "text": (b"hello", "5 bytes of something else"),
    "gif": (fake_sets.encoded(_IMAGE, "GIF"), "something else"),
    "webp": (fake_sets.encoded(_IMAGE, "WEBP"), "something else"),
    "truncated_jpeg": (fakes.truncated_jpeg(), "cannot be decoded"),
    "jpeg_without_end": (fakes.jpeg()[:-2], "cannot be decoded"),
    "jpeg_head": (fakes.jpeg()[:100], "cannot be decoded"),
    "jpeg_mark": (b"\xff\xd8\xff", "cannot be decoded"),
    "truncated_png": (fakes.png()[:-40], "cannot be decoded"),
    "png_mark": (b"\x89PNG\r\n\x1a\n", "cannot be decoded"),
    "huge_jpeg": (
        fakes.huge_jpeg(), "at most 50000000 pixels. Received: 60000 x 60000"),
    "huge_png": (
        fakes.huge_png(), "at most 50000000 pixels. Received: 60000 x 60000"),
    "endless_png": (fakes.huge_png(2 ** 32 - 1), "at most 50000000 pixels"),
}


def _deep_pngs():
  """PNG files of 16 bits whose samples use 8 to 16 of them, by name."""
  made = {}
  for bits in sample_ranges.DEPTHS:
    grey = deep_images.ramp((1 << bits) - 1, 24, 32)
    colours = np.dstack([grey, grey // 2, grey[::-1]])
    for alpha_bits in (bits, 16):
      alpha = deep_images.ramp((1 << alpha_bits) - 1, 24, 32)[:, ::-1]
      made[f"grey_alpha_{bits}_{alpha_bits}"] = deep_images.png(
          np.dstack([grey, alpha]), deep_images.GREY_ALPHA)
      made[f"rgba_{bits}_{alpha_bits}"] = deep_images.png(
          np.dstack([colours, alpha]), deep_images.RGBA)
    made[f"grey_{bits}"] = deep_images.png(grey, deep_images.GREY)
    made[f"rgb_{bits}"] = deep_images.png(colours, deep_images.RGB)
    made[f"transparent_grey_{bits}"] = deep_images.png(
        grey, deep_images.GREY, extra=[(b"tRNS", int(
            grey[5, 5]).to_bytes(2, "big"))])
    made[f"transparent_rgb_{bits}"] = deep_images.png(
        colours, deep_images.RGB, extra=[(b"tRNS", b"".join(
            int(value).to_bytes(2, "big") for value in colours[5, 5]))])
  return made


def _with_metadata():
  """PNG files with more metadata than pixels, by name."""
  grey = deep_images.ramp(255, 24, 32)
  much = b"x" * 9_000_000
  return {name: deep_images.png(grey, deep_images.GREY, bits=8, extra=extra)
          for name, extra in {
              "text": [(b"tEXt", b"key\0" + much)],
              "packed_text": [(b"zTXt", b"key\0\0" + zlib.compress(much))],
              "xmp": [(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + much)],
              "profile": [(b"iCCP", b"icc\0\0" + zlib.compress(much))],
              "many_texts": [(b"tEXt", b"key%d\0" % i + much[:900_000])
                             for i in range(80)]}.items()}


class ImageDecodingTest(tf.test.TestCase, parameterized.TestCase):

  def test_pixels_are_those_of_records(self):
    decoded = _decode(list(_GOOD.values())).numpy()
    self.assertEqual(decoded.dtype, np.float32)
    for name, image in zip(_GOOD, decoded):
      self.assertAllClose(
          image, _expected(_GOOD[name]), atol=1.01, rtol=0, msg=name)

  @parameterized.named_parameters(
      ("deep", _deep_pngs), ("metadata", _with_metadata))
  def test_pixels_are_exactly_those_of_records(self, make):
    made = make()
    for name, content in made.items():
      expected = images.decode(content).pixels
      self.assertGreater(np.ptp(expected), 60, name)
      decoded = image_decoding.decode([content], 32)[0]
      self.assertAllClose(
          decoded, tf.image.resize(expected, [32, 32]), atol=1e-3, msg=name)
    # Depth is an image's own, not its batch's.
    together = _decode(list(made.values()))
    for image, content in zip(together, made.values()):
      self.assertAllEqual(image, _decode([content])[0])

  def test_records_become_what_the_input_pipeline_makes(self):
    record_set = fake_records.write(tempfile.mkdtemp(), "test", 5)
    batch = next(iter(input_pipeline.evaluation_batches(
        record_set, size=_SIZE, num_proposals=1, batch_size=5)))
    content = [parsed.features.feature["image/encoded"].bytes_list.value[0]
               for parsed in map(tf.train.Example.FromString,
                                 tf.data.TFRecordDataset(
                                     list(record_set.paths)
                                 ).as_numpy_iterator())]
    self.assertAllEqual(_decode(content), batch["image"])

  def test_the_fakes_show_every_turn(self):
    turned = [_expected(fakes.rotated(i)) for i in range(1, 9)]
    for i, first in enumerate(turned):
      for second in turned[:i]:
        self.assertGreater(np.abs(first - second).mean(), 10)

  @parameterized.named_parameters(
      (name, *values) for name, values in _BAD.items())
  def test_bad_image_is_named_by_its_place(self, content, message):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError,
        rf"image_bytes\[2\]: expected .*{message}"):
      _decode([fakes.jpeg(), fakes.png(), content, fakes.jpeg()])
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, r"image_bytes\[0\]"):
      _decode([content])

  def test_bad_images_beside_good_ones_change_no_pixel(self):
    good = list(_GOOD.values())
    bad = [content for content, _ in _BAD.values()]
    expected = _decode(good).numpy()
    images, problems = _decode_each(
        [content for pair in zip(good, bad) for content in pair]
        + good[len(bad):])
    places = [*range(0, 2 * len(bad), 2), *range(2 * len(bad), len(images))]
    self.assertAllEqual(images.numpy()[places], expected)
    self.assertAllEqual(problems.numpy()[places], [b""] * len(good))
    for place, (_, message) in zip(range(1, 2 * len(bad), 2), _BAD.values()):
      self.assertRegex(problems[place].numpy().decode(),
                       f"^expected .*{message}.*[.]$")
      self.assertAllEqual(images[place], np.zeros([_SIZE, _SIZE, 3]))

  def test_a_problem_has_the_words_of_the_refusal(self):
    for content, _ in _BAD.values():
      images, problems = _decode_each([content])
      self.assertAllEqual(images, np.zeros([1, _SIZE, _SIZE, 3]))
      with self.assertRaises(tf.errors.InvalidArgumentError) as caught:
        _decode([content])
      self.assertIn(f"image_bytes[0]: {problems[0].numpy().decode()}",
                    caught.exception.message)

  def test_first_of_several_bad_images_is_named(self):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, r"image_bytes\[1\]: .*zero bytes"):
      _decode([fakes.jpeg(), b"", fakes.truncated_jpeg(), b"text"])
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, r"image_bytes\[1\]: .*be decoded"):
      _decode([fakes.jpeg(), fakes.truncated_jpeg(), b""])

  def test_no_image_at_all(self):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "expected at least one image"):
      _decode(tf.zeros([0], tf.string))
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "expected at least one image"):
      _decode_each(tf.zeros([0], tf.string))

  def test_limit_counts_the_last_pixel(self):
    height, width = _PIXELS.shape[:2]
    for content in (fakes.jpeg(), fakes.png()):
      image_decoding.decode([content], 8, max_pixels=height * width)
      with self.assertRaisesRegex(
          tf.errors.InvalidArgumentError, f"inputs.0.: .*{width} x {height}"):
        image_decoding.decode(
            [content], 8, max_pixels=height * width - 1, name="inputs")

  def test_order_is_kept_in_a_large_batch(self):
    content = [fakes.jpeg(seed=i) if i % 3 else fakes.png(seed=i)
               for i in range(40)]
    decoded = _decode(content)
    for i in (0, 1, 20, 39):
      self.assertAllEqual(decoded[i], _decode([content[i]])[0])


if __name__ == "__main__":
  tf.test.main()
