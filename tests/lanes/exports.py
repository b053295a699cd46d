"""Makes exports, and uses those of the other lane.

    python -m tests.lanes.exports make FOLDER
    python -m tests.lanes.exports use FOLDER ANSWERS
    python -m tests.lanes.exports call PORT FOLDER ANSWERS
"""

import glob
import os
import sys

from absl import flags
import numpy as np
import tensorflow as tf

from kdwsd import export
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.serving import lite
from kdwsd.serving import native_session
from kdwsd.serving import predictors
from kdwsd.serving import saved_model
from kdwsd.serving import warmup
from kdwsd.training import config as config_lib
from kdwsd.training import models
from kdwsd.training import run_folder
from tests.data import fake_records
from tests.serving.server import clients
from tests.training import fake_config

SPLIT = "test"
_SIDE = 56


def make(folder):
  """Writes records, untrained runs of student and teacher, and exports."""
  data = os.path.join(folder, "records")
  os.makedirs(data)
  fake_records.write(data, "trainval", 4)
  fake_records.write(data, SPLIT, 3, seed=1)
  formats = ",".join(lite.FILES)
  for name, stage, more in (("student", "cls", [f"--formats={formats}"]),
                            ("teacher", "wsd", [])):
    workdir = os.path.join(folder, name)
    _write_run(workdir, data, stage)
    for flag in flags.FLAGS:
      flags.FLAGS[flag].unparse()
    flags.FLAGS(["export", f"--workdir={workdir}", "--warmup=1,2",
                 f"--output={folder}/models/{name}", *more])
    export.main([])
  use(folder, os.path.join(folder, "answers.npz"))


def use(folder, path):
  """Writes what every way of using the exports answers, {way: array}."""
  answers = {}
  for name in ("student", "teacher"):
    directory = saved_model.find(os.path.join(folder, "models", name))
    requests = warmup.read(directory)
    _, results = native_session.run_apart(directory, requests)
    for place, ((signature, _), outputs) in enumerate(zip(requests, results)):
      for key, values in outputs.items():
        if values.dtype == np.float32:
          answers[f"{name}, C++ session, {signature} {place}, {key}"] = values
  answers["student, predictor"] = predictors.of_export(
      saved_model.find(os.path.join(folder, "models", "student"))).ask(
          [predictors.Image("", content, None) for content in _images(folder)]
      )[0]
  model, _ = run_folder.RunFolder(os.path.join(folder, "student")).load_model()
  pixels = np.random.default_rng(0).uniform(
      0, 255, [3, _SIDE, _SIDE, 3]).astype(np.float32)
  answers["student, Keras"] = tf.sigmoid(model(pixels)).numpy()
  for file in glob.glob(os.path.join(folder, "models", "student", "1", "**",
                                     "*.tflite"), recursive=True):
    answers[f"student, {os.path.basename(file)}"] = lite.predict(file, pixels)
  np.savez(path, **answers)


def call(port, folder, path):
  """Writes what a server of `student` answers over gRPC."""
  client = clients.Grpc(int(port))
  contents = _images(folder)
  response = client.predict({"image_bytes": contents})
  classified = client.classify(contents).result.classifications
  client.close()
  np.savez(path, **{
      "student, predictor": tf.make_ndarray(response.outputs["probabilities"]),
      "student, classify": [
          [one.score for one in row.classes] for row in classified]})


def _write_run(workdir, data, stage):
  config = fake_config.make(stage=stage, data=data, eval_size=48,
                            student_size=_SIDE)
  config_lib.write(config, workdir)
  model = models.build(config)
  random = np.random.RandomState(0)
  for variable in model.trainable_variables:
    if "fc8" in variable.name:
      variable.assign(random.normal(size=variable.shape))
  tf.train.CheckpointManager(
      tf.train.Checkpoint(model=models.as_saved(model, config)),
      run_folder.RunFolder(workdir).checkpoints, max_to_keep=1).save(1)


def _images(folder):
  """Contents of the image files of the split."""
  record_set = record_files.open_split(os.path.join(folder, "records"), SPLIT)
  return [records.parse_for_training(content)["encoded"].numpy()
          for content in tf.data.TFRecordDataset(list(record_set.paths))]


if __name__ == "__main__":
  {"make": make, "use": use, "call": call}[sys.argv[1]](*sys.argv[2:])
