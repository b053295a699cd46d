"""What goes to the device in batches comes out as on the CPU."""

import tempfile
from unittest import mock

import tensorflow as tf

from kdwsd.data import device_resize
from kdwsd.data import input_pipeline
from kdwsd.evaluation import device_batches
from kdwsd.evaluation import summary
from kdwsd.training import models
from tests.data import fake_records
from tests.data import mixed_records
from tests.gpu import case
from tests.training import fake_config


class FeedingTest(case.GpuTestCase):

  def _directory(self):
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    return directory.name

  def test_images_warped_on_the_device_are_those_of_the_pipeline(self):
    record_set = mixed_records.write(self._directory(), "train")
    expected, given = [
        input_pipeline.training_batches(
            record_set, global_batch_size=4, sizes=(40, 64), num_proposals=8,
            seed=0, resize=resize).take(6) for resize in (True, False)]
    for compiled in (False, True):
      warp = tf.function(lambda batch: device_resize.warp(batch, (40, 64)))
      resize = tf.function(
          lambda batch: device_resize.warp(batch, (40,))["image"],
          jit_compile=True)
      for plain, batch in zip(expected, given):
        if compiled and batch["side"][0] != 40:
          continue
        with tf.device(case.gpu()):
          image = resize(batch) if compiled else warp(batch)["image"]
        self.assertAllClose(image, plain["image"], atol=5e-3, rtol=0)

  def test_evaluation_in_batches_is_that_of_the_cpu(self):
    record_set = fake_records.write(self._directory(), "test", 11)
    config = fake_config.make()
    with tf.device(case.CPU):
      model = models.build(config)
      for layer in (model.fc8_c, model.fc8_d):
        layer.kernel.assign(100.0 * layer.kernel)
    options = {"sizes": (32, 48), "mirror": True, "num_proposals": 8,
               "corloc": True, "progress": False}
    with tf.device(case.CPU), mock.patch.object(
        device_batches, "on_gpu", return_value=False):
      expected, on_cpu = summary.measure(
          models.scorer(model), record_set, **options)
    with tf.device(case.gpu()), mock.patch.object(
        device_batches, "on_gpu", return_value=True), mock.patch.object(
            device_batches, "_GPU", case.gpu()):
      found, on_device = summary.measure(
          models.scorer(model), record_set, batch_size=4, **options)
    self.assertAllClose(on_device.image_scores, on_cpu.image_scores, atol=1e-4)
    self.assertEqual(found["num_images"], expected["num_images"])
    self.assertAllClose(found["corloc"]["baselines"]["best_proposal"],
                        expected["corloc"]["baselines"]["best_proposal"])
    for one, other in zip(on_device.detections, on_cpu.detections):
      self.assertAllClose(one.scores, other.scores, atol=1e-4)
