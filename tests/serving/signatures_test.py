"""Signatures of tiny models: names, shapes, order, and what they refuse."""

from unittest import mock

from absl.testing import parameterized
import numpy as np
import tensorflow as tf

from kdwsd.modeling import student as student_lib
from kdwsd.serving import signatures
from tests.serving import fakes

_CONTENT = [fakes.jpeg(), fakes.png(seed=3), fakes.rotated(6, seed=5)]


def _call(servable, name, **inputs):
  """Runs a signature as a server does: by names, whatever the shapes."""
  function = servable.signatures[name]
  return {key: value.numpy() for key, value in function(**{
      key: tf.constant(value) for key, value in inputs.items()}).items()}


class ClassifierTest(tf.test.TestCase, parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = fakes.make_student()
    cls.servable = fakes.servable_student(cls.model)

  def test_names_and_types_are_those_agreed(self):
    functions = self.servable.signatures
    self.assertEqual(set(functions), {
        "serving_default", "per_image", "images", "classify"})
    (spec,) = functions["serving_default"].structured_input_signature[0]
    self.assertEqual(spec, tf.TensorSpec([None], tf.string, "image_bytes"))
    (spec,) = functions["images"].structured_input_signature[0]
    self.assertEqual(
        spec, tf.TensorSpec([None, 32, 32, 3], tf.float32, "images"))
    (spec,) = functions["classify"].structured_input_signature[0]
    self.assertEqual(spec, tf.TensorSpec([None], tf.string, "inputs"))
    for name, outputs in (
        ("serving_default", {"probabilities", "classes", "top_k_classes",
                             "top_k_probabilities"}),
        ("classify", {"classes", "scores"})):
      self.assertEqual(set(functions[name].structured_outputs), outputs)
      for tensor in functions[name].structured_outputs.values():
        self.assertEqual(tensor.shape.as_list(), [None, 3])

  def test_default_answers_as_the_model_is_measured(self):
    answer = _call(self.servable, "serving_default", image_bytes=_CONTENT)
    pixels = [fakes.pixels(), fakes.pixels(3),
              np.rot90(fakes.pixels(5), -1)]
    batch = {"image": tf.stack([
        tf.image.resize(image, [fakes.EVAL_SIZE] * 2) for image in pixels])}
    expected = self.model.score(batch)["image_scores"]
    # JPEG's losses.
    self.assertAllClose(answer["probabilities"], expected, atol=0.05)
    self.assertAllClose(answer["probabilities"][1], expected[1], atol=1e-6)
    self.assertGreater(np.ptp(answer["probabilities"], axis=0).max(), 0.1)

  def test_per_image_answers_beside_bad_images(self):
    content = [b"", _CONTENT[0], fakes.truncated_jpeg(), b"text", *_CONTENT[1:],
               fakes.huge_png()]
    answer = _call(self.servable, "per_image", image_bytes=content)
    default = _call(self.servable, "serving_default", image_bytes=_CONTENT)
    good, bad = [1, 4, 5], [0, 2, 3, 6]
    for name, values in default.items():
      self.assertEqual(answer[name].dtype, values.dtype)
      self.assertAllEqual(answer[name][good], values)
      nothing = b"" if values.dtype == object else np.float32(-1)
      self.assertAllEqual(answer[name][bad], np.full([4, 3], nothing))
    self.assertEqual(set(answer), {*default, "status"})
    size = len(fakes.truncated_jpeg())
    self.assertAllEqual(answer["status"], [
        b"expected a JPEG or PNG image. Received: zero bytes.", b"",
        b"expected a complete JPEG or PNG image. Received: %d bytes that "
        b"cannot be decoded." % size,
        b"expected a JPEG or PNG image. Received: 4 bytes of something else.",
        b"", b"",
        b"expected at most 50000000 pixels. Received: 60000 x 60000."])

  def test_rows_name_the_classes_in_their_order(self):
    answer = _call(self.servable, "serving_default", image_bytes=_CONTENT)
    names = [name.encode() for name in fakes.CLASSES]
    self.assertAllEqual(answer["classes"], [names] * 3)
    for row in range(3):
      order = np.argsort(-answer["probabilities"][row])
      self.assertAllEqual(answer["top_k_probabilities"][row],
                          answer["probabilities"][row][order])
      self.assertAllEqual(answer["top_k_classes"][row],
                          [names[i] for i in order])

  def test_top_k_are_five_of_many_classes(self):
    classes = tuple(f"class {i}" for i in range(8))
    servable = fakes.servable_student(classes=classes)
    answer = _call(servable, "serving_default", image_bytes=_CONTENT)
    self.assertEqual(answer["top_k_classes"].shape, (3, 5))
    self.assertEqual(answer["probabilities"].shape, (3, 8))
    self.assertAllEqual(answer["top_k_probabilities"],
                        -np.sort(-answer["probabilities"], axis=1)[:, :5])

  def test_images_are_taken_as_they_are(self):
    images = np.random.RandomState(0).uniform(
        0, 255, [2, 32, 32, 3]).astype(np.float32)
    answer = _call(self.servable, "images", images=images)
    self.assertAllClose(
        answer["probabilities"], tf.sigmoid(self.model(images)), atol=1e-6)

  def test_the_three_signatures_agree(self):
    default = _call(self.servable, "serving_default", image_bytes=_CONTENT)
    classify = _call(self.servable, "classify", inputs=[
        fakes.example(content) for content in _CONTENT])
    self.assertAllEqual(classify["scores"], default["probabilities"])
    self.assertAllEqual(classify["classes"], default["classes"])
    squares = tf.image.resize(fakes.pixels(3), [fakes.EVAL_SIZE] * 2)
    images = _call(self.servable, "images", images=student_lib.resize(
        squares[tf.newaxis], fakes.IMAGE_SIZE))
    self.assertAllClose(images["probabilities"][0],
                        default["probabilities"][1], atol=1e-6)

  def test_no_image_is_refused_by_per_image_too(self):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "at least one image. Received: none"):
      _call(self.servable, "per_image", image_bytes=np.zeros([0], object))

  def test_example_without_an_image_is_named(self):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError,
        r"image/encoded of inputs\[1\]: expected .*zero bytes"):
      _call(self.servable, "classify",
            inputs=[fakes.example(fakes.jpeg()), b""])

  def test_empty_batch_is_refused(self):
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "images: expected at least one image"):
      _call(self.servable, "images", images=np.zeros([0, 32, 32, 3], "f"))

  def test_every_variable_is_kept_and_the_model_is_not(self):
    kept = {variable.ref() for variable in self.servable.module.variables}
    self.assertEqual(kept, {v.ref() for v in self.model.variables})
    self.assertFalse([module for module in self.servable.module.submodules
                      if isinstance(module, tf.keras.layers.Layer)])

  @parameterized.parameters("mixed_float16", "mixed_bfloat16")
  def test_other_precision_than_float32_is_refused(self, policy):
    tf.keras.mixed_precision.set_global_policy(policy)
    try:
      model = fakes.make_student()
    finally:
      tf.keras.mixed_precision.set_global_policy("float32")
    with self.assertRaisesRegex(ValueError, "policy float32.*float"):
      fakes.servable_student(model)


class DetectorTest(tf.test.TestCase, parameterized.TestCase):

  @classmethod
  def setUpClass(cls):
    super().setUpClass()
    cls.model = fakes.make_teacher()
    cls.servable = fakes.servable_teacher(cls.model)

  def _images(self, count=2):
    return np.random.RandomState(0).uniform(
        0, 255, [count, 48, 48, 3]).astype(np.float32)

  def test_answers_as_the_model(self):
    proposals, objectness = fakes.boxes(5, 3)
    answer = _call(self.servable, "serving_default", image_bytes=_CONTENT,
                   proposals=proposals, objectness=objectness)
    image = tf.image.resize(fakes.pixels(3), [fakes.EVAL_SIZE] * 2)
    expected = self.model({
        "image": image[tf.newaxis], "proposals": proposals[1:2],
        "objectness": objectness[1:2], "valid": np.ones([1, 5], bool)})
    self.assertAllClose(answer["probabilities"][1],
                        expected["image_scores"][0], atol=1e-6)
    self.assertAllClose(answer["proposal_scores"][1],
                        expected["proposal_scores"][0], atol=1e-6)
    self.assertEqual(answer["proposal_scores"].shape, (3, 5, 3))
    self.assertNotIn("classify", self.servable.signatures)

  def test_an_accelerator_exports_the_operations_of_a_cpu(self):
    devices = [*tf.config.list_logical_devices(),
               tf.config.LogicalDevice("/device:GPU:0", "GPU")]
    with mock.patch.object(
        tf.config, "list_logical_devices", return_value=devices):
      servable = fakes.servable_teacher(self.model)
    for name, function in servable.signatures.items():
      kinds = {node.op for node in function.graph.as_graph_def().node}
      # Of the head alone: products of samples would be batched.
      self.assertIn("CropAndResize", kinds, name)
      self.assertNotIn("BatchMatMulV2", kinds, name)

  def test_padding_changes_nothing_and_scores_nothing(self):
    proposals, objectness = fakes.boxes(4, 2)
    images = self._images()
    plain = _call(self.servable, "images", images=images, proposals=proposals,
                  objectness=objectness)
    padding = np.tile(np.float32([0.5, 0.2, 0.5, 0.9]), [2, 3, 1])
    padded = _call(
        self.servable, "images", images=images,
        proposals=np.concatenate([proposals, padding], axis=1),
        objectness=np.concatenate([objectness, np.full([2, 3], 9, "f")], 1))
    self.assertAllClose(padded["probabilities"], plain["probabilities"],
                        atol=1e-6)
    self.assertAllEqual(padded["proposal_scores"][:, 4:], np.zeros([2, 3, 3]))

  def test_no_proposals_are_no_objects(self):
    answer = _call(self.servable, "images", images=self._images(),
                   proposals=np.zeros([2, 0, 4], "f"),
                   objectness=np.zeros([2, 0], "f"))
    self.assertAllEqual(answer["probabilities"], np.zeros([2, 3]))
    self.assertEqual(answer["proposal_scores"].shape, (2, 0, 3))

  @parameterized.named_parameters(
      ("of_fewer_images", lambda p, o: (p[:1], o[:1]),
       r"a row for each image. Received: shape \[1 4 4\] for 2 images"),
      ("other_objectness", lambda p, o: (p, o[:, :3]),
       r"shape \[2 3\] for proposals \[2 4 4\]"),
      ("in_pixels", lambda p, o: (p * 48, o), "as fractions"),
      ("nan", lambda p, o: (p * np.float32("nan"), o), "as fractions"),
      ("infinite", lambda p, o: (p, o / np.float32(0)), "finite numbers"),
  )
  def test_refuses_proposals(self, change, message):
    proposals, objectness = change(*fakes.boxes(4, 2))
    with self.assertRaisesRegex(tf.errors.InvalidArgumentError, message):
      _call(self.servable, "images", images=self._images(),
            proposals=proposals, objectness=objectness)

  def test_per_image_answers_beside_bad_images_and_proposals(self):
    good = [fakes.jpeg(seed=0), fakes.jpeg(seed=1)]
    proposals, objectness = fakes.boxes(4, 2)
    expected = _call(
        self.servable, "serving_default", image_bytes=good,
        proposals=proposals, objectness=objectness)
    order = [0, 0, 0, 0, 1]
    content = [good[0], b"text", good[0], good[0], good[1]]
    proposals, objectness = proposals[order], objectness[order]
    proposals[2] *= 48
    objectness[3, 1] = np.nan
    answer = _call(
        self.servable, "per_image", image_bytes=content,
        proposals=proposals, objectness=objectness)
    for name, values in expected.items():
      nothing = b"" if values.dtype == object else np.float32(-1)
      self.assertAllEqual(
          answer[name][1:4], np.full([3, *values.shape[1:]], nothing))
      if values.dtype == object:
        self.assertAllEqual(answer[name][[0, 4]], values)
      else:
        self.assertAllClose(answer[name][[0, 4]], values, atol=1e-6)
    self.assertEqual((answer["status"][0], answer["status"][4]), (b"", b""))
    self.assertIn(b"something else", answer["status"][1])
    self.assertRegex(
        answer["status"][2].decode(), "^proposals: expected .* fractions")
    self.assertRegex(
        answer["status"][3].decode(), "^objectness: expected finite numbers")

  @parameterized.parameters("serving_default", "per_image", "images")
  def test_shapes_that_do_not_belong_together_are_refused(self, name):
    proposals, objectness = fakes.boxes(4, 2)
    images = {"images": self._images()} if name == "images" else {
        "image_bytes": _CONTENT[:2]}
    with self.assertRaisesRegex(
        tf.errors.InvalidArgumentError, "a row for each image"):
      _call(self.servable, name, **images, proposals=proposals[:1],
            objectness=objectness[:1])

  def test_rounding_beyond_the_border_is_no_error(self):
    proposals, objectness = fakes.boxes(4, 2)
    proposals[0, 0] = [-1e-6, 0, 1 + 1e-6, 1]
    _call(self.servable, "images", images=self._images(), proposals=proposals,
          objectness=objectness)


def test_names_of_the_module_docstring():
  for name in (signatures.PROBABILITIES, signatures.PROPOSAL_SCORES,
               signatures.TOP_K_CLASSES.replace("classes", "*")):
    assert name in signatures.__doc__


if __name__ == "__main__":
  tf.test.main()
