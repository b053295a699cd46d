"""The columns of `many_classes`: what is measured for a number of classes."""

import io
import tempfile
import time

import numpy as np
import PIL.Image
import tensorflow as tf

from benchmarks import drawn_records
from benchmarks import step_rates
from kdwsd.data import input_pipeline
from kdwsd.data import record_files
from kdwsd.data import records
from kdwsd.evaluation import detection
from kdwsd.evaluation import metrics
from kdwsd.modeling import wsddn
from kdwsd.training.stages import wsd

_NUM_PROPOSALS = 500
_PRESENT = 3  # Labels of an image.

COLUMNS = (  # heading, function of this module, further arguments, format
    ("step, core ms", "step", (0.0,), "{:,.0f}"),
    ("with spatial regularizer", "step", (1e-4,), "{:,.0f}"),
    ("detections of an image, core ms", "detections", (), "{:,.1f}"),
    ("classification of 5,000 images, core s", "classification", (5000,),
     "{:,.1f}"),
    ("record with all labels known, kB", "record", (False,), "{:,.1f}"),
    ("record with all others unknown, kB", "record", (True,), "{:,.1f}"),
    ("labels of a record, core ms", "labels", (), "{:,.2f}"),
)


def table(rows):
  """Rows as a Markdown table; peak MiB in brackets."""
  lines = ["| classes | " + " | ".join(column[0] for column in COLUMNS) + " |",
           "|" + (1 + len(COLUMNS)) * "---|"]
  for row in rows:
    cells = [f"{form.format(row[heading]['value'])} "
             f"({row[heading]['peak_mib']:,.0f})"
             for heading, _, _, form in COLUMNS]
    lines.append(f"| {row['classes']:,} | {' | '.join(cells)} |")
  return "\n".join(lines)


def step(num_classes, spatial_weight, repeats=5):
  """Milliseconds of the processor of a training step with SGD."""
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=num_classes, fc_units=256, backbone="small"))
  batch = step_rates.random_batch(64, _NUM_PROPOSALS, 1)
  batch["labels"] = tf.one_hot([0], num_classes)
  batch["label_weights"] = tf.ones([1, num_classes])
  variables = model.trainable_variables
  function = wsd.make_step(model, spatial_weight=spatial_weight)

  @tf.function(autograph=False)
  def train():
    with tf.GradientTape() as tape:
      loss = tf.reduce_sum(function(batch, tf.zeros([1, 2], tf.int32))["loss"])
    for variable, gradient in zip(variables, tape.gradient(loss, variables)):
      variable.assign_sub(1e-4 * gradient)
    return loss

  train()
  return _core_ms(train, repeats)


def detections(num_classes, repeats=20):
  """Milliseconds of the processor of the detections of an image.

  The scores are a softmax over the classes times one over the proposals, as a
  teacher's; a hundredth or less of them is above the threshold.
  """
  random = np.random.default_rng(0)
  boxes = drawn_records.random_boxes(random, _NUM_PROPOSALS)
  logits = 3 * random.normal(size=[2, _NUM_PROPOSALS, num_classes])
  classes, proposals = np.exp(logits).astype(np.float32)
  scores = (classes / classes.sum(axis=1, keepdims=True)
            * proposals / proposals.sum(axis=0))
  detection.detect(boxes, scores)
  return _core_ms(lambda: detection.detect(boxes, scores), repeats)


def classification(num_classes, num_images):
  """Seconds of the processor of the metrics of a classifier."""
  random = np.random.default_rng(0)
  images = [records.LabelledImage(
      str(number), 9, 9, random.integers(0, num_classes, _PRESENT))
            for number in range(num_images)]
  scores = random.random([num_images, num_classes], np.float32)
  results = metrics.Results(images, scores, None, None)
  return 1e-3 * _core_ms(lambda: metrics.score(results), 1)


def record(num_classes, unknown):
  """Kilobytes of a record without its image."""
  return len(_record(num_classes, unknown)) / 1e3


def labels(num_classes, repeats=1000):
  """Milliseconds of the processor to read the labels of such a record."""
  with tempfile.TemporaryDirectory() as directory:
    path = record_files.shard_path(directory, "train", 0, 1)
    with tf.io.TFRecordWriter(path) as writer:
      for _ in range(repeats):
        writer.write(_record(num_classes, True))
    record_set = record_files.RecordSet(directory, "train", (path,), {
        "classes": [str(number) for number in range(num_classes)],
        "num_images": repeats})

    def read():
      for _ in input_pipeline.evaluation_batches(
          record_set, size=8, num_proposals=1):
        pass

    read()
    return _core_ms(read, 1) / repeats


def _record(num_classes, unknown):
  """A serialized record of a small image."""
  file = io.BytesIO()
  PIL.Image.new("RGB", (8, 8)).save(file, "JPEG")
  return records.serialize(records.Record(
      "x", 8, 8, np.arange(_PRESENT),
      np.arange(_PRESENT, num_classes if unknown else _PRESENT),
      encoded=file.getvalue()))


def _core_ms(function, repeats):
  """Milliseconds of the processor, in all threads, of a call."""
  start = time.process_time()
  for _ in range(repeats):
    function()
  return 1e3 * (time.process_time() - start) / repeats
