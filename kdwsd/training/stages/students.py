"""What the stages of a student share: its images, and the teacher's answers."""

import tensorflow as tf

from kdwsd import errors
from kdwsd.data import augmentation
from kdwsd.modeling import student as student_lib
from kdwsd.training import frozen_maps
from kdwsd.training.stages import start

_AUGMENT = 3  # stream of random numbers, beside those of the input pipeline


def check(config):
  """Checks what the stages of a student share, before anything is built.

  Raises:
    errors.InputError: what to start from is missing or does not fit; or what is
      to be kept cannot be, for the teacher drops units or images are changed at
      random.
  """
  start.check(config)
  if config.frozen_cache:
    frozen_maps.check(config, (config.eval_size,))
  if config.teacher_cache == "on" and config.teacher_dropout:
    raise errors.InputError(
        "--teacher_cache=on: expected --noteacher_dropout: what is random "
        "cannot be kept. Received: --teacher_dropout.")


def add_images(dataset, config, student, train_set, *, augmented,
               for_teacher):
  """Gives training batches the student's images.

  Args:
    dataset: of batches of the input pipeline.
    config: `config.Config`.
    student: `student.Student` that is to see them.
    train_set: the `record_files.RecordSet` that they come from.
    augmented: whether RandAugment and cutout may change them.
    for_teacher: whether the teacher needs its own images too.

  Returns:
    Dataset whose batches have `student_image` [B, S, S, 3] float32 RGB
    0..255; without `image` unless the teacher needs it. With
    `--frozen_cache`, also `student_frozen_map`, see `frozen_maps`.
  """
  if config.frozen_cache:
    dataset = frozen_maps.keep(
        student, train_set, config, config.eval_size, "student_frozen_map"
    ).join(dataset)
  changing = augmented and (config.randaugment_layers or config.cutout_size)

  def one(image, index):
    seed = tf.random.experimental.stateless_fold_in(
        tf.constant([config.seed, _AUGMENT], tf.int64), index)
    return augmentation.augment(
        image, seed, num_layers=config.randaugment_layers,
        magnitude=config.randaugment_magnitude,
        cutout_size=config.cutout_size)

  def add(batch):
    images = student_lib.resize(batch["image"], config.student_size)
    if changing:
      images = tf.map_fn(
          lambda pair: one(*pair), (images, batch["example_index"]),
          fn_output_signature=tf.TensorSpec(images.shape[1:], tf.float32))
    added = {**batch, "student_image": images}
    if not for_teacher:
      del added["image"]
    return added

  return dataset.map(add, tf.data.AUTOTUNE, deterministic=True)
