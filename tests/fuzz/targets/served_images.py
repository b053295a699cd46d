"""Image files in TensorFlow's graph: a server's, and those of the records."""

import os

import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import images
from kdwsd.serving import exif
from kdwsd.serving import image_decoding
from tests.data import fake_sets
from tests.fuzz import oracle
from tests.fuzz.targets import images as image_files
from tests.fuzz.targets import sourced

REFUSALS = (tf.errors.InvalidArgumentError,)
_SIDE = 16
_SOUND = fake_sets.encoded(fake_sets.pixels())

grammar = image_files.served_grammar
damage = image_files.damage


def examples():
  """Sound images that an export decodes, and a few that it does not."""
  made = image_files.examples()
  served = [case for case in made if case["image"].startswith(
      (exif.PNG_SIGNATURE, b"\xff\xd8\xff"))]
  return served + made[::8]


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decode(image_bytes):
  return image_decoding.decode(
      image_bytes, _SIDE, max_pixels=image_files.MAX_PIXELS), (
          exif.orientations(image_bytes))


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _decode_each(image_bytes):
  return image_decoding.decode_each(
      image_bytes, _SIDE, max_pixels=image_files.MAX_PIXELS)


# Traced here: the first input has no more time than others.
for _function in (_decode, _decode_each):
  _function(tf.constant([_SOUND]))


def check(folder):
  """Pixels of both images of a batch, with and without a status for each; and
  what is recorded can be trained on.
  """
  content = sourced.read(os.path.join(folder, "image"))
  try:
    found = images.decode(content, max_pixels=image_files.MAX_PIXELS)
  except errors.InputError:
    found = None
  if found is not None:
    _check_record(found)
  each, problem = _check_each(content)
  try:
    pixels, orientations = (
        tensor.numpy() for tensor in _decode(tf.constant([_SOUND, content])))
  except tf.errors.InvalidArgumentError as error:
    oracle.demand(problem and f"image_bytes[1]: {problem}" in error.message,
                  f"a status other than the refusal: {problem!r}")
    raise
  oracle.demand(not problem and (pixels == each).all(),
                f"other pixels with a status for each: {problem!r}")
  oracle.demand(pixels.shape == (2, _SIDE, _SIDE, 3), f"{pixels.shape}")
  oracle.demand(((pixels >= 0) & (pixels <= 255)).all(), "pixels out of range")
  oracle.demand(((orientations >= 1) & (orientations <= 8)).all()
                and orientations[0] == 1, f"orientations: {orientations}")
  if found is not None and found.orientation == orientations[1]:
    _compare(content, found, pixels[1])


def _compare(content, found, served):
  """Where both read an image, and turn it alike, they see the same pixels."""
  expected = tf.image.resize(found.pixels, [_SIDE, _SIDE]).numpy()
  difference = np.abs(expected - served)
  if not content.startswith(exif.PNG_SIGNATURE):
    # Two decoders, of which either makes its own of damaged data.
    oracle.demand(difference.mean() < 60, "other pixels than those of records: "
                  f"{difference.mean():.1f} apart")
  elif not (content[25] == 0 and content[24] < 8 and b"tRNS" in content):
    oracle.demand(difference.max() < 1.01, "other pixels than those of "
                  f"records: {difference.max():.1f} apart at most")


def _check_each(content):
  """Pixels of both images, and what is wrong with the second: nothing fails."""
  try:
    each, problems = _decode_each(tf.constant([_SOUND, content]))
    alone, _ = _decode_each(tf.constant([_SOUND]))
  except tf.errors.OpError as error:
    raise oracle.Broken(f"per_image fails: {error.message[:300]!r}") from error
  sound, problem = (text.numpy().decode() for text in problems)
  oracle.demand(not sound and (each[0] == alone[0]).numpy().all(),
                f"a bad image spoils a good one: {sound!r}")
  oracle.demand(not problem or (each[1] == 0).numpy().all(),
                "pixels of an image with a problem")
  return each.numpy(), problem


def _check_record(found):
  """The input pipeline must be able to read what the converter kept."""
  try:
    pixels = tf.io.decode_jpeg(found.encoded, channels=3,
                               dct_method="INTEGER_ACCURATE").numpy()
  except tf.errors.InvalidArgumentError as error:
    raise oracle.Broken(f"a record that cannot be decoded: {error.message}"
                        ) from error
  oracle.demand(pixels.shape == found.pixels.shape,
                f"a record of other sides: {pixels.shape} of "
                f"{found.pixels.shape}")
  oracle.demand(np.abs(pixels.astype(int) - found.pixels).mean() < 60,
                "a record of other pixels: to TensorFlow")


def refusal(error, folder):
  """The second image of the batch is named, in our own words."""
  del folder  # A request has no file.
  oracle.demand("image_bytes[1]: expected" in error.message
                and "Received" in error.message,
                f"a refusal of: {error.message[:300]!r}")
