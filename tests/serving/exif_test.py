"""Orientation read in the graph, against Pillow."""

import io
import struct

from absl.testing import parameterized
from hypothesis import given
from hypothesis import settings
from hypothesis import strategies
import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.data import images
from kdwsd.serving import exif
from tests.data import fake_sets
from tests.serving import fakes


@tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
def _orientations(image_bytes):
  return exif.orientations(image_bytes)


def _tiff(entries, order="<", offset=8):
  """A TIFF file of entries (tag, kind, count, four bytes of value)."""
  mark = b"II*\0" if order == "<" else b"MM\0*"
  content = mark + struct.pack(order + "I", offset) + b"\0" * (offset - 8)
  content += struct.pack(order + "H", len(entries))
  for tag, kind, count, value in entries:
    content += struct.pack(order + "HHI", tag, kind, count) + value
  return content + b"\0\0\0\0"


def _orientation(value, order="<"):
  return 0x0112, 3, 1, struct.pack(order + "HH", value, 0)


def _jpeg(tiff, before=b""):
  segment = b"Exif\0\0" + tiff
  plain = fakes.jpeg()
  return (plain[:2] + before + b"\xff\xe1"
          + struct.pack(">H", len(segment) + 2) + segment + plain[2:])


class ExifTest(tf.test.TestCase, parameterized.TestCase):

  @parameterized.parameters("JPEG", "PNG")
  def test_all_values_as_pillow_writes_them(self, kind):
    content = [fakes.rotated(value, kind) for value in range(1, 9)]
    self.assertAllEqual(_orientations(content), range(1, 9))

  @parameterized.parameters("<", ">")
  def test_both_byte_orders_and_a_directory_further_on(self, order):
    entries = [(0x010f, 2, 4, b"abc\0"), _orientation(6, order)]
    content = [_jpeg(_tiff(entries, order)),
               _jpeg(_tiff(entries, order, offset=40))]
    self.assertAllEqual(_orientations(content), [6, 6])
    self.assertEqual([images.decode(c).orientation for c in content], [6, 6])

  def test_images_of_a_batch_do_not_meet(self):
    content = [fakes.jpeg(), fakes.rotated(8), fakes.png(), b"",
               fakes.rotated(3, "PNG"), b"text", b"\xff", fakes.grey_jpeg()]
    self.assertAllEqual(_orientations(content), [1, 8, 1, 1, 3, 1, 1, 1])

  def test_batch_without_any_exif(self):
    self.assertAllEqual(_orientations([fakes.jpeg()]), [1])
    self.assertAllEqual(_orientations(tf.zeros([0], tf.string)), [])

  def test_other_segments_and_fill_bytes_come_before(self):
    before = (b"\xff\xe2\x00\x06ICC!" + b"\xff\xff"
              + b"\xff\xe1\x00\x0ahttp://x" + b"\xff\xfe\x00\x02")
    content = _jpeg(_tiff([_orientation(5)]), before)
    self.assertEqual(images.decode(content).orientation, 5)
    self.assertAllEqual(_orientations([content]), [5])

  @parameterized.parameters(0, 9, 77)
  def test_strange_value_is_upright(self, value):
    self.assertAllEqual(_orientations([fakes.rotated(value)]), [1])

  @parameterized.parameters(
      b"", b"II*\0", b"II*\0\xff\xff\xff\xff", b"II*\0\x08\0\0\0\xff\xff",
      b"MM*\0" + b"\0" * 40, b"Ax*\0\x08\0\0\0")
  def test_broken_exif_is_upright(self, tiff):
    self.assertAllEqual(_orientations([_jpeg(tiff)]), [1])

  def test_entries_behind_the_segment_are_none(self):
    # The directory says two entries, the segment ends after the first.
    whole = _tiff([(0x010f, 2, 4, b"abc\0"), _orientation(6)])
    cut = _jpeg(whole[:8 + 2 + 12])
    self.assertAllEqual(_orientations([cut]), [1])

  def test_exif_behind_the_pixels_does_not_count(self):
    content = fakes.jpeg() + _jpeg(_tiff([_orientation(6)]))[2:]
    self.assertAllEqual(_orientations([content]), [1])

  def test_nobody_can_keep_it_walking(self):
    content = b"\xff\xd8" + b"\xff" * 2_000_000
    self.assertAllEqual(_orientations([content]), [1])

  @settings(max_examples=60, deadline=None)
  @given(at=strategies.integers(2, 120), value=strategies.integers(0, 255))
  def test_a_changed_byte_gives_no_turn_of_its_own(self, at, value):
    content = bytearray(fakes.rotated(6))
    content[at] = value
    found = int(_orientations([bytes(content)])[0])
    try:
      with Image.open(io.BytesIO(bytes(content))) as image:
        expected = image.getexif().get(0x0112, 1)
    except Exception:  # Pillow's parsers raise nearly anything.
      return
    # Pillow also drops an orientation when an entry beside it is broken.
    if found not in (1, 6):
      self.assertEqual(found, expected)


class PngTest(tf.test.TestCase):

  def test_chunk_before_the_pixels(self):
    rows = b"\0" + bytes(12)
    chunk = fakes.chunk(b"eXIf", _tiff([_orientation(7, ">")], ">"))
    content = fakes.png_file(4, 1, 8, 2, rows, before=(
        fakes.chunk(b"tEXt", b"Title\0x") + chunk))
    self.assertAllEqual(_orientations([content]), [7])
    self.assertEqual(images.decode(content).orientation, 7)

  def test_declared_length_beyond_all_bytes(self):
    content = bytearray(fakes.png())
    content[33:37] = b"\xff\xff\xff\xff"
    self.assertAllEqual(_orientations([bytes(content)]), [1])


def test_fakes_are_images():
  assert np.array(Image.open(io.BytesIO(fakes.png()))).shape == (40, 52, 3)
  assert fake_sets.pixels().dtype == np.uint8


if __name__ == "__main__":
  tf.test.main()
