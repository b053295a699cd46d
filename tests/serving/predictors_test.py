"""An export and the model in memory say the same of the same files."""

import dataclasses
import os

import numpy as np
from PIL import Image
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.data import proposals
from kdwsd.evaluation import inference
from kdwsd.serving import image_files
from kdwsd.serving import predictors
from kdwsd.serving import saved_model
from kdwsd.serving import scored_files
from kdwsd.serving import signatures
from kdwsd.training import models
from tests.data import fake_records
from tests.serving import fakes
from tests.training import fake_config

_SIZE = 48
_CLASSES = fake_records.CLASSES


def _pixels(seed, height, width):
  """Smooth noise, so that JPEG keeps most of it."""
  random = np.random.default_rng(seed)
  small = random.integers(0, 256, [6, 8, 3], np.uint8)
  return Image.fromarray(small).resize((width, height), Image.BILINEAR)


@pytest.fixture(scope="module", name="folder")
def fixture_folder(tmp_path_factory):
  folder = tmp_path_factory.mktemp("photos")
  for seed, (height, width) in enumerate([(60, 80), (75, 50), (48, 48)]):
    _pixels(seed, height, width).save(folder / f"{seed}.jpg", quality=90)
  _pixels(3, 64, 64).save(folder / "3.png")
  _pixels(4, 64, 64).convert("L").save(folder / "4.jpg")
  _pixels(5, 64, 64).save(folder / "5.bmp")
  return folder


@pytest.fixture(scope="module", name="pairs")
def fixture_pairs(tmp_path_factory):
  """For `cls` and `wsd`: predictor in memory, of the export, the model."""
  pairs = {}
  for stage in ("cls", "wsd"):
    config = fake_config.make(stage=stage, eval_size=_SIZE, fc_units=(
        0 if stage == "cls" else 8))
    model = models.build(config)
    for variable in model.trainable_variables:
      if "fc8" in variable.name:  # Fresh ones say nearly the same of all.
        variable.assign(variable * 40.0)
    scorer = models.scorer(model)
    directory = str(tmp_path_factory.mktemp(stage) / "1")
    if stage == "cls":
      servable = signatures.classifier(
          model, classes=_CLASSES, image_size=config.student_size,
          eval_size=_SIZE)
    else:
      servable = signatures.detector(
          model, classes=_CLASSES, eval_size=_SIZE)
    saved_model.write(servable, directory)
    number = config.num_proposals if stage == "wsd" else None
    pairs[stage] = (
        predictors.of_model(scorer, classes=_CLASSES, size=_SIZE,
                            num_proposals=number),
        predictors.of_export(directory, number), model)
  return pairs


@pytest.mark.parametrize("stage", ["cls", "wsd"])
def test_export_and_model_agree(pairs, folder, stage):
  in_memory, export, _ = pairs[stage]
  assert in_memory.classes == export.classes == _CLASSES
  assert in_memory.is_detector == export.is_detector == (stage == "wsd")
  settings = proposals.Settings(max_proposals=6) if stage == "wsd" else None
  images = [predictors.read(str(path), settings)
            for path in sorted(folder.iterdir())
            # A BMP reaches an export as a JPEG.
            if path.suffix != ".bmp"]
  assert len(images) == 5
  ours, theirs = (predictors.score(p, images) for p in (in_memory, export))
  spread = np.ptp([scores.probabilities for scores in ours], axis=0)
  assert spread.max() > 0.01  # The images are told apart.
  for image, one, other in zip(images, ours, theirs):
    np.testing.assert_allclose(
        one.probabilities, other.probabilities, atol=1e-4)
    if stage == "wsd":
      assert 0 < len(one.boxes) <= 6
      np.testing.assert_array_equal(one.boxes, image.proposals)
      np.testing.assert_allclose(
          one.proposal_scores, other.proposal_scores, atol=1e-4)
      np.testing.assert_allclose(
          one.proposal_scores.sum(axis=0), one.probabilities, atol=1e-5)


def test_a_file_scores_as_its_record_does(pairs, tmp_path):
  in_memory, export, model = pairs["cls"]
  record_set = fake_records.write(str(tmp_path), "test", 3)
  expected = [p.image_scores for p in inference.predict(
      models.scorer(model), record_set, sizes=(_SIZE,), num_proposals=8,
      progress=False)]
  from kdwsd.data import records  # pylint: disable=import-outside-toplevel
  for number, serialized in enumerate(
      tf.data.TFRecordDataset(list(record_set.paths))):
    path = tmp_path / f"{number}.jpg"
    path.write_bytes(
        records.parse_for_training(serialized)["encoded"].numpy())
    image = predictors.read(str(path))
    for predictor in (in_memory, export):
      found, = predictors.score(predictor, [image])
      np.testing.assert_allclose(
          found.probabilities, expected[number], atol=1e-4)


@pytest.mark.parametrize("older", [False, True])
def test_a_bad_image_spoils_no_other(pairs, folder, tmp_path, older):
  _, export, model = pairs["cls"]
  if older:  # An export without `per_image` is asked once more for each image.
    servable = signatures.classifier(
        model, classes=_CLASSES, image_size=fake_config.make(
            stage="cls").student_size, eval_size=_SIZE)
    del servable.signatures["per_image"]
    saved_model.write(servable, str(tmp_path / "1"))
    export = predictors.of_export(str(tmp_path / "1"))
  good = predictors.read(str(folder / "0.jpg"))
  # Sound to Pillow, but the export's decoder is not asked about its pixels.
  bad = predictors.Image("bad.jpg", b"\xff\xd8\xff nonsense", good.decoded)
  found = predictors.score(export, [good, bad, good])
  assert isinstance(found[1], errors.InputError)
  assert str(found[1]) == (
      "bad.jpg: expected a complete JPEG or PNG image. Received: 12 bytes that "
      "cannot be decoded.")
  expected, = predictors.score(export, [good])
  for place in (0, 2):
    np.testing.assert_allclose(
        found[place].probabilities, expected.probabilities, atol=1e-6)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_batch_that_fails_is_asked_again_image_by_image(folder, size):
  decoded = predictors.read(str(folder / "0.jpg")).decoded
  batch = [predictors.Image(f"{number}.jpg", b"", decoded)
           for number in range(size)]

  def ask(some):
    if any(image.path == "0.jpg" for image in some):
      raise tf.errors.InvalidArgumentError(None, None, "a reason")
    return np.ones([len(some), 3], np.float32), None, [""] * len(some)

  first, *others = predictors.score(
      predictors.Predictor(_CLASSES, False, ask), batch)
  assert str(first).startswith("0.jpg: ")
  assert [type(found) for found in others] == [predictors.Scores] * (size - 1)


def test_an_image_beyond_the_limit_of_an_export_is_told_so(pairs, folder):
  _, export, _ = pairs["cls"]
  good = predictors.read(str(folder / "0.jpg"))
  found = predictors.score(export, [
      good, predictors.Image("huge.png", fakes.huge_png(), good.decoded)])
  assert isinstance(found[0], predictors.Scores)
  assert str(found[1]) == ("huge.png: expected at most 50000000 pixels. "
                           "Received: 60000 x 60000.")


@pytest.mark.parametrize("fault", [
    tf.errors.ResourceExhaustedError, tf.errors.InternalError,
    tf.errors.UnimplementedError, tf.errors.UnknownError])
def test_every_error_of_a_graph_is_one_line_with_its_reason(folder, fault):
  def ask(batch):
    if any(image.path == "odd.jpg" for image in batch):
      raise fault(None, None, "Graph execution error:\n\nDetected at node "
                  "a/b defined at (most recent call last):\n<stack traces "
                  "unavailable>\nOOM at [9,9]\n\t [[{{node a/b}}]] [Op:f]")
    return np.zeros([len(batch), 1]), None, [""] * len(batch)

  good = predictors.read(str(folder / "0.jpg"))
  odd = predictors.Image("odd.jpg", good.content, good.decoded)
  found = predictors.score(
      predictors.Predictor(("a",), False, ask), [good, odd, good])
  assert [str(each) for each in found[1:2]] == [
      "odd.jpg: expected an image that the model accepts. Received: "
      "OOM at [9,9]."]
  assert isinstance(found[0], predictors.Scores)
  assert isinstance(found[2], predictors.Scores)


@pytest.mark.parametrize("options", [
    {"batch_size": 2}, {"batch_size": 2, "read_ahead": True},
    {"batch_size": 8, "fill": True, "read_ahead": True}])
def test_files_come_in_order_with_their_errors(
    pairs, folder, tmp_path, options):
  in_memory, _, _ = pairs["cls"]
  cut = tmp_path / "cut.jpg"
  cut.write_bytes((folder / "1.jpg").read_bytes()[:300])
  files = image_files.expand(
      [str(folder / "0.jpg"), str(cut), str(tmp_path / "*.gif"),
       str(folder / "5.bmp"), str(tmp_path / "none.jpg")])
  rows = list(scored_files.scored(in_memory, files, **options))
  assert [file for file, _, _ in rows] == files
  told = [str(scores) if isinstance(scores, errors.InputError) else ""
          for _, _, scores in rows]
  assert [bool(text) for text in told] == [False, True, True, False, True]
  assert "truncated" in told[1].lower()
  assert "no match" in told[2]
  assert "no such file" in told[4]
  alone, = predictors.score(
      in_memory, [predictors.read(str(folder / "5.bmp"))])
  np.testing.assert_allclose(
      rows[3][2].probabilities, alone.probabilities, atol=1e-6)


@pytest.mark.parametrize("stage", ["cls", "wsd"])
def test_a_batch_filled_up_scores_the_same(pairs, folder, stage):
  settings = proposals.Settings(max_proposals=6) if stage == "wsd" else None
  batch = [predictors.read(str(folder / name), settings)
           for name in ("0.jpg", "1.jpg", "5.bmp")]
  for predictor in pairs[stage][:2]:
    sizes = []

    def ask(images, predictor=predictor, sizes=sizes):
      sizes.append(len(images))
      return predictor.ask(images)

    counted = dataclasses.replace(predictor, ask=ask)
    plain, filled = [predictors.score(counted, batch, fill_to=number)
                     for number in (0, 5)]
    assert sizes == [3, 5]
    assert len(filled) == 3
    for one, other in zip(plain, filled):
      np.testing.assert_allclose(
          other.probabilities, one.probabilities, atol=1e-6)
      if stage == "wsd":
        np.testing.assert_array_equal(other.boxes, one.boxes)
        np.testing.assert_allclose(
            other.proposal_scores, one.proposal_scores, atol=1e-6)


def test_a_model_gone_to_nan_is_no_answer(folder):
  predictor = predictors.Predictor(
      ("a",), False,
      lambda batch: (np.full([len(batch), 1], np.nan), None, [""]))
  with pytest.raises(errors.InputError, match="diverged"):
    predictors.score(predictor, [predictors.read(str(folder / "0.jpg"))])


def test_proposals_beyond_what_it_takes_are_dropped(pairs, folder):
  in_memory, export, _ = pairs["wsd"]
  image = predictors.read(
      str(folder / "0.jpg"), proposals.Settings(max_proposals=40))
  assert len(image.proposals) > 8
  for predictor in (in_memory, export):
    found, = predictors.score(predictor, [image])
    assert len(found.boxes) == len(found.proposal_scores) == 8


def test_a_damaged_export_is_told(tmp_path):
  os.makedirs(tmp_path / "1" / "assets")
  (tmp_path / "1" / "saved_model.pb").write_bytes(b"nonsense")
  with pytest.raises(errors.InputError, match="classes.txt"):
    predictors.of_export(str(tmp_path / "1"))
  (tmp_path / "1" / "assets" / "classes.txt").write_text(
      "a\n", encoding="utf-8")
  with pytest.raises(errors.InputError, match=(
      r"expected a complete SavedModel .*Received: \S.*\.$")):
    predictors.of_export(str(tmp_path / "1"))


def test_a_strangers_export_is_told(tmp_path):
  module = tf.Module()
  for name, outputs, message in (
      ("image_bytes", "scores", "a signature that gives probabilities. "
       "Received: scores"),
      ("text", "probabilities", "a signature that takes image_bytes. "
       "Received: text")):
    module.call = tf.function(
        lambda text, outputs=outputs: {outputs: tf.strings.length(text)})
    directory = str(tmp_path / name / "1")
    tf.saved_model.save(module, directory, signatures={
        "serving_default": module.call.get_concrete_function(
            tf.TensorSpec([None], tf.string, name=name))})
    os.makedirs(os.path.join(directory, "assets"), exist_ok=True)
    with open(os.path.join(directory, "assets", "classes.txt"), "w",
              encoding="utf-8") as file:
      file.write("a\n")
    with pytest.raises(errors.InputError, match=message):
      predictors.of_export(directory)
