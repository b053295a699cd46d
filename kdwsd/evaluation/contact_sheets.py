"""Contact sheets: images in rows, with boxes on them and text under them.

Images are resized before anything is drawn on them, so that lines and text stay
sharp at any image size.
"""

import dataclasses
import math

from matplotlib import figure as figure_lib
from matplotlib.backends import backend_agg
import numpy as np
from PIL import Image

from kdwsd import boxes as box_ops
from kdwsd import files
from kdwsd.evaluation import lettering

_INK = "#1e1e1e"
_GAP, _LINE, _FONT_PIXELS = 8, 16, 12  # pixels


@dataclasses.dataclass(frozen=True)
class Overlay:
  """Boxes to draw in one style; later boxes lie on top.

  Attributes:
    boxes: [K, 4] in [0, 1].
    colours: K RGB triples in 0..255.
    captions: K texts, "" for none.
    width: line width, pixels.
    dashed: whether the lines are dashed.
  """
  boxes: np.ndarray
  colours: tuple
  captions: tuple
  width: int = 2
  dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Tile:
  """One image of a contact sheet.

  Attributes:
    image: [H, W, 3] uint8 RGB.
    overlays: `Overlay`s, drawn in order.
    lines: lines of text under the image, truncated to its tile.
  """
  image: np.ndarray
  overlays: tuple = ()
  lines: tuple = ()


def contact_sheet(tiles, *, columns=None, tile_pixels=320):
  """Draws images in rows, each fitted into a square.

  Args:
    tiles: `Tile`s.
    columns: images per row; None for about as many as rows.
    tile_pixels: longer side of each image on the sheet.

  Returns:
    [H, W, 3] uint8 RGB.
  """
  tiles = list(tiles)
  columns = columns or max(1, math.ceil(math.sqrt(len(tiles))))
  images = [_fitted(tile.image, tile_pixels) for tile in tiles]
  corners, top = [], _GAP
  for start in range(0, len(tiles), columns):
    row = range(start, min(start + columns, len(tiles)))
    bottom = top + max(images[k].shape[0] for k in row)
    corners += [(_GAP + (k - start) * (tile_pixels + _GAP),
                 bottom - images[k].shape[0]) for k in row]
    top = bottom + _LINE * max(len(tiles[k].lines) for k in row) + _GAP
  sheet = np.full(
      [top, columns * (tile_pixels + _GAP) + _GAP, 3], 255, np.uint8)
  for image, (left, top) in zip(images, corners):
    height, width, _ = image.shape
    sheet[top:top + height, left:left + width] = image
  axes = _axes(sheet)
  with lettering.unwarned():
    style = dict(fontsize=_FONT_PIXELS, **lettering.options([
        text for tile in tiles
        for texts in (tile.lines, *(o.captions for o in tile.overlays))
        for text in texts]))
    for tile, image, (left, top) in zip(tiles, images, corners):
      height, width, _ = image.shape
      _draw(axes, tile.overlays, (left, top, width, height), style)
      for number, line in enumerate(tile.lines):
        text = axes.text(left, top + height + number * _LINE + 2, line,
                         va="top", color=_INK, **style)
        _cut(text, tile_pixels)
    axes.figure.canvas.draw()
  return np.array(axes.figure.canvas.buffer_rgba())[..., :3]


def write_png(path, image):
  """Writes [H, W, 3] uint8 RGB as PNG, atomically.

  Args:
    path: path of the file.
    image: [H, W, 3] uint8 RGB.

  Raises:
    errors.InputError: the path is not writable.
  """
  with files.atomic_path(path) as temporary:
    Image.fromarray(np.asarray(image)).save(temporary, format="PNG")


def _fitted(image, pixels):
  """Resizes [H, W, 3] to a longer side of `pixels`."""
  picture = Image.fromarray(np.asarray(image))
  scale = pixels / max(picture.size)
  size = tuple(max(1, round(side * scale)) for side in picture.size)
  return np.asarray(picture.resize(size, Image.Resampling.LANCZOS))


def _axes(image):
  """Axes over an image, in its pixel coordinates, with y downwards."""
  height, width, _ = image.shape
  # At 72 dots per inch, a point (of a font size or line width) is a pixel.
  figure = figure_lib.Figure((width / 72, height / 72), dpi=72)
  backend_agg.FigureCanvasAgg(figure)
  figure.figimage(image, zorder=-1)
  axes = figure.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(height, 0))
  axes.axis("off")
  return axes


def _draw(axes, overlays, place, style):
  """Draws overlays on an image; all captions lie above all lines.

  Args:
    axes: axes in pixel coordinates.
    overlays: `Overlay`s, drawn in order.
    place: left, top, width and height of the image in the axes.
    style: properties of the captions' `matplotlib.text.Text`.
  """
  left, top, width, height = place
  for overlay in overlays:
    boxes = np.rint(box_ops.to_pixels(overlay.boxes, height, width))
    boxes += [top, left, top, left]
    for box, colour, caption in zip(
        boxes, np.array(overlay.colours) / 255, overlay.captions):
      _rectangle(axes, box, colour, overlay)
      if caption:
        _label(axes, box, caption, colour, place, style)


def _rectangle(axes, box, colour, overlay):
  """Draws the outline of a box just inside its edges."""
  inset = overlay.width / 2
  y1, x1 = box[:2] + inset
  y2, x2 = np.maximum(box[2:] - inset, (y1, x1))
  # Black between dashes is visible on any background.
  dashes = ({"linestyle": (0, (6 / overlay.width, 6 / overlay.width)),
             "gapcolor": "black"} if overlay.dashed else {})
  axes.plot((x1, x2, x2, x1, x1), (y1, y1, y2, y2, y1), color=colour,
            linewidth=overlay.width, dash_capstyle="butt",
            solid_joinstyle="miter", snap=False, zorder=1, **dashes)


def _label(axes, box, caption, colour, place, style):
  """Writes a caption at a box's upper left corner, inside the image."""
  left, top, width, _ = place
  above = box[0] - top >= _LINE
  bright = np.dot(colour, (0.299, 0.587, 0.114)) > 0.55
  text = axes.text(
      0, box[0] - 2 if above else box[0] + 2, caption,
      va="bottom" if above else "top", color=_INK if bright else "white",
      bbox={"facecolor": colour, "edgecolor": "none", "pad": 2}, zorder=2,
      **style)
  _cut(text, width - 4)
  free = width - 4 - text.get_window_extent().width
  text.set_x(left + 2 + max(0, min(box[1] - left, free)))


def _cut(text, pixels):
  """Truncates a `matplotlib.text.Text` to a width of about `pixels`."""
  words, width = text.get_text(), text.get_window_extent().width
  if width > pixels:
    text.set_text(lettering.shortened(
        words, int(lettering.columns(words) * pixels / width)))
