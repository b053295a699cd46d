"""Conversion of as many photographs as a split has, with given proposals."""

import os
import pickle

import tensorflow as tf

from benchmarks import clocks
from benchmarks import coco_records
from benchmarks import processes
from kdwsd import boxes as box_ops
from kdwsd.data import conversion
from kdwsd.data import proposal_npz
from kdwsd.data import proposals
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.data import sources

_WORKERS = 2


def prepare(directory, split, work, photographs, proposal_format):
  """Writes the images of a split, and the file of its proposals, into a folder.

  Args:
    directory: of the split.
    split: its name.
    work: the folder.
    photographs: folders of photographs.
    proposal_format: npz or pkl.
  """
  originals = coco_records.photographs(photographs, 1000)
  record_set = record_files.open_split(directory, split)
  os.makedirs(os.path.join(work, "images"))
  given, in_pixels = {}, []
  for index, record in enumerate(tf.data.TFRecordDataset(
      list(record_set.paths)).map(records.parse_for_training)):
    number, which = divmod(index, len(originals))
    with open(_image(work, index), "wb") as file:
      file.write(coco_records.copy_of(originals[which], number))
    boxes = record["proposals"].numpy()
    given[str(index)] = boxes, record["objectness"].numpy()
    in_pixels.append(box_ops.to_pixels(
        boxes, record["height"].numpy(), record["width"].numpy())[
            :, [1, 0, 3, 2]])
  if proposal_format == "npz":
    proposal_npz.write(_given(work, proposal_format), given)
    return
  with open(_given(work, proposal_format), "wb") as file:
    pickle.dump({
        "indexes": list(given), "boxes": in_pixels,
        "objectness_logits": [scores for _, scores in given.values()]}, file)


def convert(directory, split, work, proposal_format):
  """Converts what `prepare` has written, with the split's labels and objects.

  Returns:
    `clocks.Taken`.
  """
  processes.pin(_WORKERS)
  record_set = record_files.open_split(directory, split)
  items = [_item(work, index, image) for index, image in enumerate(
      records.read_labelled_images(
          list(record_set.paths), coco_records.NUM_CLASSES))]
  given, output = _given(work, proposal_format), os.path.join(work, "converted")
  clock = clocks.Clock()
  conversion.convert(
      sources.Source(record_set.classes, items, {"format": "benchmark"}),
      output=output, split="train", proposal_settings=proposals.Settings(
          method="file", file=given, min_side_pixels=0),
      problems=sources.Problems(), num_workers=_WORKERS, progress=False)
  return clock.taken(len(items), disk_bytes=clocks.size(output), remark=(
      f"proposals of a .{proposal_format} file of "
      f"{os.path.getsize(given) / 1e9:.2f} GB"))


def _item(work, index, image):
  truth = image.truth
  return sources.Item(
      image_path=_image(work, index), image_id=str(index),
      label_ids=tuple(image.label_ids.tolist()), objects=sources.Objects(
          boxes=truth.boxes, class_ids=truth.class_ids,
          difficult=truth.difficult, crowd=truth.crowd, fractions=True))


def _image(work, index):
  return os.path.join(work, "images", f"{index}.jpg")


def _given(work, proposal_format):
  return os.path.join(work, f"given.{proposal_format}")
