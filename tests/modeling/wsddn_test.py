"""Facts about the detector that hold whatever its weights."""

import os

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd import errors
from kdwsd.modeling import losses
from kdwsd.modeling import roi_pooling
from kdwsd.modeling import wsddn


def _config(**changes):
  settings = dict(num_classes=3, backbone="small", fc_units=8,
                  dropout_rate=0.5)
  settings.update(changes)
  return wsddn.WSDDNConfig(**settings)


def _batch(seed=0, batch=2, count=6, side=48, num_padded=2):
  random = np.random.RandomState(seed)
  corners = np.sort(random.rand(batch, count, 2, 2), axis=2)
  valid = np.ones([batch, count], bool)
  valid[:, count - num_padded:] = False
  return {
      "image": random.uniform(0, 255, [batch, side, side, 3]).astype("f"),
      "proposals": corners.reshape(batch, count, 4).astype("f"),
      "objectness": random.uniform(0.1, 1, [batch, count]).astype("f"),
      "valid": valid,
      "labels": np.float32(random.rand(batch, 3) < 0.5),
  }


def _tensors(batch):
  return {key: tf.constant(value) for key, value in batch.items()}


def _loss_and_gradients(model, batch, seeds=None, scale=1.0):
  with tf.GradientTape() as tape:
    outputs = model(batch, training=seeds is not None, dropout_seeds=seeds)
    loss = scale * tf.reduce_mean(losses.mil_cross_entropy(
        batch["labels"], outputs["image_scores"]))
    if model.config.refinement_branches:
      loss += scale * tf.reduce_sum(outputs["proposal_scores"])
  return loss, tape.gradient(loss, model.trainable_variables)


def _lively(model):
  """Larger last layers: scores that differ visibly between proposals."""
  for layer in (model.fc8_c, model.fc8_d):
    layer.kernel.assign(50 * layer.kernel)
  return model


class WSDDNTest(tf.test.TestCase, parameterized.TestCase):

  def tearDown(self):
    super().tearDown()
    tf.keras.mixed_precision.set_global_policy("float32")

  def test_streams_match_numpy(self):
    random = np.random.RandomState(0)
    class_logits, detection_logits = random.randn(2, 2, 5, 3)
    valid = np.array([[1, 1, 1, 0, 1], [0, 0, 0, 0, 0]], bool)
    expected = np.zeros([2, 5, 3])
    kept = np.flatnonzero(valid[0])
    for r in kept:
      for c in range(3):
        expected[0, r, c] = (
            np.exp(class_logits[0, r, c]) / np.exp(class_logits[0, r]).sum()
            * np.exp(detection_logits[0, r, c])
            / np.exp(detection_logits[0, kept, c]).sum())
    self.assertAllClose(expected, wsddn.combine_streams(
        class_logits, detection_logits, tf.constant(valid)))

  @parameterized.parameters(("crop_and_resize", 2), ("max", 0))
  def test_padding_changes_nothing(self, pooling, branches):
    model = _lively(wsddn.build(_config(
        roi_pooling=pooling, refinement_branches=branches)))
    batch = _batch()
    clean = model(_tensors(batch))
    _, clean_gradients = _loss_and_gradients(model, _tensors(batch))
    padding = ~batch["valid"]
    batch["proposals"][padding] = np.nan
    batch["objectness"][padding] = np.inf
    dirty = model(_tensors(batch))
    _, dirty_gradients = _loss_and_gradients(model, _tensors(batch))
    for name in clean:
      self.assertAllClose(clean[name], dirty[name], msg=name)
    self.assertAllClose(clean_gradients, dirty_gradients)
    self.assertAllEqual(np.zeros([2, 2, 3]), dirty["proposal_scores"][:, 4:])
    fewer = dict(batch)
    for name in ("proposals", "objectness", "valid"):
      fewer[name] = batch[name][:, :4]
    self.assertAllClose(
        clean["image_scores"], model(_tensors(fewer))["image_scores"])

  def test_order_of_proposals_does_not_matter(self):
    model, batch = _lively(wsddn.build(_config())), _batch()
    order = np.array([3, 0, 5, 1, 4, 2])
    shuffled = dict(batch)
    for name in ("proposals", "objectness", "valid"):
      shuffled[name] = batch[name][:, order]
    straight, mixed = model(_tensors(batch)), model(_tensors(shuffled))
    self.assertAllClose(straight["image_scores"], mixed["image_scores"])
    self.assertAllClose(
        straight["proposal_scores"].numpy()[:, order],
        mixed["proposal_scores"])

  def test_images_of_a_batch_do_not_meet(self):
    model, batch = _lively(wsddn.build(_config())), _batch()
    both = model(_tensors(batch))["proposal_scores"]
    second = model(_tensors({k: v[1:] for k, v in batch.items()}))
    self.assertAllClose(both[1:], second["proposal_scores"])

  def test_image_without_proposals_scores_zero_and_trains(self):
    model, batch = wsddn.build(_config()), _batch(num_padded=6)
    outputs = model(_tensors(batch))
    self.assertAllEqual(np.zeros([2, 3]), outputs["image_scores"])
    _, gradients = _loss_and_gradients(model, _tensors(batch))
    self.assertTrue(all(np.isfinite(g).all() for g in gradients))

  def test_saturated_logits_stay_finite(self):
    model, batch = wsddn.build(_config()), _batch()
    for layer in (model.fc8_c, model.fc8_d):
      layer.bias.assign([1e4, -1e4, 0.0])
    loss, gradients = _loss_and_gradients(model, _tensors(batch))
    self.assertTrue(np.isfinite(loss))
    self.assertTrue(all(np.isfinite(g).all() for g in gradients))

  def test_score_factor_multiplies_pooled_features(self):
    batch = _batch()
    plain = wsddn.build(_config(score_scale=10.0, score_bias=1.0))
    scaled = wsddn.build(_config())
    as_factor = dict(batch, objectness=1 + 10 * batch["objectness"])
    self.assertAllClose(plain(_tensors(batch))["layers"]["fc7"],
                        scaled(_tensors(as_factor))["layers"]["fc7"], rtol=1e-5)

  def test_temperatures_divide_logits(self):
    batch = _tensors(_batch())
    model = _lively(wsddn.build(_config(
        class_temperature=0.5, detection_temperature=2.0)))
    outputs = model(batch)
    self.assertAllClose(outputs["proposal_scores"], wsddn.combine_streams(
        outputs["class_logits"] * 2, outputs["detection_logits"] / 2,
        batch["valid"]))

  def test_branches_score_proposals_and_wsddn_images(self):
    batch = _tensors(_batch())
    plain = _lively(wsddn.build(_config()))
    model = _lively(wsddn.build(_config(refinement_branches=2)))
    for branch in (model.fc8_r1, model.fc8_r2):
      self.assertEqual([8, 4], branch.kernel.shape)
      branch.kernel.assign(50 * branch.kernel)
    expected, outputs = plain(batch), model(batch)
    self.assertAllEqual(expected["proposal_scores"], outputs["wsddn_scores"])
    self.assertAllEqual(expected["image_scores"], outputs["image_scores"])
    probabilities = [tf.nn.softmax(outputs["layers"]["fc7"] @ branch.kernel)
                     for branch in (model.fc8_r1, model.fc8_r2)]
    self.assertNotAllClose(*probabilities)
    scores = outputs["proposal_scores"]
    self.assertAllClose(
        np.mean(probabilities, axis=0)[:, :4, :3], scores[:, :4])
    self.assertAllEqual(np.zeros([2, 2, 3]), scores[:, 4:])
    self.assertCountEqual(
        [*expected, "wsddn_scores", "refinement_logits"], outputs)

  def test_without_branches_variables_are_those_of_old_checkpoints(self):
    names = [name for name, _ in tf.train.list_variables(
        tf.train.Checkpoint(model=wsddn.build(_config())).write(
            os.path.join(self.get_temp_dir(), "ckpt")))]
    layers = {name.split("/")[1] for name in names if "model/" in name}
    self.assertEqual({"backbone", "fc6", "fc7", "fc8_c", "fc8_d"}, layers)

  @parameterized.parameters(
      ("mixed_float16", "small"), ("mixed_bfloat16", "small"),
      ("mixed_bfloat16", "mobilenet_v2"))
  def test_mixed_precision_keeps_scores_and_gradients_float32(
      self, policy, backbone):
    batch = _tensors(_batch(side=32))
    config = _config(backbone=backbone, refinement_branches=1, backbone_width=(
        0.35 if backbone == "mobilenet_v2" else 1.0))
    exact = _lively(wsddn.build(config))(batch)["image_scores"]
    tf.keras.mixed_precision.set_global_policy(policy)
    model = _lively(wsddn.build(config))
    outputs = model(batch)
    self.assertEqual({tf.float32}, {v.dtype for v in tf.nest.flatten(outputs)})
    self.assertEqual(policy[6:], model.backbone(batch["image"]).dtype.name)
    self.assertAllClose(exact, outputs["image_scores"], atol=0.05)
    loss, gradients = _loss_and_gradients(
        model, batch, seeds=tf.constant([[1, 2], [3, 4]]))
    self.assertTrue(np.isfinite(loss))
    for gradient in gradients:
      self.assertEqual(tf.float32, gradient.dtype)
      self.assertTrue(np.isfinite(gradient).all())

  @parameterized.product(
      pooling=roi_pooling.NAMES, case=(
          ("float32", True, 1e-3), ("mixed_float16", False, 0.03),
          # On CPUs XLA of TensorFlow 2.20 sums products in float16.
          ("mixed_float16", True, 0.2), ("mixed_bfloat16", True, 0.1)))
  def test_operations_of_accelerators_train_as_those_of_cpus(
      self, pooling, case):
    policy, compiled, tolerance = case
    tf.keras.mixed_precision.set_global_policy(policy)
    model = _lively(wsddn.build(_config(roi_pooling=pooling)))
    batch = _tensors(_batch())
    expected_loss, expected = _loss_and_gradients(model, batch, scale=1024.0)

    @tf.function(jit_compile=compiled, autograph=False)
    def train():
      with roi_pooling.compilable():
        return _loss_and_gradients(model, batch, scale=1024.0)

    loss, gradients = train()
    self.assertAllClose(expected_loss, loss, rtol=tolerance)
    # That of fc8_d's bias is 0 but for rounding.
    least = 1e-4 * tf.linalg.global_norm(expected)
    for variable, gradient, one in zip(
        model.trainable_variables, gradients, expected):
      difference = tf.norm(gradient - one) / tf.maximum(tf.norm(one), least)
      self.assertLess(difference, tolerance, variable.name)

  def test_outputs_are_float32_whatever_is_pooled(self):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    model, batch = wsddn.build(_config()), _tensors(_batch())
    with roi_pooling.compilable():
      outputs = model(batch)
    self.assertEqual({tf.float32}, {v.dtype for v in tf.nest.flatten(outputs)})

  def test_portable_scores_are_those_of_the_model(self):
    model, batch = _lively(wsddn.build(_config())), _tensors(_batch())
    with roi_pooling.compilable():
      portable = model.portable(batch)
    self.assertAllEqual(
        model(batch)["proposal_scores"], portable["proposal_scores"])

  def test_dropout_belongs_to_the_image(self):
    model, batch = _lively(wsddn.build(_config())), _batch()
    seeds = tf.constant([[1, 2], [3, 4]])
    both = model(_tensors(batch), training=True, dropout_seeds=seeds)
    second = model(_tensors({k: v[1:] for k, v in batch.items()}),
                   training=True, dropout_seeds=seeds[1:])
    self.assertAllClose(both["proposal_scores"][1:],
                        second["proposal_scores"])
    other = model(_tensors(batch), training=True, dropout_seeds=seeds + 1)
    self.assertNotAllClose(both["image_scores"], other["image_scores"])

  def test_fc6_and_fc7_drop_units_of_their_own(self):
    units = 32
    model = wsddn.build(_config(fc_units=units, num_classes=units))
    # fc6 is 1 everywhere; fc7 adds 1 to what is left of it; the class logits
    # are what is left of fc7.
    model.fc6.kernel.assign(tf.zeros_like(model.fc6.kernel))
    model.fc6.bias.assign(tf.ones([units]))
    model.fc7.kernel.assign(tf.eye(units))
    model.fc7.bias.assign(tf.ones([units]))
    model.fc8_c.kernel.assign(tf.eye(units))
    model.fc8_c.bias.assign(tf.zeros([units]))
    outputs = model(_tensors(_batch()), training=True,
                    dropout_seeds=tf.constant([[1, 2], [3, 4]]))
    fc7 = outputs["layers"]["fc7"].numpy()                        # [2, 6, 32]
    first = (fc7 - 1) / 2
    second = outputs["class_logits"].numpy() / (2 * fc7)
    for mask in (first, second):
      self.assertAllInSet(mask, [0.0, 1.0])
      self.assertAllClose(mask.mean(), 0.5, atol=0.1)
    self.assertAllClose((first == second).mean(), 0.5, atol=0.1)

  def test_training_without_seeds_is_refused(self):
    with self.assertRaisesRegex(ValueError, "dropout_seeds"):
      wsddn.build(_config())(_tensors(_batch()), training=True)

  def test_same_seed_same_weights(self):
    first, second = wsddn.build(_config()), wsddn.build(_config())
    self.assertAllEqual(first.fc6.kernel, second.fc6.kernel)
    other = wsddn.build(_config(seed=1))
    self.assertNotAllClose(first.fc6.kernel, other.fc6.kernel)

  def test_one_function_serves_all_sides(self):
    model = wsddn.build(_config())
    call = tf.function(model, reduce_retracing=True)
    for side in (32, 40, 48):
      self.assertAllEqual(
          [2, 3], call(_tensors(_batch(side=side)))["image_scores"].shape)
    self.assertLessEqual(call.experimental_get_tracing_count(), 2)

  @parameterized.parameters(
      ("backbone", "vgg19"), ("dropout_rate", 1.0), ("num_classes", 0),
      ("roi_pooling", "align"), ("detection_temperature", 0.0),
      ("refinement_branches", -1), ("frozen_stages", 9),
      ("backbone_width", 0.5))
  def test_bad_settings_are_named(self, name, value):
    with self.assertRaisesRegex(errors.InputError, f"{name}.*Received"):
      wsddn.WSDDN(_config(**{name: value}))


if __name__ == "__main__":
  tf.test.main()
