"""Evaluates a trained model on a split: `python -m kdwsd.evaluate`.

    python -m kdwsd.evaluate --workdir=runs/voc07 --corloc_split=trainval

Prints a table and writes metrics.json, plots and, for a detector, an image of
its detections.
"""

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import devices
from kdwsd import errors

flags.DEFINE_string(
    "workdir", None, "Work directory of the training run.")
flags.DEFINE_string(
    "data", None, "Directory of records to evaluate on. Default: the one that "
    "the run was trained on.")
flags.DEFINE_string(
    "split", None, "Split to evaluate on. Default: the run's --eval_split.")
flags.DEFINE_string(
    "checkpoint", "best", "Checkpoint to evaluate: best (of the validations "
    "during training), last, or a path.")
flags.DEFINE_list(
    "test_scales", [], "Image sides in pixels at which the model runs; its "
    "scores are averaged over them. Several sides are slower and usually more "
    "accurate; WSDDN's are 480,576,672,736,832. Default: the run's "
    "--eval_size.")
flags.DEFINE_bool(
    "mirror", False, "Also run the model on the horizontally flipped image and "
    "average the scores, as WSDDN does. Takes twice the time.")
flags.DEFINE_integer(
    "num_proposals", None, "Proposals per image, those with the highest "
    "objectness. Default: the run's.", lower_bound=1)
flags.DEFINE_integer(
    "batch_size", None, "Images per forward pass. Default: by the device, 1 on "
    "a CPU, and on a GPU as many as keep it busy and fit into a quarter of its "
    "memory.", lower_bound=1)
flags.DEFINE_float(
    "score_threshold", 1e-3, "Detections with a score of this or less are "
    "dropped. A higher value is faster and can lower the average precision.",
    lower_bound=0)
flags.DEFINE_float(
    "nms_iou", 0.4, "Non-maximum suppression drops a detection whose IoU with "
    "a better one of its class exceeds this.", lower_bound=0, upper_bound=1)
flags.DEFINE_string(
    "corloc_split", None, "Split to measure CorLoc on, the share of present "
    "classes whose best box fits an object; usually the training split. "
    "Default: not measured.")
flags.DEFINE_bool(
    "coco", False, "Also compute COCO's 12 detection metrics.")
flags.DEFINE_string(
    "output", None, "Directory for the results. Default: evaluation/SPLIT in "
    "the work directory.")
devices.define_flag()
flags.mark_flag_as_required("workdir")
flags.register_validator(
    "test_scales",
    lambda values: all(v.strip().isdigit() and int(v) >= 32 for v in values),
    message="expected sides of 32 pixels or more, separated by commas")

FLAGS = flags.FLAGS


def main(_):
  """Evaluates the run that the flags name."""
  devices.use(FLAGS.device, log=False)
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import record_files
  from kdwsd.evaluation import measurable
  from kdwsd.evaluation import summary
  from kdwsd.training import models
  from kdwsd.training import run_folder

  # Data first: a mistyped split is reported before the model is built.
  folder = run_folder.RunFolder(FLAGS.workdir)
  config = folder.read_config()
  data, split = FLAGS.data or config.data, FLAGS.split or config.eval_split
  if not split:
    raise errors.InputError(
        "--split: expected the split to evaluate on, because the run has no "
        "--eval_split. Received: none.")
  record_set = record_files.open_split(data, split)
  _check_classes(record_set, config)
  corloc_set = None
  if FLAGS.corloc_split:
    corloc_set = record_files.open_split(data, FLAGS.corloc_split)
    _check_classes(corloc_set, config)

  if config.stage != "wsd" and (FLAGS.corloc_split or FLAGS.coco):
    raise errors.InputError(
        "--corloc_split and --coco: expected a run of stage wsd, because only "
        f"a detector has boxes. Received: {FLAGS.workdir}, stage "
        f"{config.stage}.")
  if config.stage == "kd_feature":
    raise errors.InputError(
        f"--workdir: {FLAGS.workdir}: expected a run with a classifier. "
        "Received: stage kd_feature, which trains features only.")
  measurable.log_limits(record_set, detector=config.stage == "wsd")
  model, config = folder.load_model(FLAGS.checkpoint)
  logging.info("%s", devices.describe())
  score = models.scorer(model)
  options = {
      "sizes": [int(v) for v in FLAGS.test_scales] or [config.eval_size],
      "mirror": FLAGS.mirror,
      "num_proposals": FLAGS.num_proposals or config.num_proposals,
      "batch_size": FLAGS.batch_size,
  }
  same_split = FLAGS.corloc_split == split
  metrics, results = summary.measure(
      score, record_set, score_threshold=FLAGS.score_threshold,
      nms_iou=FLAGS.nms_iou, corloc=same_split, coco=FLAGS.coco, **options)
  counts = None
  if corloc_set and not same_split:
    logging.info("Measuring CorLoc on %s.", FLAGS.corloc_split)
    metrics["corloc"], counts = summary.measure_corloc(
        score, corloc_set, **options)
  metrics["settings"]["checkpoint"] = FLAGS.checkpoint
  output = FLAGS.output or folder.named(folder.evaluation(split))
  print(summary.table(metrics))  # First: a full disk must not prevent it.
  paths = summary.write(metrics, results, record_set, output,
                        corloc=counts and (counts, corloc_set))
  print("Written: " + "\n         ".join(paths))


def _check_classes(record_set, config):
  from kdwsd.data import label_counts  # pylint: disable=import-outside-toplevel
  if record_set.classes != tuple(config.classes):
    raise errors.InputError(
        f"{record_set.directory}, split {record_set.split}: expected the "
        f"{len(config.classes)} classes that the model was trained on. "
        "Received: "
        f"{label_counts.difference(config.classes, record_set.classes)}.")


if __name__ == "__main__":
  command_line.run(main)
