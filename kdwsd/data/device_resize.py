"""Warps the images of a training batch on the device that trains.

Processors then only decode, and a batch is copied to the device as bytes of the
original size, not as floats of the warped one.

Each side of the result is interpolated between two rows or columns of the
image, which are gathered. Matrix products with weights from the true sizes
give the same on tensor cores, but those round float32 to the 10 bits of
TensorFloat-32, a quarter of a grey level, and compute 2 GFLOP per image of 672
pixels for what is two reads per value. Both kinds take padded images.
"""

import tensorflow as tf


def warp(batch, sizes):
  """Warps and mirrors images as `input_pipeline.training_batches` would.

  The padded shape H x W differs between batches, so this is not to be compiled
  together with a training step.

  Args:
    batch: from `input_pipeline.training_batches` with `resize=False`.
    sizes: the `sizes` of these batches. If there is only one, the shape of the
      result is static.

  Returns:
    The batch with `image` [B, S, S, 3] float32, RGB 0..255, and without
    `image_size` and `side`. Differs from the pipeline's by 1e-3 at most.
  """
  batch = dict(batch)
  lengths = tf.cast(batch.pop("image_size"), tf.float32)          # [B, 2]
  sides = batch.pop("side")                                       # [B]
  side = sizes[0] if len(set(sizes)) == 1 else sides[0]
  pixels = tf.range(side, dtype=tf.float32)[tf.newaxis]           # [1, S]
  mirrored = tf.where(
      batch["mirrored"][:, tf.newaxis], pixels[:, ::-1], pixels)  # [B, S]
  # TensorFlow gathers bytes only on CPUs.
  image = tf.cast(batch["image"], tf.float32)                     # [B, H, W, 3]
  image = _interpolate(
      image, 2, *_places(mirrored, lengths[:, 1:], side))         # [B, H, S, 3]
  image = _interpolate(
      image, 1, *_places(pixels, lengths[:, :1], side))           # [B, S, S, 3]
  return {**batch, "image": image}


def _places(pixels, length, side):
  """Where the pixels of a warped side lie on the original one.

  As in `tf.image.resize`: pixel centres are at half integers, and places beyond
  the outer centres get the outer pixel.

  Args:
    pixels: [B or 1, S] float32, indices of pixels of the warped side.
    length: [B, 1] float32, pixels of the original side.
    side: S, pixels of the warped side.

  Returns:
    Each [B, S]: index of the pixel at or before the place, index of the one
    after it, int32; share of the latter, float32 in [0, 1].
  """
  place = (pixels + 0.5) * (length / tf.cast(side, tf.float32)) - 0.5
  first = tf.clip_by_value(tf.floor(place), 0.0, length - 1.0)
  second = tf.minimum(first + 1.0, length - 1.0)
  share = tf.clip_by_value(place - first, 0.0, 1.0)
  # Integers last: on a GPU, TensorFlow computes with int32 on the host.
  return tf.cast(first, tf.int32), tf.cast(second, tf.int32), share


def _interpolate(images, axis, first, second, share):
  """[B, ., ., 3] images with axis 1 or 2 replaced by its places, see above."""
  first, second = (tf.gather(images, index, axis=axis, batch_dims=1)
                   for index in (first, second))
  share = (share[:, tf.newaxis, :, tf.newaxis] if axis == 2
           else share[:, :, tf.newaxis, tf.newaxis])
  return first + (second - first) * share
