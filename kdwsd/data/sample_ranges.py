"""From samples of any range to the 0..255 that a JPEG holds.

A file does not say which part of its container the samples use: a camera's 12
bits come in files of 16. The rule, the same for every image and the same in
the graph of an export (`kdwsd.serving.image_decoding`):

| samples | the largest one is | taken as |
|---|---|---|
| integers | at most 255, 1023, 4095, 16383, 65535 | 8, 10, 12, 14, 16 bits |
| floats | at most 1 | 0..1 |
| floats | 20 to 255 | 0..255 |
| floats | 1024 to 65535 | 12, 14 or 16 bits |

Of integers the upper 8 bits are kept; floats are rounded. Where a TIFF's
MaxSampleValue, or its packed depth, names a larger value, that one counts. A
step between two depths is a factor of four in brightness: what was scaled is
counted, so that a data set whose images came out on both sides of a step is
seen. All else is refused, for no rule could be right: negative values, NaN,
infinity, integers of more than 16 bits, floats between those ranges.
"""

import numpy as np

from kdwsd import errors

# Bits that samples can be taken to have.
DEPTHS = (8, 10, 12, 14, 16)
_ADVICE = ("Scale the samples to 0..255 and save them as an 8-bit image, the "
           "same scale for every image of the data set.")


def to_bytes(samples, *, stated=0, name="image"):
  """Scales samples to 0..255 by the rule of the module.

  Args:
    samples: array of any shape, integers or floats.
    stated: largest value that the file itself names; 0 for none.
    name: of the image, for messages.

  Returns:
    (uint8 array of the same shape, what the samples were taken for, as
    `12 bits`).

  Raises:
    errors.InputError: samples that the rule has no place for.
  """
  if np.issubdtype(samples.dtype, np.floating):
    return _of_floats(samples, stated, name)
  low, high = int(samples.min(initial=0)), int(samples.max(initial=0))
  if low < 0 or high >= 1 << DEPTHS[-1]:
    raise _refused(name, "integers from 0 to 65535", f"{low} to {high}")
  bits = depth(max(high, stated) if stated < 1 << DEPTHS[-1] else high)
  return (samples >> (bits - 8)).astype(np.uint8), f"{bits} bits"


def depth(largest):
  """Bits that samples are taken to have: 8, 10, 12, 14 or 16."""
  return next(bits for bits in DEPTHS if largest < 1 << bits)


def _of_floats(samples, stated, name):
  odd = int(np.count_nonzero(~np.isfinite(samples)))
  if odd:
    raise _refused(name, "finite samples",
                   f"NaN or infinity, {odd} of {samples.size} samples")
  low, high = (float(samples.min(initial=0)), float(samples.max(initial=0)))
  largest = max(high, stated)
  # Half a level beyond a range is what rounding makes of its end.
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
