"""Trains a model: `python -m kdwsd.train --stage=wsd`.

Without --data it makes a data set of procedural scenes in the work directory
and trains on that, with settings that suit it and two CPU cores; any flag given
overrides them. The same command goes on where a stopped run ended.
"""

import os

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import demo

# The run.
flags.DEFINE_enum("stage", "wsd", ["wsd"], "What to train: the teacher.")
flags.DEFINE_string("workdir", None, "Where the run keeps all it makes; "
                    "runs/demo if no --data is given.")
flags.DEFINE_integer("seed", 0, "Of order, augmentation, weights and dropout.")
flags.DEFINE_enum("deterministic", "auto", ["auto", "on", "off"],
                  "Same seed, same weights. auto: on where there is no GPU.")
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
flags.DEFINE_enum("backbone", "vgg16", ["vgg16", "small", "mobilenet_v2"],
                  "Network before the regions.")
flags.DEFINE_float("backbone_width", 1.0, "Channel multiplier of MobileNetV2.")
flags.DEFINE_string("backbone_weights", "imagenet", "imagenet, none, or the "
                    "path of a Keras .h5 file.")
flags.DEFINE_integer("frozen_stages", 0, "Leading stages of the backbone that "
                     "are not trained.", lower_bound=0)
flags.DEFINE_integer("fc_units", 4096, "Width of fc6 and fc7.", lower_bound=1)
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
# Optimisation.
flags.DEFINE_integer("global_batch_size", 32, "Images a step, over all "
                     "replicas.", lower_bound=1)
flags.DEFINE_enum("optimizer", "sgd", ["sgd", "adam", "adamw"],
                  "sgd is Caffe's, multipliers included.")
flags.DEFINE_float("learning_rate", 5e-5, "Before multipliers and schedule.")
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

_LISTS_OF_INTEGERS = ("train_sizes", "schedule_boundaries")


@flags.multi_flags_validator(
    ["checkpoint_interval", "steps_per_loop"],
    message="--checkpoint_interval must be a multiple of --steps_per_loop")
def _saves_after_whole_loops(values):
  return values["checkpoint_interval"] % values["steps_per_loop"] == 0


@flags.multi_flags_validator(
    ["data", "workdir"], message="--data needs a --workdir")
def _data_has_workdir(values):
  return not values["data"] or bool(values["workdir"])


for _name in _LISTS_OF_INTEGERS:
  flags.register_validator(
      _name, lambda values: all(v.strip().isdigit() for v in values),
      message="expected whole numbers, separated by commas")


def main(_):
  """Turns flags into the settings of one run, and runs it."""
  from kdwsd.training import wsd_run  # pylint: disable=import-outside-toplevel
  workdir = FLAGS.workdir or demo.WORKDIR
  values = {name: FLAGS[name].value for name in wsd_run.FLAG_NAMES}
  if not FLAGS.data:
    given = {name for name in values if FLAGS[name].present}
    values.update({name: value for name, value in demo.SETTINGS.items()
                   if name not in given})
    values["data"] = demo.make_data(workdir, seed=FLAGS.seed)
  for name in _LISTS_OF_INTEGERS:
    values[name] = tuple(int(value) for value in values[name])
  logging.info("Working in %s.", os.path.abspath(workdir))
  wsd_run.run(workdir, **values)


if __name__ == "__main__":
  command_line.run(main)
