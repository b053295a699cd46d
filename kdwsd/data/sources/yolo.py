"""YOLO: one label file per image, with class ids and boxes.

    0 0.5 0.4 0.2 0.1            class, centre x, centre y, width, height
    0 0.1 0.1 0.4 0.1 0.3 0.6    class and a polygon, x and y of its corners

All numbers but the class are fractions of the upright image. A polygon or
rotated box gives the box around it. Keypoints (`kpt_shape` in `data.yaml`)
after a box are ignored. A class is present in an image if it has a line. An
image with an empty label file, or without one, has no objects; a split without
any label file is refused. For the positions of the files see `yolo_layout`.

Source: docs.ultralytics.com, "Object Detection Datasets Overview", "Instance
Segmentation", "Oriented Bounding Boxes" and "Pose Estimation Datasets
Overview".
"""

import collections
import os

from kdwsd import errors
from kdwsd import places
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import yolo_layout


def read(path, *, image_set="train", images=None, classes=None, problems):
  """Reads one split.

  Args:
    path: path of a `data.yaml`, or of the folder of the data set.
    image_set: train, val or test, or another that `data.yaml` names.
    images: base folder of the paths in `data.yaml`; without such a file, the
      folder of the images.
    classes: names wanted, in order; other objects are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are paths relative to the root of the data
    set, or to the common folder of all images if some are outside the root.

  Raises:
    errors.InputError: the layout, a list or a label file is invalid.
  """
  layout = yolo_layout.find(path, image_set, images)
  chosen = sources.choose_classes(classes, layout.names, layout.where)
  numbers = {name: i for i, name in enumerate(chosen)}
  labels = [numbers.get(name) for name in layout.names]
  listed, others = yolo_layout.images_of(layout, problems)
  root = _common_root(layout.root, [one for one, _ in listed])
  items, seen = [], {}
  counts, left_out = collections.Counter(), collections.Counter()
  for image_path, where in listed:
    label_path = yolo_layout.label_path(image_path)
    try:
      there = places.isfile(label_path)
      lines = _lines(label_path, layout) if there else []
      counts["labelled" if there else "unlabelled"] += 1
      counts["empty"] += there and not lines
      left_out.update({layout.names[one] for one, *_ in lines
                       if labels[one] is None})
      item = _item(image_path, root, lines, labels,
                   label_path if there else where)
      if seen.setdefault(item.image_id, where) is not where:
        raise errors.InputError(
            f"{where}: expected every image once. Received: "
            f"{texts.shown(item.image_id)}, also at "
            f"{texts.shown(seen[item.image_id])}.")
      items.append(item)
    except errors.InputError as error:
      counts["labelled"] += there
      problems.add(error)
  if listed and not counts["labelled"]:
    raise errors.InputError(
        f"{texts.shown(layout.listed[0])}: expected label files beside the "
        "images, or in `labels` where they lie in `images`. Received: none for "
        f"any of {len(listed)} images, such as "
        f"{texts.shown(yolo_layout.label_path(listed[0][0]))}.")
  return sources.Source(
      classes=chosen, items=items,
      notices=_notices(
          layout, counts, others, left_out, image_set,
          yolo_layout.labels_without_image(layout, listed)),
      description={
          "format": "yolo", "name": os.path.basename(layout.root),
          "image_set": image_set})


def _common_root(root, image_paths):
  """Base folder of the image ids: `root` if all images are in it."""
  root = places.abspath(root)
  folders = {os.path.dirname(places.abspath(one)) for one in image_paths}
  if not folders or places.commonpath([root, *folders]) == root:
    return root
  return places.commonpath(folders)


def _lines(path, layout):
  """Returns (class id, (ymin, xmin, ymax, xmax), where) of each line."""
  rows = []
  text = sources.read_text(path, "a label file")
  for number, line in enumerate(texts.lines(text), 1):
    fields = line.split()
    if not fields:
      continue
    where = f"{path}:{number}"
    values = [_number(field) for field in fields]
    expected = 5 + layout.keypoints
    if None in values or len(fields) != expected and (
        layout.keypoints or len(fields) < 7 or len(fields) % 2 == 0):
      what = ("a class and 4 numbers, or a polygon" if not layout.keypoints
              else f"a class, 4 numbers and {layout.keypoints} of keypoints")
      raise errors.InputError(
          f"{where}: expected {what}. Received: {texts.quoted(line.strip())}.")
    if values[0] % 1 or not 0 <= values[0] < len(layout.names):
      raise errors.InputError(
          f"{where}: expected a class from 0 to {len(layout.names) - 1}, of "
          f"{layout.where}. Received: {texts.quoted(fields[0])}.")
    rows.append((int(values[0]), _box(values[1:], layout.keypoints), where))
  return rows


def _number(field):
  """A finite number, or None."""
  try:
    value = float(field)
  except ValueError:
    return None
  return value if abs(value) <= sources.MOST_PIXELS else None


def _box(values, keypoints):
  """(ymin, xmin, ymax, xmax) from centre and size, or around a polygon."""
  if len(values) == 4 or keypoints:
    x, y, width, height = values[:4]
    return y - height / 2, x - width / 2, y + height / 2, x + width / 2
  xs, ys = values[::2], values[1::2]
  return min(ys), min(xs), max(ys), max(xs)


def _item(image_path, root, rows, labels, where):
  rows = [(box, labels[one], line) for one, box, line in rows
          if labels[one] is not None]
  flat = [(box, line) for box, _, line in rows
          if not (box[2] > box[0] and box[3] > box[1])]
  return sources.Item(
      image_path=image_path,
      image_id=os.path.relpath(image_path, root).replace(os.sep, "/"),
      label_ids=tuple(sorted({label for _, label, _ in rows})),
      objects=sources.objects_of(
          [(box, label, False, False) for box, label, _ in rows
           if box[2] > box[0] and box[3] > box[1]],
          fractions=True, dropped=len(flat), fault=(
              f"{flat[0][1]}: a box without area" if flat else "")),
      where=where)


def _notices(layout, counts, others, left_out, image_set, orphans):
  """Lines on what was inferred and what was ignored."""
  more = f" and {len(layout.listed) - 4} more" if layout.listed[4:] else ""
  lines = [f"--image_set={image_set}: images of "
           + ", ".join(texts.shown(one) for one in layout.listed[:4]) + more
           + f"; classes of {layout.where}."]
  if counts["unlabelled"] or counts["empty"]:
    lines.append(
        f"{counts['unlabelled'] + counts['empty']} images without objects: "
        f"{counts['empty']} label files are empty, {counts['unlabelled']} "
        "images have none.")
  if orphans:
    lines.append(
        f"{len(orphans)} label files are ignored, as their images are "
        f"missing, first {texts.shown(orphans[0])}.")
  if others:
    lines.append(
        f"{sum(others.values())} files that are no images are ignored: "
        + ", ".join(f"{count} {texts.shown(ending) or 'without ending'}"
                    for ending, count in sorted(others.items())[:8]) + ".")
  notice = sources.left_out_notice(left_out)
  return tuple(lines + [notice] * bool(notice))
