"""TensorFlow Datasets: a data set that is already prepared in `data_dir`.

Nothing is downloaded, and the code of the data set is not run: features and
splits are read from the files beside the records. Labels are the first of:

- boxes with labels (`objects` of voc and coco). A class with only difficult
  objects is unknown, as in VOC; a crowd makes its class present.
- a sequence of labels (`labels`).
- one label per image (`label`); no label (-1) is a bad item.

Where a data set has several of one kind, `label_feature` chooses. Images are
not copied: the converter's processes read each from its TFRecord file.

Source: tensorflow.org/datasets, "Feature connectors", "FeatureDecoders" and
"Loading data sets from files".
"""

import contextlib
import dataclasses
import glob
import logging
import os
import re

import numpy as np

from kdwsd import errors
from kdwsd.data import sources
from kdwsd.data import texts
from kdwsd.data.sources import tfrecord_places

_IDS = ("image/filename", "filename", "file_name", "image/id", "image_id", "id")
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*){0,2}(:[0-9.]+)?", re.ASCII)


def read(name, *, data_dir=None, image_set="train", label_feature=None,
         classes=None, problems):
  """Reads one split.

  Args:
    name: such as voc/2007, voc/2007:4.0.0, or the folder of a version.
    data_dir: folder of prepared data sets; None for TFDS_DATA_DIR or
      ~/tensorflow_datasets.
    image_set: a split, or a slice such as train[:10%].
    label_feature: see above.
    classes: names wanted, in order; other labels are left out. None for all.
    problems: `sources.Problems`.

  Returns:
    A `sources.Source`; image ids are the file names in the data set, or else
    the names and numbers of the records.

  Raises:
    errors.InputError: the data set is not prepared, lacks the split, or has
      other features.
  """
  folder = _folder(name, data_dir)
  with _quiet():
    return _read(folder, image_set, label_feature, classes, problems)


@contextlib.contextmanager
def _quiet():
  """Suppresses the library's log of its steps and its deprecations."""
  logger = logging.getLogger("absl")
  level = logger.level
  logger.setLevel(logging.ERROR)
  try:
    yield
  finally:
    logger.setLevel(level)


def _read(folder, image_set, label_feature, classes, problems):
  """Reads one split of a prepared version; see `read`."""
  try:
    # pylint: disable=import-outside-toplevel
    import tensorflow_datasets as library
    builder = library.builder_from_directory(folder)
  except Exception as error:  # Of any kind, where files are damaged.
    raise errors.InputError(
        f"{folder}: expected a data set that tensorflow_datasets prepared. "
        f"Received: {texts.shown(' '.join(str(error).split()))}.") from error
  if builder.info.file_format.value != "tfrecord":
    raise errors.InputError(
        f"{folder}: expected TFRecords; prepare it with --file_format=tfrecord."
        f" Received: {builder.info.file_format.value}.")
  feature = _feature(library, builder.info.features, label_feature, folder)
  image, key = feature.image, feature.key
  chosen = sources.choose_classes(classes, feature.names, folder)
  numbers = {one: i for i, one in enumerate(chosen)}
  labels = [numbers.get(one) for one in feature.names]
  items, places, left_out = [], tfrecord_places.Places(), {}
  ids = {}
  for example in _examples(library, builder, image_set, (image, key), folder):
    record = example["tfds_id"].decode("utf-8")
    shard, _, index = record.rpartition("__")
    path = os.path.join(folder, shard)
    where = f"{folder} {image_set}: {record}"
    try:
      present, unknown, objects = _labels(
          example[key], feature, labels, left_out, where)
      items.append(sources.Item(
          image_path=path, image_id=record, label_ids=present,
          unknown_label_ids=unknown, objects=objects, where=where,
          span=(places.find(path, int(index), example[image]),
                len(example[image]))))
      ids[record] = {one: _text(example[one]) for one in _IDS if one in example}
    except errors.InputError as error:
      problems.add(error)
  id_key = next((one for one in _IDS if ids and len(
      {values.get(one) or None for values in ids.values()} - {None})
                 == len(ids)), None)
  if id_key:
    items = [dataclasses.replace(item, image_id=ids[item.image_id][id_key])
             for item in items]
  notices = [f"{folder}: images of `{image}`, labels of `{key}`, names of "
             + (f"`{id_key}`." if id_key else "the records.")]
  if left_out:
    notices.append(sources.left_out_notice(left_out))
  return sources.Source(
      classes=chosen, items=items, notices=tuple(notices), description={
          "format": "tfds", "name": builder.info.full_name,
          "image_set": image_set, "label_feature": key})


def _folder(name, data_dir):
  """The folder of a prepared version."""
  if os.path.isfile(os.path.join(name, "dataset_info.json")):
    return name
  root = os.path.expanduser(data_dir or os.environ.get(
      "TFDS_DATA_DIR") or os.path.join("~", "tensorflow_datasets"))
  if not _NAME.fullmatch(name):
    raise errors.InputError(
        f"--input: expected the name of a data set, such as voc/2007, or the "
        f"folder of its version. Received: {texts.quoted(name)}.")
  plain, _, version = name.partition(":")
  base = glob.escape(os.path.join(root, plain))
  for pattern in ("", "*"):  # A data set of one configuration needs no name.
    found = sorted(
        (os.path.dirname(path) for path in glob.glob(os.path.join(
            base, pattern, glob.escape(version) or "[0-9]*.*",
            "dataset_info.json"))), key=_version)
    configurations = {os.path.dirname(path) for path in found}
    if len(configurations) > 1:
      raise errors.InputError(
          f"{root}: expected the configuration of {plain} as well. Received: "
          f"{plain}; there are: " + ", ".join(
              f"{plain}/{os.path.basename(one)}"
              for one in sorted(configurations)) + ".")
    if found:
      return found[-1]
  there = sorted({os.path.relpath(os.path.dirname(os.path.dirname(path)), root)
                  for depth in ("*", "*/*") for path in glob.glob(os.path.join(
                      glob.escape(root), depth, "[0-9]*.*",
                      "dataset_info.json"))})
  raise errors.InputError(
      f"{root}: expected the prepared data set {name} (--data_dir). Received: "
      f"{', '.join(there[:12]) or 'none'}; prepare it once: "
      f"tfds build {name} --data_dir={root}.")


def _version(path):
  return [int(part) for part in re.findall("[0-9]+", os.path.basename(path))]


@dataclasses.dataclass(frozen=True)
class _Feature:
  """Names of the image and the labels in an example.

  Attributes:
    image: name of the image.
    key: name of the labels.
    names: names of the classes.
    kind: 0 for boxes with labels, 1 for a sequence of labels, 2 for one label.
    label: name of a box's label, if there are boxes.
    box: name of a box's coordinates, if there are boxes.
  """
  image: str
  key: str
  names: list
  kind: int
  label: str = ""
  box: str = ""


def _feature(library, features, label_feature, folder):
  """Chooses the features to read."""
  kinds = library.features
  # Sorted, as protobuf returns the names in any order.
  top = dict(sorted(features.items())) if isinstance(
      features, kinds.FeaturesDict) else {}
  images = [key for key, one in top.items() if isinstance(one, kinds.Image)
            and np.dtype(one.np_dtype) in (np.uint8, np.uint16)]
  image = "image" if "image" in images else images[0] if len(
      images) == 1 else ""
  found = []
  for key, one in top.items():
    inner = one.feature if isinstance(one, kinds.Sequence) else None
    if isinstance(one, kinds.ClassLabel):
      found.append(_Feature(image, key, one.names, 2))
    elif isinstance(inner, kinds.ClassLabel):
      found.append(_Feature(image, key, inner.names, 1))
    elif isinstance(inner, kinds.FeaturesDict):
      label = _only(inner, kinds.ClassLabel, "label")
      box = _only(inner, kinds.BBoxFeature, "bbox")
      if label and box and getattr(getattr(
          inner[box], "bbox_format", None), "name", "REL_YXYX") == "REL_YXYX":
        found.append(_Feature(image, key, inner[label].names, 0, label, box))
  if label_feature:
    usable = [one for one in found if one.key == label_feature]
  else:
    first = min((one.kind for one in found), default=None)
    usable = [one for one in found if one.kind == first]
    usual = [one for one in usable if one.key in ("objects", "labels", "label")]
    usable = usual if len(usual) == 1 else usable
  if not image or len(usable) != 1:
    raise errors.InputError(
        f"{folder}: expected one image and one feature of labels "
        "(--label_feature=NAME chooses). Received: images "
        f"{', '.join(images) or 'none'}; labels "
        f"{', '.join(one.key for one in found) or 'none'}.")
  return usable[0]


def _only(features, kind, usual):
  """The only feature of a kind, or the one with the usual name, or None."""
  names = [name for name, one in features.items() if isinstance(one, kind)]
  return usual if usual in names else names[0] if len(names) == 1 else None


def _examples(library, builder, split, wanted, folder):
  """Yields the wanted features of each example, images encoded, and its id."""
  features = builder.info.features
  keys = {*wanted, *(key for key in _IDS if key in features)}
  try:
    dataset = builder.as_dataset(
        split=split, shuffle_files=False,
        decoders=library.decode.PartialDecoding(
            dict.fromkeys(keys, True),
            decoders={wanted[0]: library.decode.SkipDecoding()}),
        read_config=library.ReadConfig(
            add_tfds_id=True, interleave_cycle_length=1))
    yield from library.as_numpy(dataset)
  except errors.InputError:
    raise
  except Exception as error:  # Of any kind, where files are damaged.
    raise errors.InputError(
        f"{folder}: expected records of the split --image_set={split}. "
        f"Received: {texts.shown(' '.join(str(error).split()))}; there are: "
        f"{', '.join(sorted(builder.info.splits))}.") from error


def _labels(value, feature, labels, left_out, where):
  """Label ids present and unknown, and `Objects` or None."""
  numbers = np.reshape(value[feature.label] if feature.label else value, [-1])
  if feature.kind == 2 and numbers[0] < 0:
    raise errors.InputError(
        f"{where}: expected a label. Received: {numbers[0]}, which is none.")
  for one in {one for one in numbers.tolist() if one >= 0}:
    if labels[one] is None:
      name = feature.names[one]
      left_out[name] = left_out.get(name, 0) + 1
  if feature.kind:
    return (tuple(sorted({labels[one] for one in numbers if one >= 0}
                         - {None})), (), None)
  flags = [np.asarray(next((value[name] for name in alike if name in value),
                           np.zeros(len(numbers))), bool)
           for alike in (("is_difficult",), ("is_crowd", "is_group_of"))]
  rows = [(box, labels[one], bool(difficult), bool(crowd))
          for box, one, difficult, crowd in zip(
              value[feature.box], numbers, *flags)
          if one >= 0 and labels[one] is not None]
  present = {row[1] for row in rows if not row[2]}
  unknown = {row[1] for row in rows} - present
  flat = [not (box[2] > box[0] and box[3] > box[1]) for box, *_ in rows]
  return (tuple(sorted(present)), tuple(sorted(unknown)),
          sources.objects_of(
              [row for row, without in zip(rows, flat) if not without],
              fractions=True, dropped=sum(flat),
              fault=f"{where}: a box without area" if any(flat) else ""))


def _text(value):
  """An image id as text, or None."""
  if isinstance(value, bytes):
    return value.decode("utf-8", "replace")
  return str(value) if np.ndim(value) == 0 else None
