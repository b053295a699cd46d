"""A small teacher with a checkpoint, and splits of several shards."""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from kdwsd import files
from kdwsd.data import record_files
from kdwsd.modeling import wsddn
from kdwsd.training import models
from kdwsd.training import teacher as teacher_lib
from tests.data import fake_records
from tests.training import fake_config


def make(directory, *, spread=1.0, **changes):
  """Makes a teacher without training it.

  Args:
    directory: of its checkpoint.
    spread: of the weights of both classifiers; 0 makes all scores equal.
    **changes: of `fake_config`.

  Returns:
    A `teacher.Teacher`.
  """
  config = fake_config.make(
      **{"fc_units": 6, "detection_temperature": 2.0, **changes})
  model = wsddn.build(models.wsddn_config(config))
  for index, layer in enumerate((model.fc8_c, model.fc8_d)):
    random = np.random.RandomState(index)
    layer.kernel.assign(spread * random.normal(size=layer.kernel.shape))
  return save(teacher_lib.Teacher(model, config, ""), directory)


def save(teacher, directory):
  """The teacher, with its present weights in a new checkpoint."""
  path = tf.train.Checkpoint(model=teacher.model).write(
      os.path.join(directory, "ckpt-1"))
  return dataclasses.replace(teacher, checkpoint=path)


def write_records(directory, split, counts, *, seed=0):
  """Writes a split with so many images in each of its shards.

  Returns:
    The split, opened.
  """
  whole = fake_records.write(directory, split, sum(counts), seed=seed)
  serialized = iter(list(
      tf.data.TFRecordDataset(list(whole.paths)).as_numpy_iterator()))
  os.remove(whole.paths[0])
  for shard, count in enumerate(counts):
    path = record_files.shard_path(directory, split, shard, len(counts))
    with tf.io.TFRecordWriter(path) as writer:
      for _ in range(count):
        writer.write(next(serialized))
  files.write_json(record_files.card_path(directory, split),
                   {**whole.card, "num_shards": len(counts)})
  return record_files.open_split(directory, split)
