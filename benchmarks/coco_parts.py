"""What each part does with the images of a split, and what it takes.

Where a network would take days on a CPU, its outputs are simulated: what is
measured is the package's own work on an image. Every function runs in a process
of its own and returns a `Taken`.
"""

import dataclasses
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import tensorflow as tf

from benchmarks import coco_records
from benchmarks import data_rates
from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.data import label_counts
from kdwsd.data import record_files
from kdwsd.evaluation import summary
from kdwsd.training import cached_arrays

_BATCH, _SIDE = 8, 224
_CACHE_SIDE = 64  # What is cached does not depend on the image.
# VGG16's conv5 at 672 pixels, which a run would keep.
_VGG_MAP = (42, 42, 512)
_TRAINED_BATCH = 2
_LATE = 0.97  # Of an epoch, where a run resumes.


@dataclasses.dataclass(frozen=True)
class Taken:
  """What a part took.

  Attributes:
    images: number of images.
    seconds: by the clock.
    core_seconds: of the processor, in all threads and child processes.
    disk_bytes: written by the part; 0 for none.
    remark: further figures.
  """
  images: int
  seconds: float
  core_seconds: float
  disk_bytes: int = 0
  remark: str = ""


class _Clock:
  """Time since it was made."""

  def __init__(self):
    self._start, self._cores = time.monotonic(), self._processor()

  def taken(self, images, **further):
    """`Taken` since then."""
    return Taken(images, time.monotonic() - self._start,
                 self._processor() - self._cores, **further)

  @staticmethod
  def _processor():
    times = os.times()
    return (times.user + times.system + times.children_user
            + times.children_system)


def convert(directory, split, work, photographs):
  """Converts as many photographs as a split has, with its proposals.

  Proposals and labels are others, but as many.
  """
  count = record_files.open_split(directory, split).num_images
  folder = os.path.join(work, "photographs")
  os.makedirs(folder)
  originals = coco_records.photographs(photographs, 1000)
  paths = [os.path.join(folder, f"{index}.jpg") for index in range(count)]
  for index, path in enumerate(paths):
    number, which = divmod(index, len(originals))
    with open(path, "wb") as file:
      file.write(coco_records.copy_of(originals[which], number))
  output = os.path.join(work, "converted")
  os.makedirs(output)
  clock = _Clock()
  data_rates.convert(paths, output, 0, 2, num_given=500)
  return clock.taken(count, disk_bytes=_size(output))


def open_split(directory, split, work):
  """Opens a split, and one with a faulty shard."""
  clock = _Clock()
  record_set = record_files.open_split(directory, split)
  label_counts.read(record_set)
  taken = clock.taken(record_set.num_images)
  broken = os.path.join(work, "broken")
  os.makedirs(broken)
  for path in (record_set.card_path, *record_set.paths):
    os.link(path, os.path.join(broken, os.path.basename(path)))
  last = os.path.join(broken, os.path.basename(record_set.paths[-1]))
  os.remove(last)
  missing = _refused(lambda: record_files.open_split(broken, split), "missing")
  with open(record_set.paths[-1], "rb") as file:
    content = file.read()
  with open(last, "wb") as file:
    file.write(2 * content)
  other = _refused(
      lambda: record_files.open_split(broken, split), "another conversion")
  return dataclasses.replace(taken, remark=(
      f"a missing shard told after {missing:.2f} s, one of another conversion "
      f"after {other:.2f} s"))


def read_batches(directory, split, seconds):
  """Reads training batches for some time."""
  batches = iter(_batches(directory, split, _BATCH))
  start = time.monotonic()
  next(batches)
  first, clock, count = time.monotonic() - start, _Clock(), 0
  while time.monotonic() - start < first + seconds:
    next(batches)
    count += 1
  return clock.taken(
      count * _BATCH, remark=f"first batch after {first:.1f} s; "
      f"images of {_SIDE} pixels, batches of {_BATCH}")


def resume(directory, split):
  """Reads the first batch of a run that resumes near the end of an epoch."""
  num_images = record_files.open_split(directory, split).num_images
  step = int(_LATE * num_images / _TRAINED_BATCH)
  clock = _Clock()
  next(iter(_batches(directory, split, _TRAINED_BATCH, step)))
  return clock.taken(num_images, remark=(
      f"first batch of step {step}, batches of {_TRAINED_BATCH}"))


def fill_scores(directory, split):
  """Fills and reads a teacher cache of image scores."""
  array = _array(directory, split, (coco_records.NUM_CLASSES,), np.float32)
  clock = _Clock()
  array.fill()
  taken = clock.taken(array.records.num_images, disk_bytes=_size(array.folder),
                      remark="scores simulated, two views")
  assert array.read().shape[0] == taken.images
  shutil.rmtree(array.folder)
  return taken


def fill_maps(directory, split, shape):
  """Keeps maps of a shape [h, w, channels]."""
  array = _array(directory, split, shape, np.float16)
  clock = _Clock()
  array.fill()
  taken = clock.taken(
      array.records.num_images, disk_bytes=_size(array.folder),
      remark=f"maps {' x '.join(map(str, shape))} simulated, two views")
  shutil.rmtree(array.folder)
  return taken


def refuse_maps(directory, split):
  """Asks for maps that no disk has room for."""
  clock = _Clock()
  array = _array(directory, split, _VGG_MAP, np.float16)
  try:
    free = shutil.disk_usage(directory).free
    needed = array.records.num_images * 2 * int(np.prod(_VGG_MAP)) * 2
    if needed > free:
      array.fill()
    message = f"needs {needed / 1e9:.0f} GB, which this disk has"
  except errors.InputError as error:
    message = re.sub(r"^.*?: expected", "refused: expected", str(error))
  finally:
    shutil.rmtree(array.folder, ignore_errors=True)
  return clock.taken(array.records.num_images, remark=(
      f"VGG16's conv5 at 672 pixels: {message}"))


def evaluate(directory, split, work):
  """Evaluates a simulated detector: all metrics, tables and pictures."""
  record_set = record_files.open_split(directory, split)
  clock = _Clock()
  metrics, results = summary.measure(
      simulated_detector, record_set, sizes=(_CACHE_SIDE,), num_proposals=500,
      batch_size=8, corloc=True, coco=True, progress=False)
  measured = clock.taken(record_set.num_images)
  summary.write(metrics, results, record_set, os.path.join(work, "evaluation"))
  number = sum(len(found.scores) for found in results.detections)
  return clock.taken(
      record_set.num_images, disk_bytes=_size(os.path.join(work, "evaluation")),
      remark=f"{number / record_set.num_images:.0f} detections an image; "
      f"{measured.seconds:.0f} s of it before files are written")


def simulated_detector(batch):
  """Scores [B, R, 80] that depend on the proposals alone.

  Some thousand detections of an image remain, as those of a teacher that is
  not sure: some tenths of the scores are above the threshold.
  """
  proposals = batch["proposals"]                                  # [B, R, 4]
  waves = tf.range(1.0, coco_records.NUM_CLASSES + 1)
  phase = tf.reduce_sum(
      proposals * tf.constant([3.0, 5.0, 7.0, 11.0]), axis=-1)    # [B, R]
  scores = tf.square(tf.square(
      tf.sin(phase[..., tf.newaxis] * waves)))                    # [B, R, C]
  scores *= batch["objectness"][..., tf.newaxis]
  scores = tf.where(scores > 0.29, scores, 1e-4)
  return {"proposal_scores": scores,
          "image_scores": tf.reduce_mean(scores, axis=1)}


def train(directory, split, work, steps):
  """Trains a small classifier, interrupts it within an epoch, and resumes it.

  The figures are those of the resumed process, up to the end of its first step.
  """
  workdir = os.path.join(work, "run")
  flags = [
      "--stage=cls", "--backbone=small", "--backbone_weights=",
      "--student_size=56", "--eval_size=64", "--fc_units=0",
      f"--global_batch_size={_TRAINED_BATCH}", f"--data={directory}",
      f"--train_split={split}", "--eval_split=", f"--workdir={workdir}",
      "--steps_per_loop=20", "--checkpoint_interval=5000"]
  start = time.monotonic()
  process = subprocess.Popen(
      [sys.executable, "-m", "kdwsd.train", "--train_steps=100000000", *flags],
      stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
  while _last_step(workdir) < steps:
    if process.poll() is not None:
      raise RuntimeError(f"Training exited with status {process.returncode}.")
    time.sleep(0.2)
  process.send_signal(signal.SIGTERM)
  process.wait()
  trained = time.monotonic() - start
  stopped = max(int(name.split("-")[1].split(".")[0]) for name in os.listdir(
      os.path.join(workdir, "checkpoints")) if name.endswith(".index"))
  clock = _Clock()
  subprocess.run(
      [sys.executable, "-m", "kdwsd.train", f"--train_steps={stopped + 1}",
       *flags], check=True, stderr=subprocess.DEVNULL,
      stdout=subprocess.DEVNULL)
  return clock.taken(stopped * _TRAINED_BATCH, remark=(
      f"{trained:.0f} s of training to step {stopped}; the same command then "
      f"ended step {stopped + 1}; status {process.returncode} before"))


def report(directory, split, work):
  """Evaluates the classifier of `train`, and writes its report."""
  count = record_files.open_split(directory, split).num_images
  workdir = os.path.join(work, "run")
  clock = _Clock()
  for command in (
      ["kdwsd.evaluate", f"--workdir={workdir}", f"--data={directory}",
       f"--split={split}", "--checkpoint=last"],
      ["kdwsd.report", workdir]):
    subprocess.run(
        [sys.executable, "-m", *command], check=True,
        stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
  return clock.taken(count, disk_bytes=_size(workdir))


def _batches(directory, split, batch_size, start_step=0):
  return input_pipeline.training_batches(
      record_files.open_split(directory, split), global_batch_size=batch_size,
      sizes=(_SIDE,), num_proposals=500, seed=0, start_step=start_step)


def _array(directory, split, shape, dtype):
  def compute(batch):
    flat = tf.reduce_mean(batch["image"], axis=[1, 2, 3])         # [b]
    return tf.tile(tf.reshape(flat, [-1] + [1] * len(shape)), [1, *shape])

  return cached_arrays.CachedArray(
      record_files.open_split(directory, split), "benchmark", "simulated",
      {"shape": list(shape)}, shape=shape, dtype=dtype, compute=compute,
      batches={"size": _CACHE_SIDE, "num_proposals": 1, "batch_size": 8},
      source="a benchmark", add=lambda values: {})


def _refused(function, expected):
  """Seconds until a function refuses its input for an expected reason."""
  start = time.monotonic()
  try:
    function()
  except errors.InputError as error:
    if expected not in str(error):
      raise
    return time.monotonic() - start
  raise RuntimeError(f"Expected a refusal because of: {expected}.")


def _last_step(workdir):
  """Step of the last line of a run's history; 0 before the first."""
  try:
    with open(os.path.join(workdir, "history.jsonl"), "rb") as file:
      file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
      lines = [line for line in file.read().splitlines() if line[:1] == b"{"]
    return json.loads(lines[-1])["step"]
  except (OSError, IndexError, ValueError):
    return 0


def _size(folder):
  """Bytes of all files below a folder."""
  return sum(os.path.getsize(os.path.join(place, name))
             for place, _, names in os.walk(folder) for name in names)
