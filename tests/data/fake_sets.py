"""Images and data sets made on the spot."""

import io
import os
import signal

import numpy as np
from PIL import Image

from kdwsd import files
from kdwsd import places


def pixels(height=24, width=32, seed=0):
  """Smooth colours with a dark left upper corner, so that turns show."""
  rng = np.random.RandomState(seed)
  y, x = np.mgrid[:height, :width]
  image = np.stack([255 * y / height, 255 * x / width,
                    np.full([height, width], rng.randint(60, 200))], axis=-1)
  image[:height // 3, :width // 3] = 0
  return image.astype(np.uint8)


def encoded(image, kind="JPEG", **options):
  """Bytes of a Pillow image or [H, W, 3] array."""
  if not isinstance(image, Image.Image):
    image = Image.fromarray(image)
  buffer = io.BytesIO()
  if kind == "JPEG":
    options = {"quality": 95, "subsampling": 0, **options}
  image.save(buffer, kind, **options)
  return buffer.getvalue()


def write(path, content):
  """Writes text or bytes, making folders."""
  content = content.encode("utf-8") if isinstance(content, str) else content
  if places.is_remote(path):
    files.write_bytes(path, content)
    return path
  os.makedirs(os.path.dirname(path), exist_ok=True)
  with open(path, "wb") as file:
    file.write(content)
  return path


def annotation(objects, height=24, width=32):
  """VOC XML of (name, xmin, ymin, xmax, ymax, difficult)."""
  entries = "".join(
      f"<object><name>{name}</name><difficult>{difficult}</difficult>"
      f"<bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin><xmax>{xmax}</xmax>"
      f"<ymax>{ymax}</ymax></bndbox>"
      "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin>"
      "<xmax>2</xmax><ymax>2</ymax></bndbox></part></object>"
      for name, xmin, ymin, xmax, ymax, difficult in objects)
  return (f"<annotation><size><width>{width}</width><height>{height}</height>"
          f"</size>{entries}</annotation>")


def write_voc(root, num_images=6, year="2007", image_set="trainval"):
  """Writes a VOCdevkit whose image i has a cat, and a dog if i is odd."""
  folder = os.path.join(root, f"VOC{year}")
  names = [f"{i:06d}" for i in range(num_images)]
  for i, name in enumerate(names):
    objects = [("cat", 1, 1, 16, 12, 0)]
    if i % 2:
      objects.append(("dog", 9, 7, 32, 24, int(i % 4 == 1)))
    write(os.path.join(folder, "Annotations", name + ".xml"),
          annotation(objects))
    write(os.path.join(folder, "JPEGImages", name + ".jpg"),
          encoded(pixels(seed=i)))
  write(os.path.join(folder, "ImageSets", "Main", image_set + ".txt"),
        "".join(name + "\n" for name in names))
  return folder


def die(_):
  """Ends the process as the kernel does when memory runs out.

  It is here because a worker imports the module it comes from, and this one
  needs no TensorFlow.
  """
  os.kill(os.getpid(), signal.SIGKILL)
