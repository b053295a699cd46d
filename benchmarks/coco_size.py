"""What each part takes on as many images as MS-COCO has, and on fewer.

    python -m benchmarks.coco_size --photographs=coco/train2017,coco/val2017

writes records of 82,081 and 40,137 images, and of fewer, from a few
photographs, 50 kB each, and runs through them (see `coco_records` and
`coco_parts`). The table has a row for each part and number of images, and one
for 1.7 million images, computed along the line through the two largest numbers
that were measured. About two hours on two cores, and 8 GB of disk. Records that
are there already are used again, so that parts can be measured one by one:

    python -m benchmarks.coco_size --parts=open,resume --keep ...
"""

import dataclasses
import os
import re
import shutil
import tempfile

from absl import flags
from absl import logging

from benchmarks import coco_rows
from benchmarks import processes
from benchmarks import rows as rows_lib
from kdwsd import command_line
from kdwsd import errors
from kdwsd import files

_TRAIN_PARTS = ("convert", "open", "input", "resume", "cache", "maps", "train")
_TEST_PARTS = ("evaluate", "report")
_PARTS = _TRAIN_PARTS + _TEST_PARTS
_FORMATS = ("npz", "pkl")  # Of the proposals to convert.

flags.DEFINE_list("images", ["1000", "10000", "82081"], "Numbers of training "
                  "images, ascending.")
flags.DEFINE_list("test_images", ["1000", "10000", "40137"], "Numbers of test "
                  "images, ascending.")
flags.DEFINE_integer("beyond", 1_700_000, "Number of images to compute the "
                     "last rows for.", lower_bound=1)
flags.DEFINE_list("photographs", [], "Folders of .jpg files to copy images "
                  "from. Default: drawn ones, which are smoother.")
flags.DEFINE_list("parts", list(_PARTS), "What to measure: some of "
                  f"{','.join(_PARTS)}.")
flags.DEFINE_string("work", "runs/coco_size", "Folder for records and all else "
                    "that is written.")
flags.DEFINE_bool("keep", False, "Leaves the records, and the run of the part "
                  "train, in the folder.")
flags.DEFINE_integer("most_converted", 10_000, "Larger splits are not "
                     "converted.", lower_bound=1)
flags.DEFINE_list("proposal_formats", list(_FORMATS), "Files of proposals to "
                  f"convert: some of {','.join(_FORMATS)}.")
flags.DEFINE_float("most_disk", 2.0, "Maps that take more GB are not kept.",
                   lower_bound=0)
flags.DEFINE_list("map_shape", ["7", "7", "512"], "Shape of the maps that are "
                  "kept.")
flags.DEFINE_integer("steps", 40_000, "Step at which training is interrupted, "
                     "on the most images.", lower_bound=1)
flags.DEFINE_float("seconds", 20.0, "Seconds of the input pipeline.",
                   lower_bound=0)
flags.DEFINE_string("output", "runs/coco_size.json", "JSON file to write.")
for _name in ("images", "test_images"):
  flags.register_validator(
      _name, lambda values: values and all(
          re.fullmatch("[1-9][0-9]*", value) for value in values),
      message="expected numbers of 1 or more, separated by commas")
flags.register_validator(
    "parts", lambda parts: parts and set(parts) <= set(_PARTS),
    message=f"expected some of {','.join(_PARTS)}")
flags.register_validator(
    "proposal_formats", lambda formats: formats and set(formats) <= set(
        _FORMATS), message=f"expected some of {','.join(_FORMATS)}")

FLAGS = flags.FLAGS


def main(_):
  """Measures, prints a table, writes JSON."""
  os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  records = os.path.join(FLAGS.work, "records")
  os.makedirs(records, exist_ok=True)
  rows = []
  try:
    for part in FLAGS.parts:
      for name in _splits(part):
        more = _measure(part, records, name)
        logging.info("%s: %s", name, more)
        rows += more
        files.write_json(FLAGS.output, {
            "machine": rows_lib.machine(),
            "rows": [dataclasses.asdict(row) for row in rows]})
  finally:
    if not FLAGS.keep:
      shutil.rmtree(FLAGS.work, ignore_errors=True)
  print(f"{rows_lib.machine()}\n\n{coco_rows.table(rows, FLAGS.beyond)}\n"
        f"Written: {FLAGS.output}")


def _splits(part):
  """Names of the splits that a part runs through, smallest first."""
  train = [int(count) for count in FLAGS.images]
  test = [int(count) for count in FLAGS.test_images]
  if part == "convert":
    train = [count for count in train if count <= FLAGS.most_converted]
  elif part == "train":
    train = train[-1:]
  return [f"train_{count}" for count in train] if part in _TRAIN_PARTS else [
      f"test_{count}" for count in test]


def _measure(part, records, split):
  """Measures a part on a split, which is written if it is not there."""
  _write(records, split)
  work = tempfile.mkdtemp(prefix="part-", dir=FLAGS.work)
  measure = {
      "convert": lambda: _convert(records, split, work),
      "open": lambda: _run(part, "coco_parts:open_split", records, split, work),
      "input": lambda: _run(
          part, "coco_parts:read_batches", records, split, FLAGS.seconds),
      "resume": lambda: _run(part, "coco_parts:resume", records, split),
      "cache": lambda: _run(part, "coco_parts:fill_scores", records, split),
      "maps": lambda: _maps(records, split),
      "train": lambda: _run(
          part, "coco_programs:train", records, split, FLAGS.work, FLAGS.steps),
      "evaluate": lambda: _run(
          part, "coco_parts:evaluate", records, split, work),
      "report": lambda: _report(records, split),
  }[part]
  try:
    return measure()
  finally:
    shutil.rmtree(work)


def _convert(records, split, work):
  rows = []
  for kind in FLAGS.proposal_formats:
    folder = os.path.join(work, kind)
    os.makedirs(folder)
    processes.measure("benchmarks.coco_conversion:prepare", records, split,
                      folder, _photographs(), kind)
    rows += _run(f"convert_{kind}", "coco_conversion:convert", records, split,
                 folder, kind)
    shutil.rmtree(folder)
  return rows


def _maps(records, split):
  shape = tuple(map(int, FLAGS.map_shape))
  values = 2 * int(split.split("_")[1])
  for side in shape:
    values *= side
  rows = []
  if 2 * values <= FLAGS.most_disk * 1e9:
    rows += _run("maps", "coco_parts:fill_maps", records, split, shape)
  if split == _splits("maps")[-1]:
    rows += _run("refusal", "coco_parts:refuse_maps", records, split)
  return rows


def _report(records, split):
  """Needs the run of the part `train`."""
  if not os.path.isdir(os.path.join(FLAGS.work, "run")):
    raise errors.InputError(
        "--parts: expected train before report, which reports on its run. "
        f"Received: {','.join(FLAGS.parts)}.")
  return _run("report", "coco_programs:report", records, split, FLAGS.work)


def _run(part, function, *arguments):
  """Calls MODULE:FUNCTION in a process; returns a list of a row."""
  taken, peak = processes.measure(f"benchmarks.{function}", *arguments)
  return [coco_rows.Row(
      part, taken.images, taken.seconds, taken.core_seconds, peak,
      taken.disk_bytes, taken.remark)]


def _write(records, split):
  """Writes a split in a process of its own, unless its card is there."""
  if os.path.exists(os.path.join(records, f"{split}.json")):
    return
  kind, count = split.split("_")
  logging.info("Writing %s.", split)
  processes.measure(
      "benchmarks.coco_records:write_from", records, split, int(count),
      _photographs(), 0 if kind == "train" else 2)


def _photographs():
  """Folders of photographs, drawn if there are none."""
  if FLAGS.photographs:
    return FLAGS.photographs
  folder = os.path.join(FLAGS.work, "drawn")
  if not os.path.isdir(folder):
    processes.measure("benchmarks.coco_records:draw", folder)
  return [folder]


if __name__ == "__main__":
  command_line.run(main)
