r"""Converts images and labels to records: `python -m kdwsd.make_records`.

    python -m kdwsd.make_records --format=voc --input=VOCdevkit --year=2007 \
        --image_set=trainval --split=train --output=records/voc07

Formats and their flags:

  voc       --input=VOCdevkit --year --image_set
  coco      --annotations=instances_X.json --images=FOLDER; or --input=ROOT
            --image_set=train2017
  nuswide   --input=ROOT --image_set=train|test [--images=FOLDER]
  datalist  --input=train.txt --classes=classes.txt --datalist_frame=original
  csv       --input=labels.csv [--images=FOLDER]
  openimages  --input=labels.csv --images=FOLDER
            --class_descriptions=class-descriptions.csv
  tfds      --input=voc/2007 --data_dir=FOLDER --image_set=train
  yolo      --input=data.yaml, or the data set's folder, --image_set=train

docs/data.md describes them. --dry_run reports classes, counts and faults and
converts nothing. An interrupted conversion resumes with the same command and
writes the same bytes.
"""

import functools
import os
import shlex

from absl import flags

from kdwsd import command_line
from kdwsd import devices
from kdwsd import invocation

_METHODS = ["edge_boxes", "selective_search", "file", "datalist"]

# The data set.
_FORMAT = flags.DEFINE_enum(
    "format", "voc",
    ["voc", "coco", "nuswide", "datalist", "csv", "yolo", "openimages", "tfds"],
    "Format of the data set.")
_INPUT = flags.DEFINE_string(
    "input", None, "Folder of the data set, or the datalist or CSV file.")
_YEAR = flags.DEFINE_string(
    "year", None, "VOC: year, such as 2007. Default: the only one in --input.")
_IMAGE_SET = flags.DEFINE_string(
    "image_set", None, "Image set of the data set to convert. VOC: trainval, "
    "test, ...; COCO: train2017, ...; NUS-WIDE: train, test; YOLO: train, val, "
    "test. Default: the value of --split.")
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "COCO: path of an instances JSON file. Open Images: "
    "CSV file of boxes, which only evaluation uses.")
_CLASS_DESCRIPTIONS = flags.DEFINE_string(
    "class_descriptions", None, "Open Images: CSV file with the name of each "
    "label.")
_DATA_DIR = flags.DEFINE_string(
    "data_dir", None, "TensorFlow Datasets: folder of prepared data sets. "
    "Default: $TFDS_DATA_DIR or ~/tensorflow_datasets.")
_LABEL_FEATURE = flags.DEFINE_string(
    "label_feature", None, "TensorFlow Datasets: name of the feature that "
    "holds the labels; required where a data set has several.")
_MIN_CONFIDENCE = flags.DEFINE_float(
    "min_confidence", None, "Open Images: machine-generated labels of at least "
    "this confidence count as present, others as unknown. Without it, only "
    "human-verified labels are accepted.", lower_bound=0, upper_bound=1)
_IMAGES = flags.DEFINE_string(
    "images", None, "Folder of the images. Default: the format's own, where it "
    "has one.")
_CLASSES = flags.DEFINE_list(
    "classes", None, "Class names, separated by commas; or a file with one "
    "name per line, a labelmap.txt, data.yaml or .pbtxt; or the card (.json) "
    "of another split, so that both have the same classes. Default: all "
    "classes of the data set, in its order.")
_ON_ERROR = flags.DEFINE_enum(
    "on_error", "stop", ["stop", "skip"], "What to do about an invalid image "
    "or line: stop the conversion, or skip the image and list it in "
    "SPLIT.skipped.txt.")
_DRY_RUN = flags.DEFINE_bool(
    "dry_run", False, "Read everything but the pixels, print classes, counts "
    "and the first faults, and write nothing. Exits with status 1 if there is "
    "a fault. Use it first on a new data set.")

# CSV files: settings that are left out are detected and printed.
_CSV_SEPARATOR = flags.DEFINE_string(
    "csv_separator", None, "CSV: character between fields, or the word comma, "
    "semicolon, tab or pipe. Default: detected.")
_LABEL_SEPARATOR = flags.DEFINE_string(
    "label_separator", None, "CSV: text between the labels in a field, or the "
    "word space; none if each field is one label. Default: detected.")
_PATH_COLUMN = flags.DEFINE_string(
    "path_column", None, "CSV: name of the column of image paths. Default: "
    "detected.")
_LABEL_COLUMN = flags.DEFINE_list(
    "label_column", [], "CSV: name of the column that holds labels by name; or "
    "several, separated by commas. Default: detected.")
_IGNORE_COLUMNS = flags.DEFINE_list(
    "ignore_columns", [], "CSV: names of columns to ignore, separated by "
    "commas.")
_MINUS_ONE = flags.DEFINE_enum(
    "minus_one", None, ["absent", "unknown"], "CSV: meaning of -1 in the "
    "column of a class. Required if no value is 0. Default otherwise: unknown.")
_BLANK = flags.DEFINE_enum(
    "blank", None, ["absent", "unknown"], "CSV: meaning of an empty field in "
    "the column of a class. Required if no value is 0. Default otherwise: "
    "unknown.")

# Proposals.
_PROPOSALS = flags.DEFINE_enum(
    "proposals", None, _METHODS, "Source of the object proposals: computed "
    "from the image, read from --proposals_file, or those of the datalist. "
    "Default: edge_boxes, or datalist for --format=datalist.")
_PROPOSALS_FILE = flags.DEFINE_string(
    "proposals_file", None, "File for --proposals=file: .npz, .mat or .pkl, or "
    "a folder of .mat files, one per image.")
_PROPOSALS_ORDER = flags.DEFINE_enum(
    "proposals_order", None, ["yxyx", "xyxy", "xywh"], "Order of a box's four "
    "numbers in --proposals_file. Default: that of the file's layout; required "
    "where the layout has none.")
_MAX_PROPOSALS = flags.DEFINE_integer(
    "max_proposals", 500, "Maximum number of proposals per image, those with "
    "the highest scores. More of them cover more objects and take more memory "
    "in training.", lower_bound=1)
_MIN_SIDE = flags.DEFINE_integer(
    "min_side", None, "Minimum length in pixels of a proposal's shorter side; "
    "smaller proposals are dropped. WSDDN uses 20. Default: 10 for computed "
    "proposals, 0 for those of a file.", lower_bound=0)
_EDGE_MODEL = flags.DEFINE_string(
    "edge_model", None, "File of OpenCV's structured-edge model (.yml.gz) for "
    "EdgeBoxes. Default: image gradients instead of a model.")
_SELECTIVE_SEARCH_MODE = flags.DEFINE_enum(
    "selective_search_mode", "fast", ["fast", "quality", "single"],
    "Mode of Selective Search: quality finds more objects and is slower, "
    "single is the fastest.")
_DATALIST_FRAME = flags.DEFINE_enum(
    "datalist_frame", None, ["original", "warped672"], "Frame of the boxes in "
    "a datalist: pixels of the original image, or of the image warped to 672 x "
    "672. Required for --proposals=datalist.")

# The records.
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder to write the records to.")
_SPLIT = flags.DEFINE_string(
    "split", "train", "Name of the split, under which training and evaluation "
    "find it.")
_VALIDATION_SHARE = flags.DEFINE_float(
    "validation_share", None, "Share of the images, such as 0.2, that become a "
    "split of their own, to choose settings on: with the same share of each "
    "class, and without dividing the versions of a photograph or the frames of "
    "a video, as far as names tell.")
_VALIDATION_LIST = flags.DEFINE_string(
    "validation_list", None, "File that lists the images of the validation "
    "split, one a line, instead of --validation_share.")
_VALIDATION_SPLIT = flags.DEFINE_string(
    "validation_split", None, "Name of the validation split. Default: "
    "validation.")
_VALIDATION_GROUPS = flags.DEFINE_string(
    "validation_groups", None, "Regular expression: images stay together in "
    "whose ids it, or its first group, matches the same text. Default: what "
    "the names of copies, augmented images and frames share.")
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards", 0, "Number of record files; 0 for one per 128 images, at "
    "most 256.", lower_bound=0)
_WORKERS = flags.DEFINE_integer(
    "workers", None, "Number of processes. Default: one per CPU core. The "
    "records do not depend on it.", lower_bound=0)
_RUNNER = flags.DEFINE_enum(
    "runner", "local", ["local", "beam"], "What runs the conversion: processes "
    "of this machine, or Apache Beam, on one machine or many. The records do "
    "not depend on it.")
_BEAM_OPTIONS = flags.DEFINE_list(
    "beam_options", [], "Options of Apache Beam, NAME=VALUE, separated by "
    "commas; runner=NAME chooses the engine. Default: Beam's direct runner "
    "with one worker.")
_SHUFFLE_SEED = flags.DEFINE_integer(
    "shuffle_seed", 0, "Seed of the random order of the records; -1 keeps the "
    "order of the data set.")
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 100_000_000, "Images with more pixels are refused. Raise it "
    "for larger images, as far as memory allows.", lower_bound=1)


def _min_side(computed):
  """Setting of the minimum side: proposals of a file keep small boxes."""
  if _MIN_SIDE.value is not None:
    return {"min_side_pixels": _MIN_SIDE.value}
  return {} if computed else {"min_side_pixels": 0}


def _given_proposals(source):
  """Settings of the proposals in a file, checked against the split."""
  if not _PROPOSALS_FILE.value:
    return {}
  from kdwsd.data import proposal_files
  notice, image_ids = proposal_files.match(
      _PROPOSALS_FILE.value, [item.image_id for item in source.items],
      order=_PROPOSALS_ORDER.value)
  print(notice)
  return {"file": _PROPOSALS_FILE.value, "order": _PROPOSALS_ORDER.value,
          "image_ids": image_ids}


def main(_):
  """Reads the source, converts it, prints a summary."""
  devices.hide_gpus()
  # Imported here: --help and bad flags need no TensorFlow.
  from kdwsd.data import sources
  problems = sources.Problems(_ON_ERROR.value, collect=_DRY_RUN.value)
  method = _PROPOSALS.value or (
      "datalist" if _FORMAT.value == "datalist" else "edge_boxes")
  _check_flags(method)
  runner = _runner()
  source = _READERS[_FORMAT.value](
      classes=sources.read_classes(_CLASSES.value), problems=problems)
  for notice in source.notices:
    print(notice)
  parts = _parts(source)
  if _DRY_RUN.value:
    from kdwsd.data import dry_run
    text, num_faults = dry_run.report(source, problems)
    print(text)
    _given_proposals(source)  # Raises if they do not match the images.
    return 1 if num_faults else 0

  from kdwsd.data import cards
  from kdwsd.data import conversion
  from kdwsd.data import proposals
  from kdwsd.data import record_files
  computed = method in ("edge_boxes", "selective_search")
  settings = proposals.Settings(
      method=method, max_proposals=_MAX_PROPOSALS.value,
      **_min_side(computed), **_given_proposals(source),
      edge_model=_EDGE_MODEL.value,
      selective_search_mode=_SELECTIVE_SEARCH_MODE.value)
  if computed:
    proposals.check_opencv()
  workers = _WORKERS.value
  for split, card in conversion.convert_all(
      # What the source has skipped belongs to none of its parts.
      {split: (part, problems if split == _SPLIT.value
               else sources.Problems(_ON_ERROR.value))
       for split, part in parts.items()},
      output=_OUTPUT.value, proposal_settings=settings,
      num_shards=_NUM_SHARDS.value,
      num_workers=_cores() if workers is None else workers,
      shuffle_seed=_SHUFFLE_SEED.value, max_pixels=_MAX_PIXELS.value,
      runner=runner):
    if len(parts) > 1:
      print(f"{split}:")
    print(cards.summary(
        card, record_files.card_path(_OUTPUT.value, split)))
    print("Look at it: " + invocation.adapt(shlex.join([
        "python", "-m", "kdwsd.show_records", f"--data={_OUTPUT.value}",
        f"--split={split}"])))
  return 0


def _parts(source):
  """The splits to write: {name: `sources.Source`}."""
  from kdwsd.data import holdout
  if _VALIDATION_LIST.value:
    parts = holdout.by_list(source, _VALIDATION_LIST.value)
  elif _VALIDATION_SHARE.value is not None:
    parts = holdout.by_share(
        source, _VALIDATION_SHARE.value, _VALIDATION_GROUPS.value)
  else:
    return {_SPLIT.value: source}
  print(parts.notice)
  return {_SPLIT.value: parts.training,
          _validation_split(): parts.validation}


def _validation_split():
  name = _VALIDATION_SPLIT.value
  return "validation" if name is None else name


def _runner():
  """The Beam runner; None for the local one, which `conversion` makes."""
  if _RUNNER.value == "local":
    return None
  from kdwsd.data.runners import beam
  return functools.partial(beam.run, options=beam.check(_BEAM_OPTIONS.value))


def _check_flags(method):
  from kdwsd import errors
  from kdwsd import places
  if not _OUTPUT.value and not _DRY_RUN.value:
    raise errors.InputError(
        "--output: expected a folder for the records. Received: none.")
  if (method == "file") != bool(_PROPOSALS_FILE.value):
    raise errors.InputError(
        "--proposals=file and --proposals_file=PATH: expected both or none. "
        f"Received: --proposals={method} --proposals_file="
        f"{_PROPOSALS_FILE.value or ''}.")
  if _PROPOSALS_ORDER.value and method != "file":
    raise errors.InputError(
        "--proposals_order: expected --proposals=file. Received: --proposals="
        f"{method}, whose boxes are made in our order.")
  if _FORMAT.value == "tfds":
    places.check_local(_INPUT.value, "for --input, because TensorFlow Datasets "
                       "reads its own folders")
  if method == "datalist" and _FORMAT.value != "datalist":
    raise errors.InputError(
        "--proposals=datalist: expected --format=datalist. Received: "
        f"--format={_FORMAT.value}, which has no proposals.")
  if method == "datalist" and not _DATALIST_FRAME.value:
    raise errors.InputError(
        "--datalist_frame: expected original or warped672, the frame of the "
        "datalist's boxes. Received: none.")
  if _BEAM_OPTIONS.value and _RUNNER.value != "beam":
    raise errors.InputError(
        "--beam_options: expected --runner=beam. Received: --runner="
        f"{_RUNNER.value}.")
  if _WORKERS.value is not None and _RUNNER.value == "beam":
    raise errors.InputError(
        "--workers: expected --runner=local; the option of Beam's direct "
        "runner is --beam_options=direct_num_workers=2,"
        "direct_running_mode=multi_processing. Received: --runner=beam "
        f"--workers={_WORKERS.value}.")
  chosen = [flag for flag in (_VALIDATION_SHARE, _VALIDATION_LIST)
            if flag.value is not None]
  if len(chosen) > 1 or (
      _VALIDATION_GROUPS.value and chosen != [_VALIDATION_SHARE]):
    raise errors.InputError(
        "--validation_share, with or without --validation_groups, and "
        "--validation_list: expected one of the two. Received: "
        + (" and ".join(f"--{flag.name}" for flag in chosen) or "neither")
        + (" with --validation_groups." if _VALIDATION_GROUPS.value else "."))
  if _VALIDATION_LIST.value == "":
    raise errors.InputError(
        "--validation_list: expected a file that lists images. Received: "
        "none.")
  if _VALIDATION_SPLIT.value is not None and not chosen:
    raise errors.InputError(
        "--validation_split: expected --validation_share or "
        "--validation_list, which choose its images. Received: neither with "
        f"--validation_split={_VALIDATION_SPLIT.value}.")
  if chosen and _validation_split() == _SPLIT.value:
    raise errors.InputError(
        "--validation_split: expected another name than --split. Received: "
        f"{_SPLIT.value} for both.")
  for flag in (_CSV_SEPARATOR, _LABEL_SEPARATOR, _PATH_COLUMN, _LABEL_COLUMN,
               _IGNORE_COLUMNS, _MINUS_ONE, _BLANK):
    if flag.value and _FORMAT.value != "csv":
      raise errors.InputError(
          f"--{flag.name}: expected --format=csv. Received: "
          f"--format={_FORMAT.value}.")
  if not _INPUT.value and not (_FORMAT.value == "coco" and _ANNOTATIONS.value):
    raise errors.InputError(
        f"--input: expected the {_FORMAT.value} data set. Received: none.")


def _read_voc(**common):
  from kdwsd.data.sources import voc
  return voc.read(_INPUT.value, year=_YEAR.value, image_set=_image_set(),
                  images=_IMAGES.value, **common)


def _read_coco(**common):
  from kdwsd.data.sources import coco
  return coco.read(_INPUT.value, image_set=_image_set(),
                   annotations=_ANNOTATIONS.value, images=_IMAGES.value,
                   **common)


def _read_nuswide(**common):
  from kdwsd.data.sources import nuswide
  return nuswide.read(_INPUT.value, image_set=_image_set(),
                      images=_IMAGES.value, **common)


def _read_datalist(**common):
  from kdwsd.data.sources import datalist
  return datalist.read(_INPUT.value, images=_IMAGES.value,
                       frame=_DATALIST_FRAME.value or "original", **common)


def _read_csv(**common):
  from kdwsd.data.sources import csv_columns
  from kdwsd.data.sources import csv_labels
  return csv_labels.read(
      _INPUT.value, images=_IMAGES.value, hints=csv_columns.Hints(
          csv_separator=_CSV_SEPARATOR.value,
          label_separator=_LABEL_SEPARATOR.value,
          path_column=_PATH_COLUMN.value,
          label_columns=tuple(_LABEL_COLUMN.value),
          ignore_columns=tuple(_IGNORE_COLUMNS.value),
          minus_one=_MINUS_ONE.value, blank=_BLANK.value), **common)


def _read_yolo(**common):
  from kdwsd.data.sources import yolo
  return yolo.read(_INPUT.value, image_set=_image_set(), images=_IMAGES.value,
                   **common)


def _read_openimages(**common):
  from kdwsd.data.sources import openimages
  return openimages.read(
      _INPUT.value, images=_IMAGES.value, boxes=_ANNOTATIONS.value,
      class_descriptions=_CLASS_DESCRIPTIONS.value,
      min_confidence=_MIN_CONFIDENCE.value, **common)


def _read_tfds(**common):
  from kdwsd.data.sources import tfds
  return tfds.read(_INPUT.value, data_dir=_DATA_DIR.value,
                   image_set=_image_set(), label_feature=_LABEL_FEATURE.value,
                   **common)


# Readers by --format; each imports its module, so that --help is quick.
_READERS = {"voc": _read_voc, "coco": _read_coco, "nuswide": _read_nuswide,
            "datalist": _read_datalist, "csv": _read_csv, "yolo": _read_yolo,
            "openimages": _read_openimages, "tfds": _read_tfds}


def _image_set():
  return _IMAGE_SET.value or _SPLIT.value


def _cores():
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


if __name__ == "__main__":
  command_line.run(main)
