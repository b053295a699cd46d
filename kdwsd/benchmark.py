r"""Measures this machine: `make bench`, or python -m kdwsd.benchmark.

Images a second and peak memory of the converter, of the input pipeline alone
and of a training step of the paper's T-WDet, and what share of the machine's
peak of matrix products the step reaches. Each figure comes from a process of
its own. Images are those of --images, of KDWSD_DATA, or drawn.

Memory is the resident size of a process and all its children, added up: what
they share is counted for each.
"""

import dataclasses
import glob
import multiprocessing
import os
import platform
import shutil
import sys
import tempfile
import threading
import time

from absl import flags
from absl import logging
import numpy as np

from kdwsd import command_line
from kdwsd import errors
from kdwsd import files

_PARTS = ("converter", "input", "step")

flags.DEFINE_list("parts", list(_PARTS), "What to measure.")
flags.DEFINE_string("images", None, "Folder of JPEG images. Default: those of "
                    "VOC in $KDWSD_DATA, or drawn scenes.")
flags.DEFINE_integer("num_images", 240, "Images converted and read.",
                     lower_bound=8)
flags.DEFINE_integer("size", 672, "Image side of input pipeline and step.",
                     lower_bound=32)
flags.DEFINE_integer("num_proposals", 500, "Proposals an image.",
                     lower_bound=1)
flags.DEFINE_integer("fc_units", 4096, "Width of fc6 and fc7 in the step.",
                     lower_bound=1)
flags.DEFINE_integer("batch_size", 1, "Images a step.", lower_bound=1)
flags.DEFINE_integer("steps", 2, "Steps measured, after one that is not.",
                     lower_bound=1)
flags.DEFINE_string("output", "runs/bench/bench.json", "File to write.")
flags.register_validator(
    "parts", lambda parts: parts and set(parts) <= set(_PARTS),
    message=f"expected some of {','.join(_PARTS)}")

FLAGS = flags.FLAGS

_SAMPLE_SECONDS = 0.05
# Images whose proposals are given go by so fast that each is taken often.
_REPEATS_GIVEN = 20


@dataclasses.dataclass(frozen=True)
class Row:
  """One figure: what, images a second, on how many cores, peak MiB, remark."""
  what: str
  images_per_second: float
  cores: int
  peak_mib: float
  remark: str = ""


def main(_):
  """Measures, prints a table, writes JSON."""
  # The processes made here do not go through `command_line.run`.
  os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
  work = tempfile.mkdtemp(prefix="kdwsd-bench-")
  rows = []
  try:
    if {"converter", "input"} & set(FLAGS.parts):
      paths, what = _images(work)
      logging.info("Images: %d, %s.", len(paths), what)
    if "converter" in FLAGS.parts:
      rows += _converter(paths, work)
    if "input" in FLAGS.parts:
      rows += _input(paths, work)
    if "step" in FLAGS.parts:
      rows.append(_step())
  finally:
    shutil.rmtree(work, ignore_errors=True)
  files.write_json(FLAGS.output, {
      "machine": _machine(), "rows": [dataclasses.asdict(row) for row in rows]})
  print(f"{_machine()}\n\n{_table(rows)}\nWritten: {FLAGS.output}")


def _images(work):
  """Paths of --num_images images, and what they are."""
  folder = FLAGS.images
  if not folder and os.environ.get("KDWSD_DATA"):
    folder = os.path.join(os.environ["KDWSD_DATA"], "voc", "VOCdevkit",
                          "VOC2012", "JPEGImages")
  if folder:
    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "*.jpg")))
    if len(paths) < FLAGS.num_images:
      raise errors.InputError(
          f"{folder}: expected {FLAGS.num_images} .jpg images "
          f"(--num_images). Received: {len(paths)}.")
    return paths[:FLAGS.num_images], f"photographs of {folder}"
  from kdwsd.data import scenes  # pylint: disable=import-outside-toplevel
  root = scenes.write(os.path.join(work, "scenes"), num_test=1,
                      num_train=FLAGS.num_images, image_side=400)
  paths = sorted(glob.glob(os.path.join(root, "*", "JPEGImages", "*.jpg")))
  return paths[:FLAGS.num_images], "drawn scenes, longer side 400"


def _converter(paths, work):
  """Rows of the converter, with proposals and without, on 1 core and all."""
  rows = []
  for proposals in (FLAGS.num_proposals, 0):
    for cores in sorted({1, _num_cores()}):
      # Starting the workers must not count: the rate is that between a small
      # and a large conversion.
      many = paths if proposals else paths * _REPEATS_GIVEN
      few = many[:max(1, len(many) // 4)]
      output = os.path.join(work, "converted")
      seconds, peak = [], 0.0
      for some in (few, many):
        elapsed, mib = _measure(_convert, some, output, proposals, cores)
        seconds.append(elapsed)
        peak = max(peak, mib)
        shutil.rmtree(output)
      if seconds[1] <= seconds[0]:
        raise errors.InputError(
            f"--num_images: expected enough for {len(many)} to take longer "
            f"than {len(few)}. Received: {FLAGS.num_images}, on a machine "
            "that has other work.")
      rate = (len(many) - len(few)) / (seconds[1] - seconds[0])
      what = (f"converter, EdgeBoxes, {proposals} proposals" if proposals
              else "converter, proposals given")
      rows.append(Row(what, rate, cores, peak, f"{rate / cores:.1f} a core"))
      logging.info("%s", rows[-1])
  return rows


def _convert(paths, output, num_proposals, num_cores):
  """Converts images; returns the seconds it took."""
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import conversion
  from kdwsd.data import proposal_files
  from kdwsd.data import proposals
  from kdwsd.data import sources
  # pylint: enable=import-outside-toplevel
  _pin(num_cores)
  items = [sources.Item(image_path=path, image_id=str(number), label_ids=(0,))
           for number, path in enumerate(paths)]
  settings = proposals.Settings(max_proposals=num_proposals or 1)
  if not num_proposals:
    given = os.path.join(output, "given.npz")
    proposal_files.write(given, {
        item.image_id: ([[0.0, 0.0, 1.0, 1.0]], [1.0]) for item in items})
    settings = proposals.Settings(
        method="file", file=given, min_side_pixels=0)
  start = time.perf_counter()
  conversion.convert(
      sources.Source(("thing",), items, {"format": "benchmark"}),
      output=output, split="train", proposal_settings=settings,
      problems=sources.Problems(), num_workers=num_cores, progress=False)
  return time.perf_counter() - start


def _input(paths, work):
  """Rows of the input pipeline: decoding at each use, and from memory."""
  output = os.path.join(work, "records")
  _convert(paths, output, FLAGS.num_proposals, _num_cores())
  rows = []
  for cache in ("none", "memory"):
    rate, peak = _measure(_read, output, cache, FLAGS.size,
                          FLAGS.num_proposals, len(paths))
    rows.append(Row(f"input pipeline, {FLAGS.size} pixels, --cache={cache}",
                    rate, _num_cores(), peak))
    logging.info("%s", rows[-1])
  return rows


def _read(directory, cache, size, num_proposals, num_images):
  """Reads training batches; returns images a second after the first epoch."""
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import input_pipeline
  from kdwsd.data import records
  # pylint: enable=import-outside-toplevel
  batch_size = 4
  batches = iter(input_pipeline.training_batches(
      records.open_split(directory, "train"), global_batch_size=batch_size,
      sizes=(size,), num_proposals=num_proposals, seed=0, cache=cache,
      shuffle_buffer=64))
  steps = num_images // batch_size + 1
  for _ in range(steps):
    next(batches)
  start = time.perf_counter()
  for _ in range(steps):
    next(batches)
  return steps * batch_size / (time.perf_counter() - start)


def _step():
  """The row of the training step."""
  (seconds, flops, peak_flops), mib = _measure(
      _train, FLAGS.size, FLAGS.num_proposals, FLAGS.fc_units,
      FLAGS.batch_size, FLAGS.steps)
  row = Row(
      f"step of T-WDet, VGG16, {FLAGS.size} pixels, {FLAGS.num_proposals} "
      f"proposals, fc {FLAGS.fc_units}, batch {FLAGS.batch_size}",
      FLAGS.batch_size / seconds, _num_cores(), mib,
      f"{seconds:.2f} s, {flops / seconds / 1e9:.1f} GFLOP/s of "
      f"{peak_flops / 1e9:.1f}: {flops / seconds / peak_flops:.0%}")
  logging.info("%s", row)
  return row


def _train(size, num_proposals, fc_units, batch_size, steps):
  """Trains on one batch; returns seconds and FLOP a step, and peak FLOP/s."""
  # pylint: disable=import-outside-toplevel
  import tensorflow as tf

  from kdwsd.modeling import wsddn
  from kdwsd.training import loop
  from kdwsd.training import optimizers
  from kdwsd.training.stages import wsd
  # pylint: enable=import-outside-toplevel
  num_classes = 20
  random = np.random.default_rng(0)
  corners = np.sort(random.uniform(size=[batch_size, num_proposals, 2, 2]),
                    axis=2).reshape(batch_size, num_proposals, 4)
  batch = {
      "image": random.uniform(0, 255, [batch_size, size, size, 3]),
      "proposals": corners,
      "objectness": random.uniform(size=[batch_size, num_proposals]),
      "labels": random.integers(0, 2, [batch_size, num_classes]),
      "label_weights": np.ones([batch_size, num_classes])}
  batch = {name: tf.constant(value, tf.float32)
           for name, value in batch.items()}
  batch["valid"] = tf.ones([batch_size, num_proposals], tf.bool)
  batch["example_index"] = tf.range(batch_size, dtype=tf.int64)
  model = wsddn.build(wsddn.WSDDNConfig(
      num_classes=num_classes, fc_units=fc_units))
  trainer = loop.Trainer(
      strategy=tf.distribute.get_strategy(),
      variables=model.trainable_variables,
      optimizer=optimizers.make("sgd", learning_rate=1e-6),
      step=wsd.make_step(model), loss_names=wsd.LOSS_NAMES,
      dataset=tf.data.Dataset.from_tensors(batch).repeat(),
      global_batch_size=batch_size, seed=0,
      global_step=tf.Variable(0, dtype=tf.int64))
  trainer.train(tf.constant(1))  # Traces, and makes the optimizer's variables.
  peak_flops = _matmul_flops()
  start = time.perf_counter()
  trainer.train(tf.constant(steps))
  seconds = (time.perf_counter() - start) / steps
  peak_flops = max(peak_flops, _matmul_flops())
  return seconds, batch_size * _step_flops(model, size, num_proposals), (
      peak_flops)


def _step_flops(model, size, num_proposals):
  """FLOP of an image's step: convolutions and matrix products, no more.

  A multiply-add counts 2. Backward, each layer has two products of the size
  of the forward one: to its weights, and, but for the first, to its input.
  """
  products = []
  for stage in model.backbone.stages:
    for layer in stage:
      if layer.weights:
        products.append(size ** 2 * int(np.prod(layer.kernel.shape)))
      else:
        size //= 2
  for layer in (model.fc6, model.fc7, model.fc8_c, model.fc8_d):
    products.append(num_proposals * int(np.prod(layer.kernel.shape)))
  return 2 * (3 * sum(products) - products[0])


def _matmul_flops(side=4096, repeats=3):
  """FLOP/s of a large float32 matrix product, the best of a few."""
  import tensorflow as tf  # pylint: disable=import-outside-toplevel
  matrix = tf.random.normal([side, side])

  @tf.function
  def multiply(matrix):
    return tf.reduce_sum(tf.matmul(matrix, matrix)[0])

  seconds = []
  for _ in range(repeats + 1):  # The first one traces.
    start = time.perf_counter()
    multiply(matrix).numpy()
    seconds.append(time.perf_counter() - start)
  return 2 * side ** 3 / min(seconds[1:])


def _measure(function, *arguments):
  """Calls a function in a process of its own.

  Returns:
    (what it returned, peak resident MiB of it and its children together).
  """
  import psutil  # pylint: disable=import-outside-toplevel
  context = multiprocessing.get_context("spawn")
  receiver, sender = context.Pipe(duplex=False)
  process = context.Process(
      target=_send_result, args=(sender, function, arguments))
  process.start()
  sender.close()
  peak = 0

  def watch():
    nonlocal peak
    root = psutil.Process(process.pid)
    while process.is_alive():
      total = 0
      try:
        for one in [root, *root.children(recursive=True)]:
          total += one.memory_info().rss
      except psutil.Error:  # One of them has just ended.
        pass
      peak = max(peak, total)
      time.sleep(_SAMPLE_SECONDS)

  watcher = threading.Thread(target=watch)
  watcher.start()
  try:
    result = receiver.recv()
  except EOFError:
    result = None
  process.join()
  watcher.join()
  if process.exitcode:
    raise RuntimeError(
        f"{function.__name__} ended with status {process.exitcode}.")
  return result, peak / 2 ** 20


def _send_result(sender, function, arguments):
  sender.send(function(*arguments))


def _pin(num_cores):
  """Keeps this process and its children on so many cores, where it can."""
  if hasattr(os, "sched_setaffinity"):
    there = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(there[:num_cores]))


def _num_cores():
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _machine():
  """Processor, cores and Python in a line."""
  name = platform.processor() or platform.machine()
  if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
      models = [line.split(":")[1].strip() for line in file
                if line.startswith("model name")]
    name = models[0] if models else name
  return f"{name}, {_num_cores()} cores, Python {sys.version.split()[0]}"


def _table(rows):
  """The rows as a Markdown table."""
  lines = ["| what | images/s | cores | peak MiB | |",
           "|---|---|---|---|---|"]
  for row in rows:
    lines.append(f"| {row.what} | {row.images_per_second:.3g} | {row.cores} | "
                 f"{row.peak_mib:.0f} | {row.remark} |")
  return "\n".join(lines)


if __name__ == "__main__":
  command_line.run(main)
