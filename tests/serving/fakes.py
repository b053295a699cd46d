"""Tiny models to serve, and bytes of images good and bad."""

import struct
import zlib

import numpy as np
from PIL import Image
import tensorflow as tf

from kdwsd.modeling import student
from kdwsd.modeling import wsddn
from kdwsd.serving import signatures
from tests.data import fake_sets

CLASSES = ("cat", "dog", "naïve emu")
IMAGE_SIZE, EVAL_SIZE = 32, 48


def make_student(seed=0, classes=CLASSES):
  """A `student.Student` whose answers depend on the image."""
  model = student.build(student.StudentConfig(
      num_classes=len(classes), image_size=IMAGE_SIZE, backbone="small",
      fc_units=0, seed=seed))
  _spread(model.fc8, seed)
  return model


def make_teacher(seed=0, classes=CLASSES, roi_pooling="crop_and_resize"):
  """A `wsddn.WSDDN` likewise."""
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=len(classes), backbone="small", fc_units=4, score_bias=1.0,
      roi_pooling=roi_pooling, seed=seed))
  _spread(model.fc8_c, seed)
  _spread(model.fc8_d, seed + 1)
  return model


def servable_student(model=None, classes=CLASSES):
  """A `signatures.Servable` of a student."""
  return signatures.classifier(
      model or make_student(classes=classes), classes=classes,
      image_size=IMAGE_SIZE, eval_size=EVAL_SIZE)


def servable_teacher(model=None, classes=CLASSES):
  """A `signatures.Servable` of a teacher."""
  return signatures.detector(
      model or make_teacher(classes=classes), classes=classes,
      eval_size=EVAL_SIZE)


def jpeg(seed=0, **options):
  """JPEG of 40 x 52 pixels."""
  return fake_sets.encoded(pixels(seed), **options)


def png(seed=0):
  """PNG of the same."""
  return fake_sets.encoded(pixels(seed), "PNG")


def pixels(seed=0):
  """[40, 52, 3] uint8; all four corners differ."""
  image = fake_sets.pixels(40, 52, seed)
  image[-9:, :7] = [250, 20, 90]
  return image


def rotated(orientation, kind="JPEG", seed=0):
  """An image whose EXIF says how to turn it."""
  exif = Image.Exif()
  exif[0x010f] = "Maker"  # An entry before the one looked for.
  exif[0x0112] = orientation
  return fake_sets.encoded(pixels(seed), kind, exif=exif.tobytes())


def grey_jpeg():
  """JPEG of one channel."""
  return fake_sets.encoded(Image.fromarray(pixels()).convert("L"))


def cmyk_jpeg(adobe=True):
  """JPEG of four inks, inverted as Adobe's programs write them, or not."""
  image = Image.fromarray(pixels()).convert("CMYK")
  if adobe:
    return fake_sets.encoded(image)
  # Pillow inverts on writing; without the marker nobody inverts on reading.
  content = fake_sets.encoded(
      Image.fromarray(255 - np.array(image), "CMYK"))
  at = content.index(b"\xff\xee")
  size = int.from_bytes(content[at + 2:at + 4], "big")
  return content[:at] + content[at + 2 + size:]


def truncated_jpeg():
  """JPEG without its last third."""
  return jpeg()[:-len(jpeg()) // 3]


def huge_jpeg(side=60000):
  """JPEG that declares to be side x side pixels."""
  content = bytearray(jpeg())
  at = content.index(b"\xff\xc0") + 5
  content[at:at + 4] = struct.pack(">HH", side, side)
  return bytes(content)


def huge_png(side=60000):
  """PNG that declares to be side x side pixels."""
  return png_file(side, side, 8, 2, b"\0" * 64)


def png_file(width, height, depth, kind, rows, before=b""):
  """A PNG from its parts.

  Args:
    width: in pixels.
    height: likewise.
    depth: bits of a sample.
    kind: colour type of the format.
    rows: bytes of the rows, filter bytes included.
    before: chunks to put before the pixels.
  """
  header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
  return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before
          + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b""))


def chunk(kind, content):
  """A chunk of a PNG."""
  return (struct.pack(">I", len(content)) + kind + content
          + struct.pack(">I", zlib.crc32(kind + content)))


def example(encoded):
  """Serialized tf.Example with an image."""
  feature = tf.train.Feature(bytes_list=tf.train.BytesList(value=[encoded]))
  return tf.train.Example(features=tf.train.Features(
      feature={"image/encoded": feature})).SerializeToString()


def boxes(count, num_images=1, seed=0):
  """Proposals [B, count, 4] and objectness [B, count], float32."""
  random = np.random.RandomState(seed)
  corners = np.sort(random.uniform(size=[num_images, count, 2, 2]), axis=2)
  return (corners.reshape(num_images, count, 4).astype(np.float32),
          random.uniform(size=[num_images, count]).astype(np.float32))


def _spread(layer, seed):
  """Gives a classifier weights with which classes and images differ."""
  random = np.random.RandomState(seed)
  layer.set_weights([random.normal(size=weight.shape)
                     for weight in layer.get_weights()])
