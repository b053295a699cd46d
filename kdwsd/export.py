r"""Exports a trained model for TensorFlow Serving: `python -m kdwsd.export`.

    python -m kdwsd.export --workdir=runs/voc07/kd_prediction \
        --output=models/student

Writes models/student/1, or the next free number: a SavedModel in float32 that
takes encoded JPEG and PNG images, warm-up requests, class names, and
export.json, which describes the export. The version appears only after its
outputs in TensorFlow's C++ session, which servers use, have matched those of
the trained model.
"""

import os

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import devices
from kdwsd import errors
from kdwsd import files
from kdwsd import places

flags.DEFINE_string(
    "workdir", None, "Work directory of the run to export: a student's or a "
    "teacher's.")
flags.DEFINE_string(
    "output", None, "Directory of the model, which holds its versions. "
    "TensorFlow Serving calls it the base path.")
flags.DEFINE_string(
    "checkpoint", "best", "Checkpoint to export: best (of the validations "
    "during training), last, or a path.")
flags.DEFINE_integer(
    "version", None, "Number of the version to write. Default: one more than "
    "the highest in --output.", lower_bound=0)
flags.DEFINE_list(
    "warmup", None, "Batch sizes of the warm-up requests that a server runs "
    "when it loads the model: one request per size and signature. Name the "
    "sizes that clients send; empty for none. Default: 1,8 for a student, 1 "
    "for a teacher.")
flags.DEFINE_string(
    "batching_parameters_file", None, "File that the server will get under the "
    "flag of this name. Its max_batch_size limits --warmup. Empty for a server "
    "without batching. Default: the one in export/.")
flags.DEFINE_list(
    "formats", [], "Further formats to write, students only: tflite_float16, "
    "tflite_int16x8, tflite_int8, onnx. Each is compared with the SavedModel "
    "on records.")
flags.DEFINE_string(
    "data", None, "Directory of records whose images the export is checked "
    "with. Default: the one that the run was trained on, or drawn scenes if it "
    "no longer exists.")
flags.DEFINE_integer(
    "compare_images", 500, "Maximum number of images of the run's --eval_split "
    "on which --formats are compared. Fewer are faster.", lower_bound=1)
flags.DEFINE_integer(
    "representative_images", 100, "Number of images of the run's --train_split "
    "that calibrate the ranges of activations in the integer formats.",
    lower_bound=1)
devices.define_flag("cpu", "Where the export is compared with the trained "
                    "model: cpu, or a gpu, whose products of float32 differ "
                    "in the third digit; auto: a gpu if there is one.")
flags.mark_flags_as_required(["workdir", "output"])
flags.register_validator(
    "warmup",
    lambda values: values is None or all(
        v.strip().isdigit() and int(v) >= 1 for v in values),
    message="expected batch sizes of 1 or more, separated by commas")

FLAGS = flags.FLAGS

# Number of images, by whether the model is a detector, which takes seconds for
# each.
_CHECKED = {False: 4, True: 2}
_WARMUP = {False: [1, 8], True: [1]}


def main(_):
  """Exports what the flags name."""
  devices.use(FLAGS.device, log=False)
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd.data import record_files
  from kdwsd.serving import batching_parameters
  from kdwsd.serving import description
  from kdwsd.serving import examples
  from kdwsd.serving import formats
  from kdwsd.serving import saved_model
  from kdwsd.serving import signatures
  from kdwsd.serving import verification
  from kdwsd.serving import warmup
  from kdwsd.training import run_folder
  # pylint: enable=import-outside-toplevel

  folder = run_folder.RunFolder(FLAGS.workdir)
  config = folder.read_config()
  detector = config.stage == "wsd"
  other_formats = [name.strip() for name in FLAGS.formats]
  formats.check(other_formats)
  _check_stage(config, other_formats)
  path = folder.find(FLAGS.checkpoint)
  _check_origin(path, config, folder)
  sets = _record_sets(config, needed=bool(FLAGS.data or other_formats))
  batch_sizes = _WARMUP[detector] if FLAGS.warmup is None else [
      int(value) for value in FLAGS.warmup]

  batching_parameters.check_warmup(
      batch_sizes, FLAGS.batching_parameters_file, detector=detector)
  warmup.check_count(
      len(batch_sizes) * len(signatures.names(detector=detector)))

  # Before the model is built: an unwritable place is reported at once.
  with saved_model.new_version(FLAGS.output, FLAGS.version) as (
      directory, version), record_files.naming_faults(*(sets or ())):
    # Also after mixed precision: checkpoints have float32 variables.
    tf.keras.mixed_precision.set_global_policy("float32")
    model, _ = folder.load_model(path)
    logging.info("%s", devices.describe())
    if detector:
      servable = signatures.detector(
          model, classes=config.classes, eval_size=config.eval_size)
    else:
      servable = signatures.classifier(
          model, classes=config.classes, image_size=config.student_size,
          eval_size=config.eval_size)
    logging.info("Writing version %d.", version)
    saved_model.write(servable, directory)
    chosen = _examples(sets, max([_CHECKED[detector], *batch_sizes]), config)
    warmup.write(
        directory, [request for size in batch_sizes
                    for request in examples.requests(servable, chosen[:size])],
        model_name=os.path.basename(os.path.abspath(FLAGS.output)))
    logging.info("Comparing with the model, in TensorFlow's C++ session.")
    differences = verification.verify(
        directory, servable, model, chosen[:_CHECKED[detector]],
        eval_size=config.eval_size)
    converted = {}
    if other_formats:
      converted = _convert(directory, other_formats, model, config, sets)
    saved_model.write_metadata(directory, {
        **_provenance(config, path, folder),
        **description.interface(servable, eval_size=config.eval_size),
        **({} if not detector else {
            "num_proposals": config.num_proposals,
            "proposals": _recorded_proposals(config)}),
        "checked": {
            "images": "records" if sets else "drawn",
            "max_difference": differences,
            "tolerance": verification.TOLERANCE,
        },
        "warmup_batch_sizes": batch_sizes,
        "formats": converted,
    })
  _print_summary(saved_model.version_path(FLAGS.output, version), differences,
                 converted)


def _check_stage(config, other_formats):
  if config.stage == "kd_feature":
    # Stage 1 trains up to fc7 and leaves fc8 at its random initial weights.
    raise errors.InputError(
        f"--workdir: {FLAGS.workdir}: expected a run with a classifier. "
        "Received: stage kd_feature, which trains features only; "
        "export the run of stage kd_prediction that starts from it.")
  if config.stage == "wsd" and other_formats:
    raise errors.InputError(
        f"--formats: expected a student. Received: {FLAGS.workdir}, stage "
        "wsd.")


def _check_origin(path, config, folder):
  """Refuses a checkpoint of another stage or of other classes, which may fit.

  Args:
    path: path of the checkpoint.
    config: `config.Config` of the run.
    folder: `run_folder.RunFolder` of the run.

  Raises:
    errors.InputError: the checkpoint is of such a run.
  """
  from kdwsd.training import run_folder  # pylint: disable=import-outside-toplevel
  owner = run_folder.RunFolder(
      os.path.dirname(os.path.dirname(os.path.abspath(path))))
  if not owner.has_config():
    return  # Copied elsewhere: only its shapes are checked.
  other = owner.read_config()
  for name in ("stage", "classes"):
    mine, theirs = getattr(config, name), getattr(other, name)
    if mine != theirs:
      raise errors.InputError(
          f"--checkpoint: {path}: expected the {name} of "
          f"{folder.config_file}, {_text(mine)}. Received: "
          f"{_text(theirs)}.")


def _record_sets(config, *, needed):
  """Splits to check with, (training, evaluation); None if they do not exist."""
  from kdwsd.data import record_files  # pylint: disable=import-outside-toplevel
  data = FLAGS.data or config.data
  try:
    sets = (record_files.open_split(data, config.train_split),
            record_files.open_split(
                data, config.eval_split or config.train_split))
    for record_set in sets:
      if record_set.classes != tuple(config.classes):
        raise errors.InputError(
            f"{record_set.directory}, split {record_set.split}: expected the "
            f"classes of the model, {_text(config.classes)}. Received: "
            f"{_text(record_set.classes)}.")
  except errors.InputError as error:
    if needed:
      raise
    logging.info("Checking with drawn images. %s", error)
    return None
  return sets


def _examples(sets, count, config):
  """`count` examples, repeated where there are fewer records."""
  from kdwsd.serving import examples  # pylint: disable=import-outside-toplevel
  found = []
  if sets:
    found = examples.from_records(
        sets[1], count, num_proposals=config.num_proposals)
  found = found or examples.drawn(count)
  return [found[i % len(found)] for i in range(count)]


def _convert(directory, names, model, config, sets):
  """Writes the further formats; see `formats.write`."""
  # pylint: disable=import-outside-toplevel
  import numpy as np

  from kdwsd.data import input_pipeline
  from kdwsd.data import records
  from kdwsd.evaluation import metrics
  from kdwsd.modeling import student
  from kdwsd.serving import formats
  # pylint: enable=import-outside-toplevel

  def squares(record_set, count):
    batches = input_pipeline.evaluation_batches(
        record_set, size=config.eval_size, num_proposals=1)
    return np.concatenate([
        student.resize(batch["image"], config.student_size).numpy()
        for batch in batches.take(count)])

  labelled = records.read_labelled_images(list(sets[1].paths))

  def measure(scores):
    return metrics.score(metrics.Results(
        labelled[:len(scores)], scores, None, None))["classification"]["map"]

  logging.info("Converting to %s.", ", ".join(names))
  return formats.write(
      directory, names, model, image_size=config.student_size,
      representative=squares(sets[0], FLAGS.representative_images),
      images=squares(sets[1], FLAGS.compare_images), measure=measure)


def _provenance(config, path, folder):
  """Run, checkpoint and settings that the export comes from."""
  from kdwsd.serving import description  # pylint: disable=import-outside-toplevel
  step = os.path.basename(path).rpartition("-")[2]
  return {
      **description.origin(),
      "workdir": places.abspath(folder.path),
      "checkpoint": os.path.relpath(path, folder.directory),
      "stage": config.stage,
      "step": int(step) if step.isdigit() else None,
      "backbone": config.backbone,
      "trained_in": config.mixed_precision,
      "metrics": _metrics(path, folder),
  }


def _recorded_proposals(config):
  """Settings of the training proposals, which new images need too; or None."""
  from kdwsd.data import record_files  # pylint: disable=import-outside-toplevel
  card = record_files.card_path(config.data, config.train_split)
  return files.read_json(card).get("proposals") if places.exists(
      card) else None


def _metrics(path, folder):
  """Metrics of this checkpoint by split; None where it was not evaluated."""
  from kdwsd.evaluation import summary  # pylint: disable=import-outside-toplevel
  measured = {}
  for split in folder.measured_splits():
    file = os.path.join(folder.evaluation(split), summary.METRICS)
    metrics = files.read_json(file)
    # Training itself evaluates its best checkpoint.
    of = metrics.get("settings", {}).get("checkpoint", "best")
    try:
      same = folder.find(of) == path
    except errors.InputError:
      same = False
    if same:
      measured[split] = {
          "num_images": metrics.get("num_images"), **summary.figures(metrics)}
  return measured or None


def _text(value):
  return value if isinstance(value, str) else ", ".join(value)


def _print_summary(path, differences, converted):
  largest = max(differences.values())
  print(f"Exported: {path}\nLargest difference from the trained model in "
        f"TensorFlow's C++ session: {largest:.1e}.")
  for name, metrics in converted.items():
    print(f"{name}: {metrics['file']}, {metrics['bytes'] / 2**20:.1f} MiB; on "
          f"{metrics['images']} images mAP {100 * metrics['map']:.2f} "
          f"(SavedModel {100 * metrics['map_saved_model']:.2f}), largest "
          f"difference {metrics['max_difference']:.1e}.")


if __name__ == "__main__":
  command_line.run(main)
