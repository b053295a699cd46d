"""Trains a teacher, a student, or all: `python -m kdwsd.train --stage=all`.

Stages: `wsd`, the teacher; `cls`, the student without distillation;
`kd_feature` and `kd_prediction`, the student's two stages of distillation;
`all`, the four in this order, in folders of their names in the work directory,
each with its flags from --recipe, and a table of what came of them.

Without --data it makes a data set of procedural scenes in the work directory
and trains on that, with settings that suit it and two CPU cores; any flag given
overrides them. The same command goes on where a stopped run ended.
"""

import copy
import os
import re
import sys

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import demo
from kdwsd import errors
from kdwsd.data import texts

# The run.
flags.DEFINE_enum("stage", "wsd", ["wsd", "cls", "kd_feature",
                                   "kd_prediction", "all"],
                  "What to train; see above.")
flags.DEFINE_string("workdir", None, "Where the run keeps all it makes; "
                    "runs/demo if no --data is given.")
flags.DEFINE_string("recipe", None, "Of --stage=all: folder with a flagfile "
                    "for each stage, wsd.flags and so on. What the command "
                    "line says holds for all stages and comes before.")
flags.DEFINE_integer("seed", 0, "Of order, augmentation, weights and dropout.")
flags.DEFINE_enum("deterministic", "auto", ["auto", "on", "off"],
                  "Same seed, same weights. auto: on where there is no GPU.")
flags.DEFINE_bool("caffe_parity", False, "What the Caffe release does where "
                  "the defaults here differ; the README has the table. Flags "
                  "on the command line come before.")
# Data.
flags.DEFINE_string("data", None, "Directory of records, the --output of "
                    "make_records. Default: procedural scenes.")
flags.DEFINE_string("train_split", "trainval", "Split to train on.")
flags.DEFINE_string("eval_split", "test", "Split to validate on; empty: none.")
flags.DEFINE_list("train_sizes", ["480", "576", "672", "736", "832"],
                  "Image sides in pixels, one drawn for each batch.")
flags.DEFINE_integer("eval_size", 672, "Image side in validation.",
                     lower_bound=32)
flags.DEFINE_integer("num_proposals", 500, "Proposals an image: the best are "
                     "kept, missing ones are padded and masked.",
                     lower_bound=1)
flags.DEFINE_bool("mirror", True, "Mirror half of the training images.")
flags.DEFINE_enum("cache", "none", ["none", "memory", "disk"],
                  "Where decoded training images are kept.")
flags.DEFINE_integer("shuffle_buffer", 2048, "Images among which the next one "
                     "is drawn.", lower_bound=1)
# Model.
flags.DEFINE_enum("backbone", "vgg16", ["vgg16", "small", "mobilenet_v2",
                                        "resnet50", "efficientnet_b0"],
                  "Convolutional network of the model that is trained.")
flags.DEFINE_float("backbone_width", 1.0, "Channel multiplier of MobileNetV2.")
flags.DEFINE_string("backbone_weights", "imagenet", "imagenet, none, the path "
                    "of a Keras .h5 file, or a folder of such files under "
                    "their names in keras.applications.")
flags.DEFINE_string("init_from", "", "Work directory of another run of the "
                    "same model whose best weights to start from, instead of "
                    "--backbone_weights.")
flags.DEFINE_integer("frozen_stages", 0, "Leading stages of the backbone that "
                     "are not trained.", lower_bound=0)
flags.DEFINE_bool("frozen_cache", False, "Keep what the frozen stages make of "
                  "each image beside the records instead of computing it each "
                  "time. For small data.")
flags.DEFINE_integer("fc_units", 4096, "Width of fc6 and fc7. 0: a student "
                     "without them, mean over the map and one classifier.",
                     lower_bound=0)
flags.DEFINE_float("dropout_rate", 0.5, "After fc6 and fc7.")
flags.DEFINE_enum("roi_pooling", "crop_and_resize", ["crop_and_resize", "max"],
                  "max is Fast R-CNN's exact pooling, as in Caffe.")
flags.DEFINE_float("score_scale", 1.0, "Pooled features are multiplied by "
                   "score_scale * objectness + score_bias. WSDDN: 10.")
flags.DEFINE_float("score_bias", 0.0, "See --score_scale. WSDDN: 1.")
flags.DEFINE_float("class_temperature", 1.0, "Divides the class logits.")
flags.DEFINE_float("detection_temperature", 1.0, "Divides the detection "
                   "logits. WSDDN: 2.")
flags.DEFINE_float("spatial_weight", 0.0, "Of WSDDN's spatial regulariser, "
                   "there 1e-4.", lower_bound=0)
# The student.
flags.DEFINE_integer("student_size", 224, "Side of the student's images, made "
                     "from those of --eval_size.", lower_bound=32)
flags.DEFINE_float("feature_scale", 1.0, "The student's pooled features of an "
                   "image are multiplied by this.")
flags.DEFINE_integer("randaugment_layers", 0, "Operations of RandAugment on "
                     "the student's images; not in kd_feature.", lower_bound=0)
flags.DEFINE_integer("randaugment_magnitude", 10, "Their strength.",
                     lower_bound=0)
flags.DEFINE_integer("cutout_size", 0, "Side in pixels of a grey square on the "
                     "student's images; not in kd_feature.", lower_bound=0)
flags.DEFINE_enum("hard_loss", "sigmoid", ["sigmoid", "focal", "asymmetric"],
                  "The student's loss on labels.")
flags.DEFINE_float("focal_alpha", 0.25, "Of the focal loss.")
flags.DEFINE_float("focal_gamma", 2.0, "Of the focal loss.")
flags.DEFINE_list("asymmetric_gammas", ["0", "4"], "Of the asymmetric loss, "
                  "for present and absent labels.")
flags.DEFINE_float("asymmetric_clip", 0.05, "Of the asymmetric loss.")
flags.DEFINE_float("ema_decay", 0.0, "Average the weights: what is validated, "
                   "and what the best checkpoint holds. 0: not.",
                   lower_bound=0, upper_bound=1)
# Distillation.
flags.DEFINE_string("teacher", "", "Work directory of the teacher, a run of "
                    "stage wsd.")
flags.DEFINE_string("teacher_checkpoint", "best", "best, last, or the path of "
                    "a checkpoint.")
flags.DEFINE_bool("teacher_dropout", False, "The teacher drops units, as the "
                  "release's does.")
flags.DEFINE_enum("teacher_cache", "auto", ["auto", "on", "off"],
                  "Keep what the teacher says beside the records instead of "
                  "asking it each time. auto: in kd_prediction.")
flags.DEFINE_list("feature_layers", ["fc7"], "kd_feature: layers compared: "
                  "fc7, fc6, pool.")
flags.DEFINE_enum("feature_adapter", "none", ["none", "linear"],
                  "kd_feature: map from the student's width to the teacher's.")
flags.DEFINE_enum("roi_weight", "uniform", ["uniform", "teacher"],
                  "kd_feature: weight of a region, the same for all or the "
                  "teacher's score.")
flags.DEFINE_enum("student_factor", "teacher", ["teacher", "image"],
                  "kd_feature: what the student's pooled features of a region "
                  "are multiplied by: as the teacher's are, by its objectness, "
                  "or as those of a whole image, by --feature_scale.")
flags.DEFINE_integer("top_k_rois", 0, "kd_feature: regions of each image, "
                     "those that the teacher scores highest. 0: all.",
                     lower_bound=0)
flags.DEFINE_string("feature_student", "", "kd_prediction: work directory of "
                    "the run of stage kd_feature to start from; empty: "
                    "--backbone_weights.")
flags.DEFINE_float("teacher_temperature", 0.5, "kd_prediction: divides the "
                   "teacher's logits.")
flags.DEFINE_float("student_temperature", 5.0, "kd_prediction: where the "
                   "student's learnable temperatures start.")
flags.DEFINE_float("hard_weight", 1.0, "kd_prediction: of the loss on labels.",
                   lower_bound=0)
flags.DEFINE_float("soft_weight", 1.0, "kd_prediction: of the loss on the "
                   "teacher's scores.", lower_bound=0)
# Optimisation.
flags.DEFINE_integer("global_batch_size", 32, "Images a step, over all "
                     "replicas.", lower_bound=1)
flags.DEFINE_enum("optimizer", "sgd", ["sgd", "adam", "adamw"],
                  "sgd is Caffe's, multipliers included.")
flags.DEFINE_float("learning_rate", 5e-5, "Before multipliers and schedule.")
flags.DEFINE_integer("rate_batch", 0, "Global batch for which --learning_rate "
                     "is meant; it is multiplied by --global_batch_size / "
                     "--rate_batch. 0: not.", lower_bound=0)
flags.DEFINE_float("backbone_rate", 1.0, "Multiplies the learning rate of the "
                   "backbone's layers.", lower_bound=0)
flags.DEFINE_float("classifier_rate", 1.0, "Multiplies the learning rate of "
                   "fc8_c and fc8_d; sgd multiplies it by 10 already.",
                   lower_bound=0)
flags.DEFINE_float("momentum", 0.9, "Of sgd; beta 1 of adam.")
flags.DEFINE_float("weight_decay", 5e-4, "L2 coupled into the gradient; "
                   "decoupled for adamw.")
flags.DEFINE_enum("schedule", "constant",
                  ["constant", "step", "cosine", "plateau"],
                  "How the learning rate falls.")
flags.DEFINE_integer("warmup_steps", 0, "Steps of linear rise.", lower_bound=0)
flags.DEFINE_list("schedule_boundaries", [], "Steps at which `step` drops.")
flags.DEFINE_float("schedule_factor", 0.1, "What a drop multiplies by.")
flags.DEFINE_integer("plateau_patience", 3, "Validations without a better "
                     "--best_figure after which `plateau` drops.",
                     lower_bound=1)
flags.DEFINE_float("clip_norm", 0.0, "Global norm to which gradients are "
                   "clipped; 0: not.", lower_bound=0)
flags.DEFINE_integer("train_steps", 50000, "Steps in all.", lower_bound=1)
# Progress.
flags.DEFINE_integer("steps_per_loop", 50, "Steps between log lines.",
                     lower_bound=1)
flags.DEFINE_integer("checkpoint_interval", 500, "Steps between checkpoints; "
                     "a multiple of --steps_per_loop.", lower_bound=1)
flags.DEFINE_integer("eval_interval", 2500, "Steps between validations; "
                     "0: only at the end.", lower_bound=0)
flags.DEFINE_integer("keep_checkpoints", 3, "Checkpoints kept.", lower_bound=1)
flags.DEFINE_string("best_figure", "classification/map", "Validation figure "
                    "that tells which checkpoint is the best.")
# Devices.
flags.DEFINE_enum("distribution_strategy", "mirrored",
                  ["one_device", "mirrored", "multi_worker_mirrored", "tpu"],
                  "tf.distribute's.")
flags.DEFINE_integer("num_replicas", 0, "Devices of this machine to use; "
                     "0: every GPU, or else the CPU.", lower_bound=0)
flags.DEFINE_enum("mixed_precision", "float32",
                  ["float32", "mixed_float16", "mixed_bfloat16"],
                  "Keras's dtype policy; variables, softmaxes and losses stay "
                  "float32.")

FLAGS = flags.FLAGS

_LISTS = {"train_sizes": int, "schedule_boundaries": int,
          "feature_layers": str.strip, "asymmetric_gammas": float}


def _is_number(text):
  try:
    return float(text) >= 0
  except ValueError:
    return False


@flags.multi_flags_validator(
    ["data", "workdir"], message="--data needs a --workdir")
def _data_has_workdir(values):
  return not values["data"] or bool(values["workdir"])


def _are_numbers(values, least):
  """Whether a list has whole numbers only, of nine digits at most."""
  return all(re.fullmatch(r"\s*[0-9]{1,9}\s*", value) and int(value) >= least
             for value in values)


flags.register_validator(
    "train_sizes", lambda values: values and _are_numbers(values, 32),
    message="expected whole numbers from 32, separated by commas")

flags.register_validator(
    "schedule_boundaries", lambda values: _are_numbers(values, 1),
    message="expected whole numbers from 1, separated by commas")

flags.register_validator(
    "asymmetric_gammas",
    lambda values: len(values) == 2 and all(map(_is_number, values)),
    message="expected two numbers, separated by a comma")

_CAFFE_PARITY = {
    "roi_pooling": "max", "score_scale": 1.0, "score_bias": 0.0,
    "class_temperature": 1.0, "detection_temperature": 1.0,
    "spatial_weight": 0.0, "optimizer": "sgd", "hard_loss": "sigmoid",
    "teacher_dropout": True, "teacher_cache": "off",
    "feature_layers": ["fc7"], "roi_weight": "uniform", "top_k_rois": 0,
    "student_factor": "teacher", "feature_scale": 1.0,
    "teacher_temperature": 0.5, "student_temperature": 5.0,
    "hard_weight": 1.0, "soft_weight": 1.0,
}


def main(_):
  """Turns flags into the settings of one run, or of four, and runs them."""
  # pylint: disable=import-outside-toplevel
  from kdwsd.training import chain
  from kdwsd.training import run
  from kdwsd.training import workers
  # pylint: enable=import-outside-toplevel
  stages = [FLAGS.stage]
  if FLAGS.stage == "all":
    stages = [stage for stage in run.STAGES
              if not (FLAGS.teacher and stage == "wsd")]
  settings = {stage: _settings(stage, run.FLAG_NAMES) for stage in stages}
  workdir = FLAGS.workdir
  if not all(values["data"] for values in settings.values()):
    workdir = workdir or demo.WORKDIR
    data = demo.make_data(workdir, seed=FLAGS.seed)
    settings = {stage: {**values, "data": data}
                for stage, values in settings.items()}
  if not workdir:
    raise errors.InputError(
        "--workdir: expected where the runs are to be kept. Received: none.")
  logging.info("Working in %s.", os.path.abspath(workdir))
  with workers.losses_told():
    if FLAGS.stage == "all":
      chain.run(workdir, settings)
    else:
      run.run(workdir, **settings[FLAGS.stage])


def _settings(stage, names):
  """A stage's value of each flag: default, recipe or demo, command line."""
  given = {name: FLAGS[name].value for name in names if FLAGS[name].present}
  if FLAGS.stage == "all" and FLAGS.recipe:
    values = _read_recipe(os.path.join(FLAGS.recipe, f"{stage}.flags"), names)
  else:
    values = {name: FLAGS[name].value for name in names}
    if not FLAGS.data:
      values.update(demo.SETTINGS[stage])
  if FLAGS.caffe_parity:
    values.update(_CAFFE_PARITY)
  values.update(given, stage=stage)
  for name, kind in _LISTS.items():
    values[name] = tuple(kind(value) for value in values[name])
  return values


def _read_recipe(path, names):
  """Values of flags as a flagfile alone has them."""
  if not os.path.exists(path):
    raise errors.InputError(
        f"--recipe: expected a flagfile for each stage. Received: no {path}.")
  # This program's flags only: absl's own would set the log's level anew.
  alone = flags.FlagValues()
  module = FLAGS.find_module_defining_flag("recipe")
  for flag in copy.deepcopy(FLAGS.flags_by_module_dict()[module]):
    flag.unparse()
    alone[flag.name] = flag
  try:
    alone([sys.argv[0], f"--flagfile={path}"])
  # What absl lets pass: other encodings, numbers where none may be, NUL.
  except (flags.Error, ValueError, RecursionError) as error:
    raise errors.InputError(
        f"{path}: expected flags of kdwsd.train. Received: "
        f"{texts.shown(str(error))}.") from error
  return {name: alone[name].value for name in names}


if __name__ == "__main__":
  command_line.run(main)
