"""EXIF orientation of encoded images, read in the graph.

TensorFlow's decoders ignore it. All images of a batch are scanned together,
one segment a step, and only headers are read, so that the cost hardly depends
on the number of images or their size.

Sources: JPEG, ITU-T T.81, annex B; PNG, third edition, sec. 11.3.3.4 (eXIf);
TIFF 6.0, sec. 2; Exif 2.3, sec. 4.6.4, tag 0x0112.
"""

import tensorflow as tf

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_TAG = 0x0112
_EXIF = b"Exif\0\0"

# A photograph has some 20 segments before its pixels. The limits keep a hostile
# file from occupying the server.
_MAX_SEGMENTS = 512
_MAX_ENTRIES = 512
_ENTRY = 12  # bytes


def orientations(image_bytes):
  """Reads EXIF orientations.

  They come from a JPEG's first APP1 segment with EXIF, or from a PNG's eXIf
  chunk before the pixels. Missing or broken EXIF counts as upright. Unlike
  `kdwsd.data.images`, which uses Pillow, this reads neither XMP nor EXIF stored
  as PNG text.

  Args:
    image_bytes: [B] string.

  Returns:
    [B] int32, 1 (upright) to 8.
  """
  start, end = _find_tiff(image_bytes)                            # [B], [B]
  header = _bytes(image_bytes, start, 8)                          # [B, 8]
  little = _starts_with(header, b"II*\0")                         # [B]
  known = little | _starts_with(header, b"MM\0*")
  directory = start + _integer(header[:, 4:8], little)
  known &= directory + 2 <= end
  count = _integer(_bytes(image_bytes, directory, 2), little)     # [B]
  # Ignore entries beyond the segment's end.
  count = tf.minimum(count, (end - directory - 2) // _ENTRY)
  count = _either(known, tf.clip_by_value(count, 0, _MAX_ENTRIES), 0)
  most = tf.maximum(tf.reduce_max(count), 0)                      # N
  entries = tf.reshape(
      _bytes(image_bytes, directory + 2, _ENTRY * most),
      [tf.shape(image_bytes, tf.int64)[0], most, _ENTRY])         # [B, N, 12]
  little = little[:, tf.newaxis]                                  # [B, 1]
  hits = (_integer(entries[..., :2], little) == _TAG) & (
      _integer(entries[..., 4:8], little) == 1) & (
          tf.range(most) < count[:, tf.newaxis])                  # [B, N]
  kind = _integer(entries[..., 2:4], little)
  # Kinds: 1, one byte; 3, two bytes; 4, four bytes.
  value = _either(kind == 3, _integer(entries[..., 8:10], little), _either(
      kind == 4, _integer(entries[..., 8:12], little), _either(
          kind == 1, entries[..., 8], 0)))                        # [B, N]
  value = tf.reduce_max(_either(hits, value, 0), axis=1)          # [B]
  return tf.cast(tf.where((value >= 1) & (value <= 8), value, 1), tf.int32)


def _find_tiff(image_bytes):
  """Start and end [B] of the TIFF file inside each image; equal if none."""
  length = _length(image_bytes)                                   # [B]
  is_png = _starts_with(_bytes(image_bytes, 0 * length, 8), PNG_SIGNATURE)

  def step(at, going, start, end):
    head = _bytes(image_bytes, at, 10)                            # [B, 10]
    marker = head[:, 1]
    jpeg_size = _integer(head[:, 2:4], False)  # Counts its own two bytes.
    fill = marker == 0xff
    jpeg_exif = (marker == 0xe1) & _starts_with(head[:, 4:], _EXIF)
    jpeg_ends = (head[:, 0] != 0xff) | ~fill & (
        (marker == 0xda) | (marker == 0xd9) | (jpeg_size < 2))
    png_size = _integer(head[:, :4], False)
    png_exif = _starts_with(head[:, 4:], b"eXIf")
    png_ends = (_starts_with(head[:, 4:], b"IDAT")
                | _starts_with(head[:, 4:], b"IEND"))

    found = going & tf.where(is_png, png_exif, ~jpeg_ends & jpeg_exif)
    start = tf.where(found, at + _either(is_png, 8, 10), start)
    next_at = at + _either(
        is_png, png_size + 12, _either(fill, 1, jpeg_size + 2))
    end = tf.where(found, tf.minimum(
        tf.where(is_png, next_at - 4, next_at), length), end)
    going &= ~found & ~tf.where(is_png, png_ends, jpeg_ends)
    going &= next_at < length
    return [tf.where(going, next_at, at), going, start, end]

  _, _, start, end = tf.while_loop(
      lambda at, going, start, end: tf.reduce_any(going), step,
      [_either(is_png, 8, 2), length >= 2,
       length, length],
      maximum_iterations=_MAX_SEGMENTS)
  return start, end


def _either(condition, yes, no):
  """`tf.where` on integers of any type, as int64."""
  return tf.where(condition, tf.cast(yes, tf.int64), tf.cast(no, tf.int64))


def _bytes(image_bytes, at, size):
  """Bytes [B, size] int64 from offsets [B], zeros beyond the end."""
  at = tf.clip_by_value(at, 0, _length(image_bytes))
  size = tf.cast(size, tf.int32)
  part = tf.strings.substr(
      image_bytes, at, tf.fill(tf.shape(at), tf.cast(size, tf.int64)))
  # `decode_raw` neither pads empty strings nor cuts to length 0.
  padded = tf.io.decode_raw(
      tf.strings.join([part, b"\0"]), tf.uint8,
      fixed_length=tf.maximum(size, 1))
  return tf.cast(padded[:, :size], tf.int64)


def _length(image_bytes):
  return tf.cast(tf.strings.length(image_bytes), tf.int64)        # [B]


def _integer(values, little):
  """Bytes [..., n] as unsigned integers [...], in either byte order."""
  powers = [256 ** i for i in range(values.shape[-1])]
  return tf.where(
      little, tf.reduce_sum(values * tf.constant(powers, tf.int64), -1),
      tf.reduce_sum(values * tf.constant(powers[::-1], tf.int64), -1))


def _starts_with(values, prefix):
  """Whether bytes [B, n] start with the prefix; [B] bool."""
  return tf.reduce_all(
      values[:, :len(prefix)] == tf.constant(list(prefix), tf.int64), axis=1)
