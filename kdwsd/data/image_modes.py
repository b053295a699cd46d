"""Converts Pillow's images of any mode to 8-bit RGB.

Pillow keeps 16 bits only of grey images. Of others it returns the upper byte,
which is black where samples use only the lower bits. OpenCV reads those again.
"""

import cv2
import numpy as np
from PIL import Image
from PIL import ImageChops

from kdwsd import errors
from kdwsd.data import png_chunks
from kdwsd.data import sample_ranges

_SHOWN_AS_NEGATIVE = 0  # TIFF's PhotometricInterpretation WhiteIsZero.
_BITS, _PHOTOMETRIC, _MOST, _MOST_SIGNED = 258, 262, 281, 341


def to_rgb(image, content, name):
  """Converts a loaded Pillow image.

  Args:
    image: Pillow image, as stored in its file.
    content: bytes of that file.
    name: name of the image, for messages.

  Returns:
    (RGB image, assumed range of samples of more than 8 bits, as
    `sample_ranges.to_bytes` names it; "" where all bits are used).

  Raises:
    errors.InputError: see `sample_ranges`.
  """
  if image.mode == "CMYK":
    # Pillow inverts every CMYK JPEG, as if all came from Adobe's programs.
    if image.format in ("JPEG", "MPO") and "adobe" not in image.info:
      image = ImageChops.invert(image)
    return image.convert("RGB"), ""
  taken_for = ""
  if image.mode.startswith("I;16") or image.mode in ("I", "F"):
    image, taken_for = _deep_grey(image, name)
  elif image.format == "PNG" and png_chunks.bit_depth(content) == 16:
    samples = _by_opencv(png_chunks.pixels_alone(content), image, name)
    image, taken_for = _deep_colours(samples, 0, name)
  elif _is_deep_tiff(image):
    image, taken_for = _deep_tiff(image, content, name)
  if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or (
      "transparency" in image.info):
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, (255, 255, 255, 255))
    image = Image.alpha_composite(white, image)
  return image if image.mode == "RGB" else image.convert("RGB"), taken_for


def _deep_grey(image, name):
  """8-bit grey, with alpha where a PNG declares a transparent level."""
  samples = np.array(image)                                       # [H, W]
  if image.format == "PPM" and image.mode == "I":
    # Pillow has scaled the range that the file states to 16 bits.
    stated = 65535
  else:
    stated = _stated(image)
  levels, taken_for = sample_ranges.to_bytes(
      samples, stated=stated, name=name)
  if _tags(image).get(_PHOTOMETRIC) == _SHOWN_AS_NEGATIVE:
    levels = 255 - levels
  taken_for = "" if taken_for == "16 bits" else taken_for
  transparent = image.info.get("transparency")
  if image.format == "PNG" and isinstance(transparent, int):
    alpha = np.where(samples == transparent, 0, 255).astype(np.uint8)
    return Image.fromarray(np.dstack([levels, alpha])), taken_for
  return Image.fromarray(levels), taken_for


def _deep_colours(samples, stated, name):
  """Converts [H, W, 3 or 4] uint16, RGB or RGBA, to an 8-bit image.

  Colours and alpha each have a depth of their own within the 16 bits.
  """
  levels, taken_for = sample_ranges.to_bytes(
      samples[..., :3], stated=stated, name=name)
  if samples.shape[-1] == 4:
    alpha, _ = sample_ranges.to_bytes(samples[..., 3:], name=name)
    levels = np.concatenate([levels, alpha], axis=-1)
  return (Image.fromarray(levels),
          "" if taken_for == "16 bits" else taken_for)


def _is_deep_tiff(image):
  bits = _several(_tags(image).get(_BITS))
  return image.mode.startswith("RGB") and max(bits, default=8) > 8


def _deep_tiff(image, content, name):
  """Pillow's image where all 16 bits are used, else OpenCV's, scaled."""
  samples = _by_opencv(content, image, name)
  stated = _stated(image)
  _, taken_for = sample_ranges.to_bytes(
      samples[..., :3], stated=stated, name=name)
  if taken_for == "16 bits":
    return image, ""
  # Both readers turn the image as its tag says; Pillow once did not.
  if image.mode not in ("RGB", "RGBA") or not np.array_equal(
      np.array(image)[..., :3], samples[..., :3] >> 8):
    raise errors.InputError(
        f"{name}: expected a TIFF without premultiplied alpha, of which OpenCV "
        f"and Pillow read the same samples. Received: mode {image.mode}, "
        f"samples of {taken_for}. Save it as an 8-bit image.")
  return _deep_colours(
      samples[..., :len(image.mode)], stated, name)


def _by_opencv(content, image, name):
  """Reads [H, W, 3 or 4] samples with all bits, RGB or RGBA."""
  samples = cv2.imdecode(
      np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
  if samples is None or samples.ndim != 3 or (
      samples.shape[0] * samples.shape[1] != image.width * image.height):
    raise errors.InputError(
        f"{name}: expected samples of 16 bits that OpenCV can read. Received: "
        f"{image.format} of mode {image.mode}. Save it as an 8-bit image.")
  return samples[..., [2, 1, 0, 3][:samples.shape[-1]]]


def _tags(image):
  """Tags of a TIFF; none of other files."""
  return getattr(image, "tag_v2", None) or {}


def _stated(image):
  """Maximum of the samples that a TIFF declares; 0 if it declares none."""
  tags = _tags(image)
  values = [value for tag in (_MOST, _MOST_SIGNED)
            for value in _several(tags.get(tag))
            if isinstance(value, (int, float)) and value == value]
  bits = max(_several(tags.get(_BITS)), default=0)
  # Of 12 bits, for one, packed as such.
  return max(values + [(1 << bits) - 1 if bits < 16 else 0])


def _several(value):
  """The value of a tag as a tuple, empty where there is none."""
  if value is None:
    return ()
  return value if isinstance(value, tuple) else (value,)
