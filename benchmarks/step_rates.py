"""Speed of training steps of the teacher, and of the student in stage 2."""

import dataclasses
import functools
import os
import statistics
import time
from typing import Optional

import numpy as np
import tensorflow as tf

from benchmarks import compute as compute_lib
from benchmarks import flops
from benchmarks import kernels
from kdwsd import files
from kdwsd.data import device_resize
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.modeling import student as student_lib
from kdwsd.modeling import student_losses
from kdwsd.modeling import wsddn
from kdwsd.training import compilation
from kdwsd.training import inner_loop
from kdwsd.training import strategies
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import kd_prediction
from kdwsd.training.stages import wsd

_NUM_CLASSES = 20
_PLAIN = compute_lib.Compute()


@dataclasses.dataclass(frozen=True)
class Steps:
  """What was measured of training steps.

  Attributes:
    device: what computed.
    first: seconds from the start of the process to the end of the first step.
    seconds: of a step.
    flops: FLOP of a step.
    peak_flops: FLOP/s of the device's matrix products.
    gpu_mib: memory of the GPU; None on a CPU.
  """
  device: str
  first: float
  seconds: float
  flops: float
  peak_flops: float
  gpu_mib: Optional[float]

  def remark(self):
    """The figures beside the rate, as text."""
    scale, unit = (1e12, "T") if self.peak_flops > 1e13 else (1e9, "G")
    rate = self.flops / self.seconds
    return (f"{1000 * self.seconds:.4g} ms, first after {self.first:.3g} s, "
            f"{rate / scale:.4g} {unit}FLOP/s of {self.peak_flops / scale:.4g}:"
            f" {rate / self.peak_flops:.0%}")


def train_teacher(compute, batch_size, steps, records=None, cache="memory",
                  resize_on_device=False, **model):
  """Trains a teacher on one batch, or on records.

  Args:
    compute: a `compute.Compute`.
    batch_size: images per step.
    steps: see `compute.seconds_per_step`.
    records: (directory, split) to read batches from; None for one batch, which
      leaves out the input pipeline.
    cache: as `--cache` of training; only with `records`.
    resize_on_device: as the flag of training; only with `records`.
    **model: `size`, `num_proposals`, `fc_units` and `backbone` as `teacher`.

  Returns:
    `Steps`.
  """
  device = compute.begin()
  dataset = prepare = None
  if records:
    dataset = input_pipeline.training_batches(
        record_files.open_split(*records), global_batch_size=batch_size,
        sizes=(model["size"],), num_proposals=model["num_proposals"], seed=0,
        cache=cache, shuffle_buffer=64, resize=not resize_on_device)
    if resize_on_device:
      prepare = functools.partial(
          device_resize.warp, sizes=(model["size"],))
  network, trainer = teacher(
      batch_size=batch_size, compute=compute, dataset=dataset,
      prepare=prepare, **model)
  one = _specs(random_batch(model["size"], model["num_proposals"], 1))
  return _measure(device, trainer, steps,
                  batch_size * flops.of_step(network, one), compute.profile)


def teacher(size, num_proposals, fc_units, batch_size, backbone="vgg16",
            compute=_PLAIN, dataset=None, prepare=None):
  """Makes a teacher; returns it and its trainer.

  Args:
    size: side of its images, pixels.
    num_proposals: R.
    fc_units: width of fc6 and fc7.
    batch_size: images per step.
    backbone: as `compute.backbone` reads it.
    compute: a `compute.Compute`, which has begun.
    dataset: batches; None for one batch that is repeated.
    prepare: see `inner_loop.Trainer`.
  """
  strategy = compute_lib.strategy()
  with strategy.scope():
    model = wsddn.build(wsddn.WSDDNConfig(
        num_classes=_NUM_CLASSES, fc_units=fc_units,
        roi_pooling=compute.roi_pooling, **compute_lib.backbone(backbone)))
    if dataset is None:
      dataset = _repeated(random_batch(size, num_proposals, batch_size))
    return model, _trainer(
        strategy, dataset, model.trainable_variables, wsd.make_step(model),
        wsd.LOSS_NAMES, batch_size, compute, prepare)


def train_cached_student(compute, batch_size, steps, changes):
  """Trains a student in stage 2, with the teacher's outputs cached.

  Args:
    compute: a `compute.Compute`.
    batch_size: images per step.
    steps: see `compute.seconds_per_step`.
    changes: dict of changes to `student.StudentConfig`.

  Returns:
    `Steps`.
  """
  device = compute.begin()
  trainee, (trainer,) = _stage_2(
      compute, batch_size, changes, {"cached": None})
  side = trainee.student.config.image_size
  step_flops = batch_size * flops.of_step(
      trainee.student, tf.TensorSpec([1, side, side, 3]))
  return _measure(device, trainer, steps, step_flops, compute.profile)


def train_student(compute, size, num_proposals, fc_units, batch_size, steps,
                  changes):
  """Measures steps of stage 2, with the teacher online and cached in turns.

  Args, besides those of `students`:
    compute: a `compute.Compute`.
    steps: number of steps of each kind; 0 for 2.

  Returns:
    Seconds per step, the medians: teacher online, teacher cached; the device,
    memory of the GPU in MiB or None.
  """
  device = compute.begin()
  trainers = students(size, num_proposals, fc_units, batch_size, changes,
                      compute)
  seconds = [[], []]
  for number in range((steps or 2) + 1):  # The first one traces.
    for trainer, taken in zip(trainers, seconds):
      start = time.perf_counter()
      trainer.train(tf.constant(1))
      if number:
        taken.append(time.perf_counter() - start)
  return (*map(statistics.median, seconds), device, compute_lib.gpu_mib())


def students(size, num_proposals, fc_units, batch_size, changes,
             compute=_PLAIN):
  """Makes trainers of stage 2, on one batch.

  Args:
    size: side of the teacher's image, pixels.
    num_proposals: R.
    fc_units: width of the teacher's fc6 and fc7.
    batch_size: images per step.
    changes: dict of changes to `student.StudentConfig`.
    compute: a `compute.Compute`, which has begun.

  Returns:
    Trainers of the same student: teacher online, teacher cached.
  """
  with compute_lib.strategy().scope():
    model = wsddn.build(wsddn.WSDDNConfig(
        num_classes=_NUM_CLASSES, fc_units=fc_units,
        roi_pooling=compute.roi_pooling))
  model.trainable = False
  frozen = teacher_lib.Teacher(model, None, "")
  return _stage_2(compute, batch_size, changes,
                  {"online": frozen, "cached": None}, size, num_proposals)[1]


def student(changes):
  """A student with random weights; `changes` as `train_cached_student`."""
  return student_lib.build(student_lib.StudentConfig(
      num_classes=_NUM_CLASSES, **changes))


def _stage_2(compute, batch_size, changes, teachers, size=32, num_proposals=1):
  """A trainee, and a trainer of it for each {kind: teacher or None}."""
  strategy, batch = compute_lib.strategy(), random_batch(
      size, num_proposals, batch_size)
  with strategy.scope():
    trainee = trainee_lib.Trainee(student(changes), student_temperature=5.0)
    batch["student_image"] = student_lib.resize(
        batch["image"], trainee.student.config.image_size)
    cached = {name: value for name, value in batch.items() if name != "image"}
    cached["teacher_image_scores"] = tf.fill([batch_size, _NUM_CLASSES], 0.5)
    return trainee, [_trainer(
        strategy, _repeated(batch if teacher_ else cached),
        list(trainee.trainable_variables), kd_prediction.make_step(
            trainee, teacher_, student_losses.hard_loss("sigmoid")),
        kd_prediction.LOSS_NAMES, batch_size, compute)
                     for teacher_ in teachers.values()]


def _trainer(strategy, dataset, variables, step, loss_names, batch_size,
             compute, prepare=None):
  """The inner loop of a step."""
  return inner_loop.Trainer(
      strategy=strategy, variables=variables,
      optimizer=compute_lib.optimizer(), step=step, loss_names=loss_names,
      dataset=strategies.distribute(strategy, lambda _: dataset),
      global_batch_size=batch_size, seed=0, prepare=prepare,
      jit_compile=compilation.choose(compute.jit_compile, strategy),
      deterministic=not compute_lib.has_gpu(),
      global_step=tf.Variable(
          0, trainable=False, dtype=tf.int64,
          aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA))


def _measure(device, trainer, steps, step_flops, profile):
  def train(count):
    trainer.train(tf.constant(count))

  first = compute_lib.first_step(train)
  peak_flops = flops.of_device()
  seconds = compute_lib.seconds_per_step(train, steps)
  if profile:
    profiled = compute_lib.write_profile(profile, train)
    files.write_text(os.path.join(profile, "kernels.txt"),
                     kernels.table(profile, steps=profiled) + "\n")
  return Steps(device, first, seconds, step_flops,
               max(peak_flops, flops.of_device()), compute_lib.gpu_mib())


def _repeated(batch):
  """A data set of the same batch in each step."""
  return tf.data.Dataset.from_tensors(batch).repeat()


def _specs(batch):
  return tf.nest.map_structure(
      lambda tensor: tf.TensorSpec(tensor.shape, tensor.dtype), batch)


def random_batch(size, num_proposals, batch_size):
  """A batch of random values in the format of the input pipeline."""
  random = np.random.default_rng(0)
  corners = np.sort(random.uniform(size=[batch_size, num_proposals, 2, 2]),
                    axis=2).reshape(batch_size, num_proposals, 4)
  batch = {
      "image": random.uniform(0, 255, [batch_size, size, size, 3]),
      "proposals": corners,
      "objectness": random.uniform(size=[batch_size, num_proposals]),
      "labels": random.integers(0, 2, [batch_size, _NUM_CLASSES]),
      "label_weights": np.ones([batch_size, _NUM_CLASSES])}
  with tf.device("CPU:0"):
    batch = {name: tf.constant(value, tf.float32)
             for name, value in batch.items()}
    batch["valid"] = tf.ones([batch_size, num_proposals], tf.bool)
    batch["example_index"] = tf.range(batch_size, dtype=tf.int64)
  return batch
