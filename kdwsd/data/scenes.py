"""Procedural multi-label scenes, written as a VOCdevkit tree.

The demo uses them instead of photographs. An image has several objects of six
classes, which differ in the combination of shape and texture. Each class has a
preferred hue, which clutter has too. Objects vary in rotation, aspect ratio and
shade, lie on a mottled background among plain and textured clutter, and are
truncated by the border or occluded by one another. Boxes enclose the visible
part, as in VOC.

Pixels are computed in float64: in float32, versions of NumPy and OpenCV differ
by errors of rounding that change a pixel in some of the images.
"""

import colorsys
from concurrent import futures
import dataclasses
import functools
import os
import sys

import cv2
import numpy as np
import tqdm

from kdwsd import errors
from kdwsd import files

_OVERSAMPLING = 2
_LEAST_VISIBLE = 0.6
_ATTEMPTS = 30
_FAVOURITE_HUE = 0.85  # Share of objects.
_FORMAT = 2


@dataclasses.dataclass(frozen=True)
class Scene:
  """One drawn image.

  Attributes:
    image: [H, W, 3] uint8 RGB.
    names: class of each object.
    corners: [M, 4] int (xmin, ymin, xmax, ymax), pixels from 1, both ends
      inside, as in VOC's XML.
    truncated: [M] bool, cut off by the border.
    occluded: [M] bool, partly hidden.
  """
  image: np.ndarray
  names: tuple
  corners: np.ndarray
  truncated: np.ndarray
  occluded: np.ndarray


def write(directory, *, num_train=800, num_test=200, num_validation=0, seed=0,
          image_side=192):
  """Writes a set of scenes, unless the same set exists already.

  Args:
    directory: receives `VOCdevkit/VOC2012` with `JPEGImages`, `Annotations`
      and `ImageSets/Main/{trainval,test,validation}.txt`, and `scenes.json`,
      written last.
    num_train: images of `trainval`.
    num_test: images of `test`.
    num_validation: images of `validation`; without any, there is no such split.
    seed: seed of all random draws; an image depends only on the seed, its split
      and its index in the split.
    image_side: longer side of an image, pixels.

  Returns:
    Path of the `VOCdevkit` directory.

  Raises:
    errors.InputError: a number is out of range, or the folder is not writable.
  """
  splits = {"trainval": num_train, "test": num_test,
            "validation": num_validation}
  if min(splits.values()) < 0 or image_side < 48 or seed < 0:
    raise errors.InputError(
        "scenes: expected numbers of images and a seed of at least 0, and a "
        f"side of at least 48. Received: {num_train}, {num_test} and "
        f"{num_validation} images, seed {seed}, side {image_side}.")
  root = os.path.join(directory, "VOCdevkit", "VOC2012")
  note_path = _note_path(directory)
  note = {"format": _FORMAT, "classes": list(CLASSES), "num_train": num_train,
          "num_test": num_test, "num_validation": num_validation, "seed": seed,
          "image_side": image_side}
  if os.path.exists(note_path) and files.read_json(note_path) == note:
    return os.path.dirname(root)
  for place, (split, count) in enumerate(splits.items()):
    if split == "validation" and not count:
      continue
    names = [f"{split}_{index:06d}" for index in range(count)]
    # NumPy and OpenCV leave other threads time for most of an image.
    with futures.ThreadPoolExecutor(os.cpu_count()) as pool:
      drawn = pool.map(functools.partial(_write_scene, root, image_side),
                       names, ([seed, place, index] for index in range(count)))
      for _ in tqdm.tqdm(drawn, desc=f"drawing {split}", unit="img",
                         total=count,
                         mininterval=0.5 if sys.stderr.isatty() else 30):
        pass
    files.write_text(os.path.join(root, "ImageSets", "Main", split + ".txt"),
                     "".join(name + "\n" for name in names))
  files.write_json(note_path, note)
  return os.path.dirname(root)


def written(directory):
  """What `write` was given for the set that is in a directory.

  Args:
    directory: as given to `write`.

  Returns:
    Dict with `num_train`, `num_test`, `num_validation`, `seed` and others; None
    without a set.
  """
  path = _note_path(directory)
  return files.read_json(path) if os.path.exists(path) else None


def _note_path(directory):
  return os.path.join(directory, "scenes.json")


def _write_scene(root, image_side, name, seed):
  """Draws a scene, and writes its image and its annotation."""
  scene = draw(np.random.default_rng(seed), image_side)
  jpeg = cv2.imencode(
      ".jpg", scene.image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
  _write(os.path.join(root, "JPEGImages", name + ".jpg"), jpeg.tobytes())
  _write(os.path.join(root, "Annotations", name + ".xml"),
         _annotation(name, scene).encode("utf-8"))


def draw(generator, image_side=192):
  """Draws one scene.

  Args:
    generator: a `np.random.Generator`.
    image_side: longer side, pixels.

  Returns:
    A `Scene` of one to four objects.
  """
  other = int(round(image_side * generator.uniform(0.72, 1)))
  height, width = ((other, image_side) if generator.random() < 0.6
                   else (image_side, other))
  canvas = _Canvas(generator, height, width)
  for _ in range(generator.integers(3, 8)):
    canvas.add(None, size=generator.uniform(0.05, 0.22))
  # Drawn without replacement half of the time: more labels an image.
  count = generator.choice([1, 2, 3, 4], p=[0.25, 0.35, 0.25, 0.15])
  names = generator.choice(
      list(CLASSES), count, replace=bool(generator.random() < 0.5))
  # Many small, few large, as in photographs.
  sizes = np.exp(generator.uniform(np.log(0.1), np.log(0.32), count))
  for name, size in zip(names, sorted(sizes, reverse=True)):
    canvas.add(str(name), size)
  for _ in range(generator.integers(0, 3)):
    canvas.add(None, size=generator.uniform(0.04, 0.1))
  return canvas.finish()


class _Canvas:
  """An image being painted, at a higher resolution than the result."""

  def __init__(self, generator, height, width):
    self._generator = generator
    self._height = height * _OVERSAMPLING
    self._width = width * _OVERSAMPLING
    self._image = _ground(generator, self._height, self._width)
    self._owner = np.full([self._height, self._width], -1, np.int8)
    self._names = []
    self._whole = []  # Area of each object with nothing in front, pixels.
    self._visible = []  # What is left of it.
    self._truncated = []

  def add(self, name, size):
    """Paints an object of a class, or clutter if `name` is None.

    Args:
      name: a class.
      size: radius as a fraction of the mean side.
    """
    for _ in range(_ATTEMPTS):
      if self._try(name, size):
        return

  def finish(self):
    """Returns the `Scene`."""
    size = (self._width // _OVERSAMPLING, self._height // _OVERSAMPLING)
    image = cv2.resize(self._image, size, interpolation=cv2.INTER_AREA)
    grain = self._generator.normal(0, 4, image.shape)
    corners, occluded = [], []
    for index, whole in enumerate(self._whole):
      rows, columns = np.nonzero(self._owner == index)
      corners.append([columns.min(), rows.min(), columns.max(), rows.max()])
      occluded.append(self._visible[index] < 0.97 * whole)
    corners = np.array(corners).reshape(-1, 4) // _OVERSAMPLING + 1
    return Scene(
        image=np.clip(np.rint(image + grain), 0, 255).astype(np.uint8),
        names=tuple(self._names), corners=corners,
        truncated=np.array(self._truncated, bool),
        occluded=np.array(occluded, bool))

  def _try(self, name, size):
    """Paints at a random position, unless it would hide an object too far."""
    generator = self._generator
    radius = size * (self._height + self._width) / 2
    stretch = np.exp(generator.uniform(-0.25, 0.25))
    # At most about a quarter of a small object lies beyond the border.
    centre = [generator.uniform(0.6 * radius, side - 0.6 * radius)
              for side in (self._height, self._width)]
    reach = int(np.ceil(radius * 1.45 * max(stretch, 1 / stretch)))
    top, left = (int(c) - reach for c in centre)
    y = (np.arange(top, top + 2 * reach)[:, np.newaxis] - centre[0]) / radius
    x = (np.arange(left, left + 2 * reach) - centre[1]) / radius
    angle = generator.uniform(0, 2 * np.pi)
    u = (np.cos(angle) * x + np.sin(angle) * y) * stretch
    v = (np.cos(angle) * y - np.sin(angle) * x) / stretch
    if name is None:
      inside, tone = _clutter(generator, u, v)
    else:
      inside, tone = CLASSES[name](generator, u, v)
    rows = slice(max(top, 0), min(top + 2 * reach, self._height))
    columns = slice(max(left, 0), min(left + 2 * reach, self._width))
    kept = (slice(rows.start - top, rows.stop - top),
            slice(columns.start - left, columns.stop - left))
    whole = np.count_nonzero(inside)
    inside, tone, u, v = (part[kept] for part in (inside, tone, u, v))
    owner = self._owner[rows, columns]                            # a view
    seen = np.count_nonzero(inside)
    if name is not None and seen < 0.7 * whole:
      return False
    # Of clutter (0) and of each object, from 1.
    hidden = np.bincount(owner[inside] + 1, minlength=len(self._names) + 1)
    visible = np.array(self._visible, int) - hidden[1:]
    if np.any(visible < _LEAST_VISIBLE * np.array(self._whole)):
      return False
    self._visible = visible.tolist()
    colours = _two_colours(generator, name)                       # [2, 3]
    slope = generator.uniform(-25, 25, 2)
    shade = slope[0] * u[inside] + slope[1] * v[inside]           # [P]
    tone = tone[inside][:, np.newaxis]                            # [P, 1]
    paint = colours[0] + tone * (colours[1] - colours[0])         # [P, 3]
    paint += shade[:, np.newaxis]
    self._image[rows, columns][inside] = np.clip(paint, 0, 255)
    if name is None:
      owner[inside] = -1
      return True
    owner[inside] = len(self._names)
    self._names.append(name)
    self._whole.append(seen)
    self._visible.append(seen)
    self._truncated.append(seen < whole)
    return True


def _ball(generator, u, v):
  """A disc in sectors, like a beach ball."""
  return np.hypot(u, v) < 1, _wave(np.sin(3 * np.arctan2(v, u)
                                          + generator.uniform(0, np.pi)))


def _ring(generator, u, v):
  """A ring with sprinkles."""
  radius = np.hypot(u, v)
  tone = np.zeros_like(u)
  for turn in np.linspace(0, 2 * np.pi, 14, endpoint=False):
    turn += generator.uniform(-0.15, 0.15)
    at = generator.uniform(0.6, 0.85)
    tone[np.hypot(u - at * np.cos(turn), v - at * np.sin(turn)) < 0.1] = 1
  return (radius < 1) & (radius > 0.42), tone


def _crate(generator, u, v):
  """A square with a frame and two diagonals."""
  del generator  # always the same
  side = np.maximum(np.abs(u), np.abs(v))
  diagonal = np.minimum(np.abs(u - v), np.abs(u + v)) < 0.16
  return side < 0.85, ((side > 0.66) | diagonal).astype(float)


def _pennant(generator, u, v):
  """A triangle with stripes across."""
  inside = (v < 0.75) & (v > 1.9 * np.abs(u) - 1.05)
  return inside, _wave(np.sin(11 * v + generator.uniform(0, 2 * np.pi)))


def _star(generator, u, v):
  """A five-pointed star in concentric bands."""
  turn = np.mod(np.arctan2(v, u), 2 * np.pi / 5) - np.pi / 5
  radius = np.hypot(u, v)
  edge = 1.1 * (0.42 + 0.58 * (np.abs(turn) / (np.pi / 5)) ** 1.3)
  return radius < edge, _wave(
      np.sin(13 * radius / edge + generator.uniform(0, 2 * np.pi)))


def _cross(generator, u, v):
  """A cross in checks."""
  near, far = (f(np.abs(u), np.abs(v)) for f in (np.minimum, np.maximum))
  shift = generator.uniform(0, np.pi, 2)
  return (near < 0.38) & (far < 1), _wave(
      np.sin(9 * u + shift[0]) * np.sin(9 * v + shift[1]))


CLASSES = {"ball": _ball, "crate": _crate, "cross": _cross,
           "pennant": _pennant, "ring": _ring, "star": _star}


def _clutter(generator, u, v):
  """A blob, bar, disc or tile, mostly plain, at times textured."""
  radius, turn = np.hypot(u, v), np.arctan2(v, u)
  kind = generator.integers(4)
  if kind == 0:
    inside = radius < 0.75 + sum(
        generator.uniform(0, 0.12) * np.sin(
            k * turn + generator.uniform(0, 2 * np.pi)) for k in (2, 3, 5))
  elif kind == 1:
    inside = (np.abs(u) < 1.3) & (np.abs(v) < 0.22)
  elif kind == 2:
    inside = radius < 0.8
  else:
    inside = np.maximum(np.abs(u), np.abs(v)) < 0.75
  if generator.random() < 0.65:
    return inside, np.zeros_like(u)
  # Textures of classes on other shapes, so that texture alone is not enough.
  return inside, _wave(np.sin(generator.uniform(6, 14) * u)
                       * (np.sin(9 * v) if generator.random() < 0.4 else 1))


def _wave(value):
  """Turns a signed wave into tones in [0, 1] with narrow soft edges."""
  return np.clip(0.5 + 3 * value, 0, 1)


def _two_colours(generator, name):
  """Two colours of clearly different lightness, [2, 3] in 0..255.

  The first colour of an object is usually near the preferred hue of its class,
  a cue that a network can learn before shapes.
  """
  colours = generator.uniform(0, 255, [2, 3])
  if name is not None and generator.random() < _FAVOURITE_HUE:
    hue = list(CLASSES).index(name) / len(CLASSES)
    colours[0] = 255 * np.array(colorsys.hsv_to_rgb(
        (hue + generator.normal(0, 0.03)) % 1, generator.uniform(0.6, 1), 0.8))
  light = np.array([generator.uniform(150, 225), generator.uniform(30, 110)])
  generator.shuffle(light)
  now = colours.mean(axis=1)
  return np.clip(colours + (light - now)[:, np.newaxis], 0, 255)


def _ground(generator, height, width):
  """Mottled ground, [H, W, 3] float64."""
  ground = np.zeros([height, width, 3])
  for cells, swing in ((2, 60), (6, 30), (20, 14)):
    coarse = generator.normal(0, swing, [cells, cells, 3])
    # Mostly lightness, a little hue.
    coarse = 0.4 * coarse + 0.6 * coarse.mean(axis=2, keepdims=True)
    ground += cv2.resize(
        coarse, (width, height), interpolation=cv2.INTER_CUBIC)
  return np.clip(ground + generator.uniform(80, 170, 3), 0, 255)


def _annotation(name, scene):
  height, width = scene.image.shape[:2]
  objects = "".join(
      f"  <object>\n    <name>{label}</name>\n"
      f"    <truncated>{int(truncated)}</truncated>\n"
      f"    <occluded>{int(occluded)}</occluded>\n"
      "    <difficult>0</difficult>\n"
      f"    <bndbox><xmin>{xmin}</xmin><ymin>{ymin}</ymin>"
      f"<xmax>{xmax}</xmax><ymax>{ymax}</ymax></bndbox>\n  </object>\n"
      for label, (xmin, ymin, xmax, ymax), truncated, occluded in zip(
          scene.names, scene.corners, scene.truncated, scene.occluded))
  return (f"<annotation>\n  <folder>VOC2012</folder>\n"
          f"  <filename>{name}.jpg</filename>\n"
          f"  <size><width>{width}</width><height>{height}</height>"
          f"<depth>3</depth></size>\n{objects}</annotation>\n")


def _write(path, content):
  """Writes without syncing; `scenes.json`, written last, marks completion."""
  try:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as file:
      file.write(content)
  except OSError as error:
    raise errors.InputError(
        f"{path}: expected to write the file. Received: {error.strerror}."
    ) from error
