"""Times of one lane: `python -m benchmarks.lane_rates RECORDS`.

Each line of the standard input names a part, which runs for about a second of
CPU; the answer is a line of JSON, the seconds and the seconds of CPU of a step.
A first line names all parts. `benchmarks.lanes` asks both lanes in turns.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks import step_rates
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.modeling import student as student_lib

_SECONDS = 1.0  # Of CPU.
_STUDENTS = {
    "VGG16": {"fc_units": 256},
    "MobileNetV2 0.35": {"backbone": "mobilenet_v2", "backbone_width": 0.35,
                         "fc_units": 0}}


def main(records):
  """Answers until the input ends."""
  parts = _parts(records)
  for step in parts.values():  # Traces.
    step()
  print(json.dumps(list(parts)), flush=True)
  for line in sys.stdin:
    print(json.dumps(_time(parts[line.strip()])), flush=True)


def _parts(records):
  """{name: function that takes one step}."""
  _, teacher = step_rates.teacher(128, 32, 256, 1)
  parts = {"step of T-WDet, VGG16, 128 pixels, 32 proposals":
           lambda: teacher.train(tf.constant(1))}
  for name, changes in _STUDENTS.items():
    _, trainer = step_rates.students(
        64, 8, 8, 1, {"image_size": 112, **changes, "fc_units": 0})
    parts[f"step of stage 2, {name}, 112 pixels, teacher cached"] = (
        lambda trainer=trainer: trainer.train(tf.constant(1)))
    model = student_lib.build(student_lib.StudentConfig(
        num_classes=20, image_size=224, **changes))
    infer = tf.function(model)
    image = tf.constant(np.random.default_rng(0).uniform(
        0, 255, [1, 224, 224, 3]), tf.float32)
    parts[f"inference, {name}, 224 pixels"] = (
        lambda infer=infer, image=image: infer(image))
  batches = iter(input_pipeline.training_batches(
      record_files.open_split(records, "trainval"), global_batch_size=8,
      sizes=(672,), num_proposals=64, seed=0, shuffle_buffer=64))
  parts["input pipeline, 672 pixels, batch of 8"] = lambda: next(batches)
  return parts


def _time(step):
  """Seconds and seconds of CPU per step."""
  count, start, begun = 0, time.perf_counter(), time.process_time()
  while time.process_time() - begun < _SECONDS:
    step()
    count += 1
  return ((time.perf_counter() - start) / count,
          (time.process_time() - begun) / count)


if __name__ == "__main__":
  main(sys.argv[1])
