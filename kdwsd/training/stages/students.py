"""What the stages of a student share: checks and the student's images."""

import tensorflow as tf

from kdwsd import errors
from kdwsd.data import augmentation
from kdwsd.modeling import student as student_lib
from kdwsd.training import folds
from kdwsd.training import frozen_maps
from kdwsd.training.stages import start

_AUGMENT = 3  # random stream, distinct from those of the input pipeline


def check(config):
  """Checks the settings of a student's stage, before anything is built.

  Raises:
    errors.InputError: the run to start from is missing or does not fit; or
      outputs are to be cached that are random, due to the teacher's dropout or
      to augmented images.
  """
  start.check(config)
  if config.frozen_cache:
    frozen_maps.check(config, (config.eval_size,))
  if config.fold_teachers:
    folds.check(config)
  if config.teacher_cache == "on" and config.teacher_dropout:
    raise errors.InputError(
        "--teacher_cache=on: expected --noteacher_dropout, because random "
        "outputs cannot be cached. Received: --teacher_dropout.")


def add_images(dataset, config, student, train_set, *, augmented,
               for_teacher):
  """Adds the student's images to training batches.

  Args:
    dataset: dataset of batches of the input pipeline.
    config: `config.Config`.
    student: the `student.Student` that is trained.
    train_set: the `record_files.RecordSet` of the images.
    augmented: whether to apply RandAugment and cutout, if configured.
    for_teacher: whether to keep the teacher's images, too.

  Returns:
    Dataset of the batches that `image_maker`'s function returns; of those that
    it takes, if images are warped on the device. With `--frozen_cache`, they
    also have `student_frozen_map`, see `frozen_maps`.
  """
  if config.frozen_cache:
    dataset = frozen_maps.keep(
        student, train_set, config, config.eval_size, "student_frozen_map"
    ).join(dataset)
  if config.resize_on_device:
    return dataset
  return dataset.map(
      image_maker(config, augmented=augmented, for_teacher=for_teacher),
      tf.data.AUTOTUNE, deterministic=True)


def image_maker(config, *, augmented, for_teacher):
  """Makes the function that makes the student's images from the warped ones.

  Args:
    config: as in `add_images`.
    augmented: as in `add_images`.
    for_teacher: as in `add_images`.

  Returns:
    Function of a batch to a batch with `student_image` [B, S, S, 3] float32
    RGB 0..255, and `image` only if `for_teacher`.
  """
  changing = augmented and (config.randaugment_layers or config.cutout_size)

  def one(image, index):
    seed = tf.random.experimental.stateless_fold_in(
        tf.constant([config.seed, _AUGMENT], tf.int64), index)
    return augmentation.augment(
        image, seed, num_layers=config.randaugment_layers,
        magnitude=config.randaugment_magnitude,
        cutout_size=config.cutout_size)

  @tf.autograph.experimental.do_not_convert
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

  return add
