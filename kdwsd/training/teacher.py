"""The teacher of a student's run: a trained T-WDet, frozen.

It gets no gradient and no weight decay, because no optimizer has its variables,
and the student's checkpoints do not hold it. It has no dropout unless that is
set: the release's "frozen" teacher still had dropout and weight decay.
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
    config: of the run that trained it.
    checkpoint: path of the checkpoint that it was loaded from.
  """
  model: wsddn.WSDDN
  config: config_lib.Config
  checkpoint: str


def load(workdir, checkpoint, classes):
  """Loads the teacher of a student.

  Args:
    workdir: of a run of stage `wsd`.
    checkpoint: see `run_folder.RunFolder.find`.
    classes: of the student's data; the teacher must know the same.

  Returns:
    A `Teacher`.

  Raises:
    errors.InputError: see `check`; or the checkpoint is damaged.
  """
  path = check(workdir, checkpoint, classes)
  model, config = run_folder.RunFolder(workdir).load_model(path)
  model.trainable = False
  logging.info("Teacher: %s.", path)
  return Teacher(model, config, path)


def check(workdir, checkpoint, classes):
  """Checks that a run can be a student's teacher, without loading it.

  Args:
    workdir: see `load`.
    checkpoint: see `load`.
    classes: see `load`.

  Returns:
    The path of its checkpoint.

  Raises:
    errors.InputError: no such run, checkpoint or stage, or other classes.
  """
  if not workdir:
    raise errors.InputError(
        "--teacher: expected the work directory of a run of stage wsd, for "
        "this stage learns from it. Received: none.")
  folder = run_folder.RunFolder(workdir)
  config = folder.read_config()
  if config.stage != "wsd":
    raise errors.InputError(
        f"--teacher: {workdir}: expected a run of stage wsd. Received: stage "
        f"{config.stage}.")
  if config.classes != tuple(classes):
    raise errors.InputError(
        f"--teacher: {workdir}: expected the {len(classes)} classes of the "
        "student's data. Received: "
        f"{label_counts.difference(classes, config.classes)}.")
  return folder.find(checkpoint)


def image_scores(teacher, batch, *, temperature, dropout_seeds=None):
  """Image scores at another temperature.

  Both streams' logits are divided by `temperature` before their softmaxes, on
  top of the temperatures that the teacher was trained with. The release
  multiplies by 2: temperature 0.5.

  Args:
    teacher: a `Teacher`.
    batch: see `wsddn.WSDDN.call`.
    temperature: above 0.
    dropout_seeds: [B, 2] int32 to drop units, as the release does; None not
      to.

  Returns:
    [B, C] float32 in [0, 1], a constant to any gradient.
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
  """Places of the RoIs that the teacher scores highest.

  Args:
    scores: [B, R] in [0, 1], or NaN of a teacher that diverged, which comes
      first so that it is noticed.
    valid: [B, R] bool; others come last.
    top_k: K, at most R are given.

  Returns:
    [B, min(K, R)] int32, best first, the first one among equals.
  """
  ranks = tf.where(tf.math.is_finite(scores), scores, np.inf)
  # Below every score, for padding has 0, which a proposal may have too.
  ranks = tf.where(valid, ranks, -1.0)
  return tf.math.top_k(ranks, min(top_k, ranks.shape[1])).indices
