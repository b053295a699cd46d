"""Stage `kd_feature`: the student learns the teacher's RoI features.

Source: Liu et al., ACM MM 2018, stage 1, and the release's prototxt, which
compares only fc7 and weights all RoIs equally. Labels are not used.
"""

import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import student_losses
from kdwsd.training import folds
from kdwsd.training import models
from kdwsd.training import teacher as teacher_lib
from kdwsd.training import teacher_cache
from kdwsd.training import trainee as trainee_lib
from kdwsd.training.stages import stage
from kdwsd.training.stages import start
from kdwsd.training.stages import students


def make(config, train_set):
  """Makes the stage; call it in the strategy's scope.

  Args:
    config: `config.Config`.
    train_set: `record_files.RecordSet` to train on.

  Returns:
    A `stage.Stage`.

  Raises:
    errors.InputError: the teacher is missing or does not fit, or settings
      contradict each other.
  """
  check(config)
  teacher = folds.load(config, train_set)
  student = models.build(config)
  trainee = trainee_lib.Trainee(student, adapters=_adapters(
      student, teacher.model, config.feature_layers, config.feature_adapter))
  cached = config.teacher_cache == "on"
  images = {"augmented": False, "for_teacher": not cached}
  if cached:
    features = teacher_cache.roi_features(
        teacher, train_set, size=config.eval_size,
        num_proposals=config.num_proposals, top_k=config.top_k_rois,
        layers=config.feature_layers)

  def add_to_batches(dataset):
    if cached:
      dataset = features.join(dataset)
    return students.add_images(
        dataset, config, student, train_set, **images)

  names = config.feature_layers
  return stage.Stage(
      model=trainee,
      variables=_trained(trainee, names),
      step=make_step(
          trainee, teacher, layers=names, top_k=config.top_k_rois,
          roi_weight=config.roi_weight,
          student_factor=config.student_factor, cached=cached,
          teacher_dropout=config.teacher_dropout),
      loss_names=loss_names(names),
      sizes=(config.eval_size,),
      initialize=lambda: start.initialize(student, config),
      score=None,
      add_to_batches=add_to_batches,
      prepare=students.image_maker(config, **images))


def check(config):
  """Checks the settings of this stage, before anything is built.

  Raises:
    errors.InputError: settings contradict each other, or see `students.check`.
  """
  if config.teacher_cache == "on" and not config.top_k_rois:
    raise errors.InputError(
        "--teacher_cache=on: expected --top_k_rois in this stage, because "
        "features of all RoIs take too much space. Received: --top_k_rois=0.")
  students.check(config)


def check_layers(student, teacher, layers, adapter):
  """Checks that the layers of two models can be compared.

  Args:
    student: `student.Student`; its weights are not used.
    teacher: `wsddn.WSDDN`; its weights are not used.
    layers: names of layers.
    adapter: `--feature_adapter`.

  Raises:
    errors.InputError: the student has no such layer, or one of another width
      and no adapter.
  """
  ours, theirs = _widths(student), _widths(teacher)
  for name in layers:
    if name not in ours:
      raise errors.InputError(
          f"--feature_layers: expected some of {', '.join(ours)} for this "
          f"student. Received: {name!r}.")
    if adapter != "linear" and ours[name] != theirs[name]:
      raise errors.InputError(
          f"--feature_layers: {name}: expected the teacher's width, "
          f"{theirs[name]}, or --feature_adapter=linear. Received: a student "
          f"with {ours[name]}.")


def loss_names(layers):
  """Keys of the losses: the sum, and each layer's if there are several."""
  return ("loss", *(f"{name}_loss" for name in layers if len(layers) > 1))


def make_step(trainee, teacher, *, layers=("fc7",), top_k=0,
              roi_weight="uniform", student_factor="teacher", cached=False,
              teacher_dropout=False):
  """Makes the step function of the stage.

  Args:
    trainee: a `trainee.Trainee`, with adapters where widths differ.
    teacher: a `teacher.Teacher`.
    layers: names of the layers compared; their losses are added up.
    top_k: number of RoIs used per image, those that the teacher scores highest;
      0 for all.
    roi_weight: `uniform`, or `teacher`: weights in proportion to the teacher's
      score of the RoI's best class, with a mean of 1 over the image.
    student_factor: factor of the student's pooled features of a region:
      `teacher`, the teacher's, which depends on objectness, as in the release;
      or `image`, that of whole images in stage 2.
    cached: whether batches hold the teacher's features, see `teacher_cache`.
    teacher_dropout: whether the teacher has dropout, as in the release.

  Returns:
    Function of (batch, dropout_seeds [B, 2]) that returns a dictionary of [B]
    float32 losses.
  """

  def step(batch, dropout_seeds):
    proposals, factor = batch["proposals"], teacher.model.factor(batch)
    if student_factor == "image":
      factor = tf.fill(
          tf.shape(factor), trainee.student.config.feature_scale)
    if cached:
      targets = batch["teacher_layers"]
      scores, valid = batch["roi_scores"], batch["roi_valid"]     # [B, K]
      indices = batch["roi_indices"]
    else:
      outputs = teacher_lib.run(
          teacher, batch, dropout_seeds if teacher_dropout else None)
      targets, valid = outputs["layers"], batch["valid"]
      scores = tf.reduce_max(outputs["proposal_scores"], axis=2)  # [B, R]
      indices = None
      if top_k:
        indices = teacher_lib.best_rois(scores, valid, top_k)     # [B, K]
        targets = {name: tf.gather(targets[name], indices, batch_dims=1)
                   for name in layers}
        scores, valid = (tf.gather(values, indices, batch_dims=1)
                         for values in (scores, valid))
    if indices is not None:
      proposals, factor = (tf.gather(values, indices, batch_dims=1)
                           for values in (proposals, factor))
    found = trainee.student.regions(
        batch["student_image"], proposals, tf.where(valid, factor, 0.0),
        training=True, dropout_seeds=dropout_seeds,
        frozen_map=batch.get("student_frozen_map"))
    weights = _mean_one(scores, valid) if roi_weight == "teacher" else None
    losses = {}
    for name in layers:
      features = found[name]
      if name in trainee.adapters:
        features = trainee.adapters[name](features)
      losses[f"{name}_loss"] = student_losses.feature_distillation(
          features, targets[name], valid, weights)                # [B]
    losses["loss"] = tf.add_n(list(losses.values()))
    return {name: losses[name] for name in loss_names(layers)}

  return step


def _mean_one(scores, valid):
  """[B, R] weights in proportion to scores, with mean 1 over valid RoIs."""
  scores = tf.where(valid, tf.stop_gradient(scores), 0.0)
  count = tf.reduce_sum(tf.cast(valid, tf.float32), axis=1, keepdims=True)
  total = tf.reduce_sum(scores, axis=1, keepdims=True)
  return tf.math.divide_no_nan(scores * count, total)


def _adapters(student, teacher, layers, kind):
  """{layer: linear map from the student's channels to the teacher's}."""
  check_layers(student, teacher, layers, kind)
  ours, theirs = _widths(student), _widths(teacher)
  adapters = {}
  for name in layers:
    if ours[name] != theirs[name]:
      adapters[name] = tf.keras.layers.Dense(
          theirs[name], dtype="float32", name=f"adapter_{name}",
          kernel_initializer=tf.keras.initializers.GlorotUniform(
              1000 * student.config.seed + 990 + len(adapters)))
      adapters[name](tf.zeros([1, ours[name]]))
  return adapters


def _widths(model):
  """Width of each layer that can be compared."""
  fc_units, channels = model.config.fc_units, model.backbone.num_channels
  if not fc_units:
    return {"pool": channels, "fc7": channels}
  return {"pool": channels, "fc6": fc_units, "fc7": fc_units}


def _trained(trainee, layers):
  """Variables that the compared layers depend on.

  Raises:
    errors.InputError: all of them are frozen.
  """
  student = trainee.student
  unused = {"fc8"}
  if "fc7" not in layers:
    unused.add("fc7")
    if "fc6" not in layers:
      unused.add("fc6")
  without = {id(variable) for name in unused if getattr(student, name)
             for variable in getattr(student, name).variables}
  variables = [variable for variable in student.trainable_variables
               if id(variable) not in without]
  for adapter in trainee.adapters.values():
    variables.extend(adapter.trainable_variables)
  if not variables:
    raise errors.InputError(
        "--frozen_stages and --feature_layers: expected layers to train at or "
        "below those compared. Received: --frozen_stages="
        f"{student.config.frozen_stages}, the whole backbone, and "
        f"--feature_layers={','.join(layers)}.")
  return variables
