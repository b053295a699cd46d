"""The frozen teacher of a student's run: a trained T-WDet.

The optimizer does not have its variables, so they get no gradient and no weight
decay, and checkpoints of the student do not contain them. Dropout is off by
default. In the release, the "frozen" teacher still had dropout and weight
decay.
"""

import dataclasses

from absl import logging
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import label_counts
from kdwsd.modeling import wsddn
from kdwsd.training import config as config_lib
from kdwsd.training import run_folder


@dataclasses.dataclass(frozen=True)
class Teacher:
  """A trained teacher.

  Attributes:
    model: `wsddn.WSDDN`, not trainable.
    config: `config.Config` of the run that trained it.
    checkpoint: path of the checkpoint that it was loaded from.
    origin: its path for messages, if `checkpoint` is a copy.
  """
  model: wsddn.WSDDN
  config: config_lib.Config
  checkpoint: str
  origin: str = ""


def load(workdir, checkpoint, classes):
  """Loads the teacher of a student.

  Args:
    workdir: work directory of a run of stage `wsd`.
    checkpoint: `best`, `last` or a path, see `run_folder.RunFolder.find`.
    classes: classes of the student's data; the teacher must have the same.

  Returns:
    A `Teacher`.

  Raises:
    errors.InputError: see `check`; or the checkpoint is damaged.
  """
  path = check(workdir, checkpoint, classes)
  folder = run_folder.RunFolder(workdir)
  model, config = folder.load_model(path)
  model.trainable = False
  logging.info("Teacher: %s.", folder.named(path))
  step = folder.last_step()
  if step is not None and step < config.train_steps:
    logging.warning("This teacher was trained for %d of its %d steps only.",
                    step, config.train_steps)
  return Teacher(model, config, path, folder.named(path))


def check(workdir, checkpoint, classes, flag="--teacher"):
  """Checks that a run can be a student's teacher, without loading it.

  Args:
    workdir: as in `load`.
    checkpoint: as in `load`.
    classes: as in `load`.
    flag: that names the run, for messages.

  Returns:
    The path of its checkpoint.

  Raises:
    errors.InputError: no such run, checkpoint or stage, or other classes.
  """
  check_given(workdir, flag)
  folder = run_folder.RunFolder(workdir)
  config = folder.read_config()
  if config.stage != "wsd":
    raise errors.InputError(
        f"{flag}: {workdir}: expected a run of stage wsd. Received: stage "
        f"{config.stage}.")
  if config.classes != tuple(classes):
    raise errors.InputError(
        f"{flag}: {workdir}: expected the {len(classes)} classes of the "
        "student's data. Received: "
        f"{label_counts.difference(classes, config.classes)}.")
  return folder.find(checkpoint)


def check_given(workdir, flag="--teacher"):
  """Checks that a run is named at all.

  Raises:
    errors.InputError: it is not.
  """
  if not workdir:
    raise errors.InputError(
        f"{flag}: expected the work directory of a run of stage wsd, which "
        "this stage learns from. Received: none.")


def image_scores(teacher, batch, *, temperature, dropout_seeds=None):
  """The teacher's image scores at an additional temperature.

  The logits of both streams are divided by `temperature` before their
  softmaxes, in addition to the temperatures that the teacher was trained with.
  The release multiplies them by 2, which is temperature 0.5.

  Args:
    teacher: a `Teacher`.
    batch: inputs of `wsddn.WSDDN.call`.
    temperature: above 0.
    dropout_seeds: [B, 2] int32, turns dropout on, as in the release; None for
      no dropout.

  Returns:
    [B, C] float32 in [0, 1], without gradient.
  """
  outputs = run(teacher, batch, dropout_seeds)
  config = teacher.model.config
  scores = wsddn.combine_streams(
      outputs["class_logits"] / (config.class_temperature * temperature),
      outputs["detection_logits"]
      / (config.detection_temperature * temperature),
      batch["valid"])                                             # [B, R, C]
  return tf.stop_gradient(tf.reduce_sum(scores, axis=1))


def run(teacher, batch, dropout_seeds=None):
  """The teacher's outputs for a batch, see `wsddn.WSDDN.call`."""
  return teacher.model(batch, training=dropout_seeds is not None,
                       dropout_seeds=dropout_seeds)


def best_rois(scores, valid, top_k):
  """Indices of the RoIs that the teacher scores highest.

  Args:
    scores: [B, R] in [0, 1]. NaN, from a teacher that diverged, ranks first so
      that later checks see it.
    valid: [B, R] bool; padding ranks last.
    top_k: K.

  Returns:
    [B, min(K, R)] int32, best first; ties keep their order.
  """
  ranks = tf.where(tf.math.is_finite(scores), scores, np.inf)
  # Padding has score 0, as a proposal may have; -1 ranks it below all of them.
  ranks = tf.where(valid, ranks, -1.0)
  return tf.math.top_k(ranks, min(top_k, ranks.shape[1])).indices
