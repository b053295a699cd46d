"""Names what is in images: `python -m kdwsd.predict --model=DIR images...`.

    python -m kdwsd.predict --model=runs/demo/kd_prediction photo.jpg
    python -m kdwsd.predict --model=models/student --output_dir=seen photos/
    find photos -name '*.jpg' | python -m kdwsd.predict --model=models/student \
        --json - > answers.jsonl

Images are files, folders (with their subfolders), patterns, or - for paths on
standard input. A file that is no image gets an error line of its own and the
others go on. Exit status: 0 all predicted; 1 some were not; 2 nothing could be
predicted: no such model, no image at all, a bad flag.
"""

import collections
import json
import os
import sys

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import errors

_MODEL = flags.DEFINE_string(
    "model", None, "An export of kdwsd.export, its newest version or the one "
    "named (models/student/3); or the work directory of a training run.",
    required=True)
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", "best", "Of a work directory: best, last, or the path of a "
    "checkpoint.")
_TOP_K = flags.DEFINE_integer(
    "top_k", 5, "Classes named at most for an image; 0 for all.",
    lower_bound=0)
_THRESHOLD = flags.DEFINE_float(
    "threshold", 0.1, "Classes are named from this probability on.",
    lower_bound=0, upper_bound=1)
_JSON = flags.DEFINE_bool(
    "json", False, "Print a line of JSON for each image, errors included.")
_OUTPUT_DIR = flags.DEFINE_string(
    "output_dir", None, "Folder for annotated pictures (PNG). Default: none "
    "are made.")
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "Images a forward pass. Default: 8, 1 for a detector.",
    lower_bound=1)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels", 100_000_000, "Larger images are refused.", lower_bound=1)
_BOX_SHARE = flags.DEFINE_float(
    "box_share", 0.25, "Of a detector: boxes are given whose score is this "
    "share of the best one of their class.", lower_bound=0, upper_bound=1)
_BOX_THRESHOLD = flags.DEFINE_float(
    "box_threshold", 0.05, "Of a detector: boxes are given from this score on.",
    lower_bound=0)
_MAX_BOXES = flags.DEFINE_integer(
    "max_boxes", 3, "Of a detector: boxes given at most for a class.",
    lower_bound=0)
_NMS_IOU = flags.DEFINE_float(
    "nms_iou", 0.4, "Of a detector: IoU above which the worse of two boxes of "
    "a class goes.", lower_bound=0, upper_bound=1)

_EXIT_SOME_FAILED = 1
_DARK_NAMED = 5
_NUM_PROPOSALS = 500  # The paper's; of an export that does not say.


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
  predictor, settings = _load(_MODEL.value)
  try:
    return _predict_all(predictor, settings, found)
  except BrokenPipeError:  # `| head` has seen enough.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return _EXIT_SOME_FAILED


main.takes_arguments = True


def _load(path):
  """The predictor of --model, and the settings of a detector's proposals."""
  from kdwsd.training import config as config_lib  # pylint: disable=import-outside-toplevel
  if not os.path.isdir(path):
    raise errors.InputError(
        f"--model: {path}: expected an export or a work directory. Received: "
        f"{'a file' if os.path.exists(path) else 'no such directory'}.")
  if os.path.exists(config_lib.path(path)):
    return _load_run(path)
  stages = [name for name in sorted(os.listdir(path)) if os.path.exists(
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

  from kdwsd.serving import predictors
  from kdwsd.serving import quiet
  from kdwsd.serving import saved_model
  # pylint: enable=import-outside-toplevel
  directory = saved_model.find(path)
  metadata = saved_model.read_metadata(directory)
  logging.info("Model: export %s.", directory)
  num_proposals = metadata.get("num_proposals")
  with quiet.logs():  # On fingerprints.
    predictor = predictors.of_export(directory, num_proposals)
  if predictor.is_detector:
    # Its graph has no fixed sizes, of which TensorFlow's optimizer complains
    # by a page; it takes as long without.
    tf.config.optimizer.set_experimental_options(
        {"disable_meta_optimizer": True})
  return predictor, predictor.is_detector and _proposal_settings(
      metadata.get("proposals"), num_proposals or _NUM_PROPOSALS)


def _load_run(workdir):
  # pylint: disable=import-outside-toplevel
  from kdwsd import files
  from kdwsd.data import record_files
  from kdwsd.serving import predictors
  from kdwsd.training import checkpoints
  from kdwsd.training import config as config_lib
  from kdwsd.training import models
  config = config_lib.read(workdir)
  if config.stage == "kd_feature":
    raise errors.InputError(
        f"--model: {workdir}: expected a run that knows labels. Received: "
        "stage kd_feature, whose student has no classifier yet.")
  model, config = checkpoints.load_model(workdir, _CHECKPOINT.value)
  logging.info("Model: run %s, stage %s, checkpoint %s.", workdir,
               config.stage, _CHECKPOINT.value)
  is_detector = config.stage == "wsd"
  predictor = predictors.of_model(
      models.scorer(model), classes=config.classes, size=config.eval_size,
      num_proposals=config.num_proposals if is_detector else None)
  if not is_detector:
    return predictor, None
  card = record_files.card_path(config.data, config.train_split)
  card = files.read_json(card) if os.path.exists(card) else {}
  return predictor, _proposal_settings(
      card.get("proposals"), config.num_proposals)


def _proposal_settings(recorded, num_proposals):
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import proposals
  from kdwsd.serving import recorded_proposals
  proposals.check_opencv()
  settings, remark = recorded_proposals.settings(recorded, num_proposals)
  if remark:
    logging.warning("%s", remark)
  return settings


def _predict_all(predictor, settings, found):
  """Predicts and prints image by image; returns the exit status."""
  # pylint: disable=import-outside-toplevel
  import tqdm

  from kdwsd.evaluation import answers
  from kdwsd.evaluation import pictures
  from kdwsd.serving import predictors
  # pylint: enable=import-outside-toplevel
  choice = answers.Choice(
      top_k=_TOP_K.value, threshold=_THRESHOLD.value,
      max_boxes=_MAX_BOXES.value, box_share=_BOX_SHARE.value,
      box_threshold=_BOX_THRESHOLD.value, nms_iou=_NMS_IOU.value)
  batch_size = _BATCH_SIZE.value or (1 if predictor.is_detector else 8)
  num_failed, taken = 0, set()
  dark, taken_for = [], collections.Counter()
  with tqdm.tqdm(
      total=len(found), unit="image", desc="predict",
      mininterval=0.5 if sys.stderr.isatty() else 60.0) as bar:
    for file, image, scores in predictors.score_files(
        predictor, found, settings or None, batch_size=batch_size,
        max_pixels=_MAX_PIXELS.value):
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
          pictures.write_png(answer["picture"], answers.draw(
              answer, image.decoded, predictor.classes, choice))
        if _JSON.value:
          _print_json(answer)
        else:
          _print(answers.as_text(answer, choice))
      bar.update()
  _tell_pixels(dark, taken_for)
  if num_failed:
    print(f"{num_failed} of {len(found)} could not be predicted.",
          file=sys.stderr)
  return _EXIT_SOME_FAILED if num_failed else 0


def _tell_pixels(dark, taken_for):
  """Says which images are dark, and from which ranges images were scaled."""
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
  r"""Prints a line of JSON, which must be JSON in any encoding of the output.

  Of a path that is no UTF-8 the odd bytes stand as `\udc80` to `\udcff`,
  which Python's JSON reads as the same path.
  """
  text = json.dumps(answer, ensure_ascii=False)
  try:
    text.encode(sys.stdout.encoding or "ascii")
  except UnicodeEncodeError:
    text = json.dumps(answer)
  _print(text)


def _print(text, file=None):
  """Prints above the progress bar, at once: a pipe may be waiting."""
  import tqdm  # pylint: disable=import-outside-toplevel
  file = file or sys.stdout
  if sys.stderr.isatty():
    tqdm.tqdm.write(text, file=file)
    file.flush()
  else:  # In a log, lines need not make way for the bar.
    print(text, file=file, flush=True)


def _picture_path(name, taken):
  """Where the picture of an image goes: its name, numbered where taken."""
  stem = os.path.splitext(name)[0]
  number, unique = 1, stem
  while unique.casefold() in taken:
    number += 1
    unique = f"{stem}-{number}"
  taken.add(unique.casefold())
  return os.path.join(_OUTPUT_DIR.value, unique + ".png")


if __name__ == "__main__":
  command_line.run(main)
