"""Evaluation and prediction on the device give what they give on the CPU."""

import importlib.util
import os
import tempfile

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.evaluation import inference
from kdwsd.evaluation import summary
from kdwsd.modeling import student
from kdwsd.modeling import wsddn
from kdwsd.training import models
from tests.data import fake_records
from tests.gpu import case

_CLASSES = fake_records.CLASSES
_SIDE, _NUM_PROPOSALS = 64, 6

_FLOAT32 = {"atol": 2e-5, "rtol": 1e-4}
# Of 16 bits, with 11 and with 8 of mantissa, after some ten layers.
_TOLERANCES = {"mixed_float16": 5e-3, "mixed_bfloat16": 4e-2}


def _teacher(**changes):
  return wsddn.build(wsddn.WSDDNConfig(
      num_classes=len(_CLASSES), backbone="small", fc_units=32, score_scale=0.0,
      score_bias=1.0, **changes))


def _student():
  return student.build(student.StudentConfig(
      num_classes=len(_CLASSES), image_size=_SIDE, backbone="small",
      fc_units=0))


class InferenceTest(case.GpuTestCase):

  def setUp(self):
    super().setUp()
    directory = tempfile.TemporaryDirectory()
    self.addCleanup(directory.cleanup)
    self.folder = directory.name
    self.records = fake_records.write(self.folder, "test", 7)

  def _models(self, make, policy="float32"):
    """The same model on the CPU in float32, and on the device."""
    with tf.device(case.CPU):
      reference = make()
    tf.keras.mixed_precision.set_global_policy(policy)
    with tf.device(case.gpu()):
      model = make()
      for variable, value in zip(model.variables, reference.variables):
        variable.assign(value)
    return reference, model

  def _predict(self, model, device):
    with tf.device(device):
      return list(inference.predict(
          models.scorer(model), self.records, sizes=(_SIDE,), mirror=True,
          num_proposals=_NUM_PROPOSALS, batch_size=3, progress=False))

  @parameterized.parameters("crop_and_resize", "max")
  def test_a_teachers_scores(self, roi_pooling):
    reference, model = self._models(lambda: _teacher(roi_pooling=roi_pooling))
    expected = self._predict(reference, case.CPU)
    found = self._predict(model, case.gpu())
    self.assertLen(found, 7)
    for one, other in zip(found, expected):
      self.assertAllEqual(one.boxes, other.boxes)
      self.assertAllClose(one.image_scores, other.image_scores, **_FLOAT32)
      self.assertAllClose(one.proposal_scores, other.proposal_scores,
                          **_FLOAT32)
    # Else equal scores would say nothing.
    self.assertGreater(np.ptp([one.image_scores for one in expected]), 1e-3)

  @parameterized.parameters("mixed_float16", "mixed_bfloat16")
  def test_a_teachers_scores_in_16_bits_are_near(self, policy):
    reference, model = self._models(_teacher, policy)
    self.assertEqual(model.compute_dtype, policy.removeprefix("mixed_"))
    for one, other in zip(self._predict(model, case.gpu()),
                          self._predict(reference, case.CPU)):
      self.assertEqual(one.image_scores.dtype, np.float32)
      self.assertAllClose(one.image_scores, other.image_scores,
                          atol=_TOLERANCES[policy])

  def test_a_teachers_metrics(self):
    found = {}
    for device, model in zip(
        (case.CPU, case.gpu()), self._models(_teacher)):
      with tf.device(device):
        found[device] = summary.figures(summary.measure(
            models.scorer(model), self.records, sizes=(_SIDE,),
            num_proposals=_NUM_PROPOSALS, batch_size=2, corloc=True,
            progress=False)[0])
    self.assertContainsSubset(
        ["classification/map", "detection/voc07_map"], found[case.CPU])
    self.assertAllClose(found[case.gpu()], found[case.CPU], atol=1e-6)

  def test_a_students_predictions(self):
    if importlib.util.find_spec("cv2") is None:
      self.skipTest("needs OpenCV")
    # pylint: disable-next=import-outside-toplevel
    from kdwsd.serving import predictors
    random = np.random.default_rng(0)
    paths = []
    for number, shape in enumerate([(60, 80), (50, 40), (64, 64)]):
      paths.append(os.path.join(self.folder, f"{number}.png"))
      pixels = random.integers(0, 256, [*shape, 3], np.uint8)
      with open(paths[-1], "wb") as file:
        file.write(tf.io.encode_png(pixels).numpy())
    chosen = [predictors.read(path) for path in paths]
    scores = []
    for device, model in zip((case.CPU, case.gpu()), self._models(_student)):
      with tf.device(device):
        scores.append([one.probabilities for one in predictors.score(
            predictors.of_model(models.scorer(model), classes=_CLASSES,
                                size=_SIDE), chosen)])
    self.assertAllClose(scores[1], scores[0], **_FLOAT32)
    self.assertGreater(np.ptp(scores[0]), 1e-3)
