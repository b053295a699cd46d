"""Scales samples of any range to the 0..255 of a JPEG.

A file does not declare the range of its samples: 12 bits of a camera are stored
in files of 16 bits. So the range is inferred from the largest sample, by one
rule for all images and for the graph of an export
(`kdwsd.serving.image_decoding`):

| samples | largest sample | inferred range |
|---|---|---|
| integers | at most 255, 1023, 4095, 16383, 65535 | 8, 10, 12, 14, 16 bits |
| floats | at most 1 | 0..1 |
| floats | 20 to 255 | 0..255 |
| floats | 1024 to 65535 | 12, 14 or 16 bits |

Of integers the upper 8 bits are kept; floats are rounded. If a TIFF's
MaxSampleValue or packed depth gives a larger maximum, it is used. Adjacent
depths differ by a factor of four in brightness, so the card counts the images
by inferred range to show a data set with several. Other samples are refused
because they are ambiguous: negative values, NaN, infinity, integers of more
than 16 bits, floats between the ranges above.
"""

import numpy as np

from kdwsd import errors

# Depths that can be inferred, bits.
DEPTHS = (8, 10, 12, 14, 16)
_ADVICE = ("Scale the samples to 0..255 and save them as an 8-bit image, the "
           "same scale for every image of the data set.")


def to_bytes(samples, *, stated=0, name="image"):
  """Scales samples to 0..255 by the rule of the module.

  Args:
    samples: array of any shape, integers or floats.
    stated: maximum that the file declares; 0 for none.
    name: name of the image, for messages.

  Returns:
    (uint8 array of the same shape, the inferred range, such as `12 bits`).

  Raises:
    errors.InputError: samples outside the ranges of the rule.
  """
  if np.issubdtype(samples.dtype, np.floating):
    return _of_floats(samples, stated, name)
  low, high = int(samples.min(initial=0)), int(samples.max(initial=0))
  if low < 0 or high >= 1 << DEPTHS[-1]:
    raise _refused(name, "integers from 0 to 65535", f"{low} to {high}")
  bits = depth(max(high, stated) if stated < 1 << DEPTHS[-1] else high)
  return (samples >> (bits - 8)).astype(np.uint8), f"{bits} bits"


def depth(largest):
  """Inferred depth of samples in bits: 8, 10, 12, 14 or 16."""
  return next(bits for bits in DEPTHS if largest < 1 << bits)


def _of_floats(samples, stated, name):
  odd = int(np.count_nonzero(~np.isfinite(samples)))
  if odd:
    raise _refused(name, "finite samples",
                   f"NaN or infinity, {odd} of {samples.size} samples")
  low, high = (float(samples.min(initial=0)), float(samples.max(initial=0)))
  largest = max(high, stated)
  # Rounding may move the end of a range by half a level.
  if largest < 255.5 / 255:
    scale, taken_for = 255, "0..1"
  elif 20 <= largest < 255.5:
    scale, taken_for = 1, "0..255"
  elif 1024 <= largest < 65535.5:
    bits = depth(round(largest))
    scale, taken_for = 0.5 ** (bits - 8), f"{bits} bits"
  else:
    scale = None
  if scale is None or low * scale < -0.5:
    raise _refused(
        name, "float samples in 0..1 or 0..255, or with a maximum of 1024 to "
        "65535", f"{low:.6g} to {high:.6g}")
  levels = samples.astype(np.float32) * np.float32(scale)
  levels = np.floor(levels) if scale < 1 else np.rint(levels)
  return np.clip(levels, 0, 255).astype(np.uint8), taken_for


def _refused(name, expected, received):
  return errors.InputError(
      f"{name}: expected {expected}. Received: {received}. {_ADVICE}")
