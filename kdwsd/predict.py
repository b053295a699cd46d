"""Classifies images: `python -m kdwsd.predict --model=DIR images...`.

    python -m kdwsd.predict --model=runs/demo/kd_prediction photo.jpg
    python -m kdwsd.predict --model=models/student --output_dir=seen photos/
    find photos -name '*.jpg' | python -m kdwsd.predict --model=models/student \
        --json - > answers.jsonl

Images are files, folders (with their subfolders), patterns, or - for paths on
standard input. A file that is no image is reported on a separate line, and
the others are still predicted. Exit status: 0, all images were predicted; 1,
some were not; 2, none could be: no such model, no image, or an invalid flag.
"""

import collections
import json
import os
import sys

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import devices
from kdwsd import errors
from kdwsd import places

_MODEL = flags.DEFINE_string(
    "model", None, "Export of kdwsd.export, of which the newest version is "
    "used unless one is named (models/student/3); or work directory of a run.",
    required=True)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "Checkpoint to use where --model is a work "
    "directory: best (of the validations during training), last, or a path.")
_TOP_K = flags.DEFINE_integer(
    "top_k", 5, "Maximum number of classes to print per image; 0 for no limit.",
    lower_bound=0)
_THRESHOLD = flags.DEFINE_float(
    "threshold", 0.1, "Minimum probability of the classes to print. Lower it "
    "to miss fewer classes, raise it for fewer wrong ones.", lower_bound=0,
    upper_bound=1)
_JSON = flags.DEFINE_bool(
    "json", False, "Print a line of JSON per image, also for errors.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder to write annotated images to, as PNG. Default: "
    "none are written.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Images per forward pass. Default: by the device; on a "
    "CPU 8, or 1 for a detector. Lower it when memory runs out.", lower_bound=1)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 100_000_000, "Images with more pixels are refused. Raise it "
    "for larger images, as far as memory allows.", lower_bound=1)
_BOX_SHARE = flags.DEFINE_float(
    "box_share", 0.25, "Detector only: minimum score of a box, as a fraction "
    "of the best score of its class in the image. Lower it for more boxes.",
    lower_bound=0, upper_bound=1)
_BOX_THRESHOLD = flags.DEFINE_float(
    "box_threshold", 0.05, "Detector only: minimum score of a box. Lower it "
    "for more boxes.", lower_bound=0)
_MAX_BOXES = flags.DEFINE_integer(
    "max_boxes", 3, "Detector only: maximum number of boxes per class and "
    "image.", lower_bound=0)
_NMS_IOU = flags.DEFINE_float(
    "nms_iou", 0.4, "Detector only: non-maximum suppression drops a box whose "
    "IoU with a better one of its class exceeds this.", lower_bound=0,
    upper_bound=1)
devices.define_flag()

_EXIT_SOME_FAILED = 1
_DARK_NAMED = 5
_NUM_PROPOSALS = 500  # The paper's; for exports that do not record it.
_EVAL_SIZE = 672  # The same.
# Images in memory are not warped yet: of a camera, 36 MB and more each.
_MOST_IN_BATCH = 16


def main(argv):
  """Predicts the images that the arguments name; returns the exit status."""
  # Imported here: --help and bad flags need no TensorFlow.
  from kdwsd.data import texts
  from kdwsd.serving import image_files
  if len(argv) < 2:
    raise errors.InputError(
        "expected images: files, folders, patterns, or - for paths on "
        "standard input. Received: none.")
  lines = texts.lines(os.fsdecode(sys.stdin.buffer.read())) if (
      "-" in argv[1:]) else ()
  passed_over = collections.Counter()
  found = image_files.expand(argv[1:], lines, leave_out=_OUTPUT_DIR.value,
                             passed_over=passed_over)
  if all(file.problem for file in found):
    raise errors.InputError("; ".join(
        f"{file.path}: {file.problem}" for file in found)
        or "-: expected paths on standard input. Received: none.")
  if passed_over:
    print("passed over in folders: "
          f"{image_files.describe(passed_over)}", file=sys.stderr)
  devices.use(flags.FLAGS.device, log=False)
  predictor, settings, size = _load(_MODEL.value)
  logging.info("%s", devices.describe())
  return _predict_all(predictor, settings, size, found)


main.takes_arguments = True


def _load(path):
  """The predictor of --model, a detector's `proposals.Settings`, the side."""
  from kdwsd.training import config as config_lib  # pylint: disable=import-outside-toplevel
  if not places.isdir(path):
    raise errors.InputError(
        f"--model: {path}: expected an export or a work directory. Received: "
        f"{'a file' if places.exists(path) else 'no such directory'}.")
  if places.exists(config_lib.path(path)):
    return _load_run(path)
  stages = [name for name in sorted(places.listdir(path)) if places.exists(
      config_lib.path(os.path.join(path, name)))]
  if stages:
    raise errors.InputError(
        f"--model: {path}: expected an export or the work directory of one "
        "run. Received: that of a chain; name one of its runs, as "
        f"{os.path.join(path, stages[-1])}.")
  return _load_export(path)


def _load_export(path):
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd import quiet
  from kdwsd.serving import predictors
  from kdwsd.serving import remote_exports
  from kdwsd.serving import saved_model
  # pylint: enable=import-outside-toplevel
  directory = saved_model.find(path)
  if places.is_remote(directory):
    logging.info("Copying %s to this machine.", directory)
    directory = remote_exports.fetch(directory)
  metadata = saved_model.read_metadata(directory)
  logging.info("Model: export %s.", directory)
  num_proposals = metadata.get("num_proposals")
  with quiet.logs():  # About fingerprints.
    predictor = predictors.of_export(directory, num_proposals)
  if predictor.is_detector:
    # TensorFlow's graph optimizer logs a page of warnings about the unknown
    # sizes, and saves no time.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True})
  return predictor, predictor.is_detector and _proposal_settings(
      metadata.get("proposals"), num_proposals or _NUM_PROPOSALS
  ), metadata.get("eval_size") or _EVAL_SIZE


def _load_run(workdir):
  # pylint: disable=import-outside-toplevel
  from kdwsd import files
  from kdwsd.data import record_files
  from kdwsd.serving import predictors
  from kdwsd.training import models
  from kdwsd.training import run_folder
  folder = run_folder.RunFolder(workdir)
  config = folder.read_config()
  if config.stage == "kd_feature":
    raise errors.InputError(
        f"--model: {workdir}: expected a run with a classifier. Received: "
        "stage kd_feature, which trains features only.")
  model, config = folder.load_model(_CHECKPOINT.value)
  logging.info("Model: run %s, stage %s, checkpoint %s.", workdir,
               config.stage, _CHECKPOINT.value)
  is_detector = config.stage == "wsd"
  predictor = predictors.of_model(
      models.scorer(model), classes=config.classes, size=config.eval_size,
      num_proposals=config.num_proposals if is_detector else None)
  if not is_detector:
    return predictor, None, config.eval_size
  card = record_files.card_path(config.data, config.train_split)
  card = files.read_json(card) if places.exists(card) else {}
  return predictor, _proposal_settings(
      card.get("proposals"), config.num_proposals), config.eval_size


def _proposal_settings(recorded, num_proposals):
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import proposals
  from kdwsd.serving import recorded_proposals
  proposals.check_opencv()
  settings, remark = recorded_proposals.settings(recorded, num_proposals)
  if remark:
    logging.warning("%s", remark)
  return settings


def _predict_all(predictor, settings, size, found):
  """Predicts and prints image by image; returns the exit status."""
  # pylint: disable=import-outside-toplevel
  import tqdm

  from kdwsd.evaluation import answers
  from kdwsd.evaluation import contact_sheets
  from kdwsd.evaluation import device_batches
  from kdwsd.serving import scored_files
  # pylint: enable=import-outside-toplevel
  choice = answers.Choice(
      top_k=_TOP_K.value, threshold=_THRESHOLD.value,
      max_boxes=_MAX_BOXES.value, box_share=_BOX_SHARE.value,
      box_threshold=_BOX_THRESHOLD.value, nms_iou=_NMS_IOU.value)
  batch_size = _BATCH_SIZE.value or device_batches.default_size(
      size, settings.max_proposals if settings else 0,
      on_cpu=1 if predictor.is_detector else 8, most=_MOST_IN_BATCH)
  num_failed, taken = 0, set()
  dark, taken_for = [], collections.Counter()
  with tqdm.tqdm(
      total=len(found), unit="image", desc="predict",
      mininterval=0.5 if sys.stderr.isatty() else 60.0) as bar:
    for file, image, scores in scored_files.scored(
        predictor, found, settings or None, batch_size=batch_size,
        fill=device_batches.on_gpu(), max_pixels=_MAX_PIXELS.value,
        read_ahead=device_batches.on_gpu()):
      if isinstance(scores, errors.InputError):
        num_failed += 1
        _print_error(file.path, str(scores))
      else:
        if image.decoded.is_dark:
          dark.append(file.path)
        if image.decoded.taken_for:
          taken_for[image.decoded.taken_for] += 1
        answer = answers.make(
            file.path, image.decoded, scores, predictor.classes, choice)
        if _OUTPUT_DIR.value:
          answer["picture"] = _picture_path(file.name, taken)
          contact_sheets.write_png(answer["picture"], answers.draw(
              answer, image.decoded, predictor.classes, choice))
        if _JSON.value:
          _print_json(answer)
        else:
          _print(answers.as_text(answer, choice))
      bar.update()
  _report_pixels(dark, taken_for)
  if num_failed:
    print(f"{num_failed} of {len(found)} could not be predicted.",
          file=sys.stderr)
  return _EXIT_SOME_FAILED if num_failed else 0


def _report_pixels(dark, taken_for):
  """Reports dark images, and the ranges that images were scaled from."""
  if dark:
    from kdwsd.data import images  # pylint: disable=import-outside-toplevel
    names = ", ".join(dark[:_DARK_NAMED]) + (
        ", ..." if len(dark) > _DARK_NAMED else "")
    print(f"{len(dark)} without a pixel of {images.DARK} or more of 255: "
          f"{names}", file=sys.stderr)
  if taken_for:
    print("scaled to 0..255: " + ", ".join(
        f"{count} from {name}" for name, count in sorted(taken_for.items())),
          file=sys.stderr)


def _print_error(path, message):
  if _JSON.value:
    _print_json({"image": path, "error": message})
  else:
    _print(f"error: {message}", sys.stderr)


def _print_json(answer):
  r"""Prints a line of JSON that is valid in any encoding of the output.

  Bytes of a path that are not UTF-8 are written as `\udc80` to `\udcff`, which
  Python's `json` reads as the same path.
  """
  text = json.dumps(answer, ensure_ascii=False)
  try:
    text.encode(sys.stdout.encoding or "ascii")
  except UnicodeEncodeError:
    text = json.dumps(answer)
  _print(text)


def _print(text, file=None):
  """Prints above the progress bar and flushes: a pipe may be waiting."""
  import tqdm  # pylint: disable=import-outside-toplevel
  file = file or sys.stdout
  if sys.stderr.isatty():
    tqdm.tqdm.write(text, file=file)
    file.flush()
  else:  # A log has no bar to print above.
    print(text, file=file, flush=True)


def _picture_path(name, taken):
  """Path of an annotated image: its name, with a number where it is taken."""
  stem = os.path.splitext(name)[0]
  number, unique = 1, stem
  while unique.casefold() in taken:
    number += 1
    unique = f"{stem}-{number}"
  taken.add(unique.casefold())
  return os.path.join(_OUTPUT_DIR.value, unique + ".png")


if __name__ == "__main__":
  command_line.run(main)
