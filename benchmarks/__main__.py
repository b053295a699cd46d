r"""Benchmarks kdwsd on this machine: `make bench` or python -m benchmarks.

Throughput (images/s) and peak memory of the converter, of the input pipeline,
of a training step of the teacher, also as a share of the machine's peak FLOP/s
in matrix products, and of a step of the student's stage 2 with the teacher
online and cached. Each measurement runs in a separate process. The images come
from --images, from $KDWSD_DATA, or are drawn.

`make bench-serving` or --parts=serving: latency and throughput of students and
their teacher, in TensorFlow's C++ session and through the local server.
"""

import dataclasses
import glob
import os
import platform
import shutil
import subprocess
import sys
import tempfile

from absl import flags
from absl import logging

from benchmarks import data_rates
from benchmarks import processes
from benchmarks import served_models
from benchmarks import serving_rates
from kdwsd import command_line
from kdwsd import errors
from kdwsd import files

_PARTS = ("converter", "input", "step", "distillation", "serving")

flags.DEFINE_list("parts", list(_PARTS[:-1]), "What to measure: some of "
                  f"{','.join(_PARTS)}.")
flags.DEFINE_string("images", None, "Folder of JPEG images. Default: those of "
                    "VOC in $KDWSD_DATA, or drawn scenes.")
flags.DEFINE_integer("num_images", 240, "Images to convert and to read.",
                     lower_bound=8)
flags.DEFINE_integer("size", 672, "Side, in pixels, of the images of the input "
                     "pipeline and of the training steps.",
                     lower_bound=32)
flags.DEFINE_integer("num_proposals", 500, "Proposals per image.",
                     lower_bound=1)
flags.DEFINE_integer("fc_units", 4096, "Units of the teacher's fc6 and fc7.",
                     lower_bound=1)
flags.DEFINE_integer("batch_size", 1, "Images per training step.",
                     lower_bound=1)
flags.DEFINE_integer("steps", 2, "Steps to measure, after a warm-up step.",
                     lower_bound=1)
flags.DEFINE_string("student", None, "Part serving: work directory of a "
                    "student's run. Default: students with random weights, "
                    "unless --teacher is given.")
flags.DEFINE_string("teacher", None, "Part serving: work directory of a run of "
                    "stage wsd. Default: a teacher with random weights, unless "
                    "--student is given.")
flags.DEFINE_list("batch_sizes", ["1", "8", "32"], "Part serving: batch "
                  "sizes of the requests of a single client.")
flags.DEFINE_integer("clients", 8, "Part serving: number of concurrent clients "
                     "in the case with requests of one image; 0 leaves it "
                     "out.", lower_bound=0)
flags.DEFINE_float("seconds", 20.0, "Part serving: seconds to spend on each of "
                   "session, REST and gRPC, for each model and batch size.",
                   lower_bound=0)
flags.DEFINE_float("longest_request", 60.0, "Part serving: cases whose "
                   "requests would take more seconds are left out.",
                   lower_bound=0.1)
flags.DEFINE_string("output", "runs/bench/bench.json", "JSON file to write.")
flags.register_validator(
    "parts", lambda parts: parts and set(parts) <= set(_PARTS),
    message=f"expected some of {','.join(_PARTS)}")
flags.register_validator(
    "batch_sizes", lambda values: values and all(
        v.strip().isdigit() and int(v) >= 1 for v in values),
    message="expected numbers of 1 or more, separated by commas")

FLAGS = flags.FLAGS

# Conversion with given proposals is fast, so each image is converted often.
_REPEATS_GIVEN = 20

_STUDENTS = {
    "VGG16": {},
    "MobileNetV2 0.35": {
        "backbone": "mobilenet_v2", "backbone_width": 0.35, "fc_units": 0},
}


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table; `what` says what was measured."""
  what: str
  images_per_second: float
  cores: int
  peak_mib: float
  remark: str = ""


def main(_):
  """Measures, prints a table, writes JSON."""
  # Child processes do not go through `command_line.run`.
  os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
  work = tempfile.mkdtemp(prefix="kdwsd-bench-")
  rows, serving = [], None
  try:
    if {"converter", "input", "serving"} & set(FLAGS.parts):
      paths, what = _images(work)
      logging.info("Images: %d, %s.", len(paths), what)
    if "converter" in FLAGS.parts:
      rows += _converter(paths, work)
    if "input" in FLAGS.parts:
      rows += _input(paths, work)
    if "step" in FLAGS.parts:
      rows.append(_step())
    if "distillation" in FLAGS.parts:
      for name, student in _STUDENTS.items():
        rows += _distillation(name, student)
    if "serving" in FLAGS.parts:
      serving = _serving(paths, what, work)
  finally:
    shutil.rmtree(work, ignore_errors=True)
  tables = [_table(rows)] if rows else []
  content = {"machine": _machine(),
             "rows": [dataclasses.asdict(row) for row in rows]}
  if serving:
    measured, left_out, content["serving"] = serving
    tables.append(serving_rates.table(measured, left_out))
  files.write_json(FLAGS.output, content)
  print("\n\n".join([_machine(), *tables]) + f"\nWritten: {FLAGS.output}")


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
  """Rows of the converter: EdgeBoxes or given proposals, one core or all."""
  rows = []
  for proposals in (FLAGS.num_proposals, 0):
    for cores in sorted({1, processes.num_cores()}):
      # The difference of a large and a small conversion excludes the time to
      # start the workers.
      many = paths if proposals else paths * _REPEATS_GIVEN
      few = many[:max(1, len(many) // 4)]
      output = os.path.join(work, "converted")
      seconds, peak = [], 0.0
      for some in (few, many):
        elapsed, mib = processes.measure(
            data_rates.convert, some, output, proposals, cores)
        seconds.append(elapsed)
        peak = max(peak, mib)
        shutil.rmtree(output)
      if seconds[1] <= seconds[0]:
        raise errors.InputError(
            f"--num_images: expected enough images that {len(many)} take "
            f"longer than {len(few)}. Received: {FLAGS.num_images}; the "
            "machine may be busy.")
      rate = (len(many) - len(few)) / (seconds[1] - seconds[0])
      what = (f"converter, EdgeBoxes, {proposals} proposals" if proposals
              else "converter, proposals given")
      rows.append(Row(what, rate, cores, peak, f"{rate / cores:.1f} per core"))
      logging.info("%s", rows[-1])
  return rows


def _input(paths, work):
  """Rows of the input pipeline: decoding at each use, or cached in memory."""
  output = os.path.join(work, "records")
  data_rates.convert(paths, output, FLAGS.num_proposals, processes.num_cores())
  rows = []
  for cache in ("none", "memory"):
    rate, peak = processes.measure(data_rates.read, output, cache, FLAGS.size,
                          FLAGS.num_proposals, len(paths))
    rows.append(Row(f"input pipeline, {FLAGS.size} pixels, --cache={cache}",
                    rate, processes.num_cores(), peak))
    logging.info("%s", rows[-1])
  return rows


def _step():
  """The row of the teacher's training step."""
  # It imports TensorFlow, which only the measuring process needs.
  from benchmarks import step_rates  # pylint: disable=import-outside-toplevel
  (seconds, flops, peak_flops), mib = processes.measure(
      step_rates.train_teacher, FLAGS.size, FLAGS.num_proposals, FLAGS.fc_units,
      FLAGS.batch_size, FLAGS.steps)
  row = Row(
      f"step of T-WDet, VGG16, {FLAGS.size} pixels, {FLAGS.num_proposals} "
      f"proposals, fc {FLAGS.fc_units}, batch {FLAGS.batch_size}",
      FLAGS.batch_size / seconds, processes.num_cores(), mib,
      f"{seconds:.2f} s, {flops / seconds / 1e9:.1f} GFLOP/s of "
      f"{peak_flops / 1e9:.1f}: {flops / seconds / peak_flops:.0%}")
  logging.info("%s", row)
  return row


def _distillation(name, student):
  """Rows of a student's stage 2, with the teacher online and cached."""
  from benchmarks import step_rates  # pylint: disable=import-outside-toplevel
  if student.get("fc_units") is None:
    student = {**student, "fc_units": FLAGS.fc_units}
  (online, cached), mib = processes.measure(
      step_rates.train_student, FLAGS.size, FLAGS.num_proposals,
      FLAGS.fc_units, FLAGS.batch_size, FLAGS.steps, student)
  rows = [
      Row(f"stage 2, student {name} at 224, teacher {kind}",
          FLAGS.batch_size / seconds, processes.num_cores(), mib, remark)
      for kind, seconds, remark in (
          ("online", online, f"{FLAGS.size} pixels, {FLAGS.num_proposals} "
           f"proposals, fc {FLAGS.fc_units}"),
          ("cached", cached, f"{online / cached:.1f} times"))]
  for row in rows:
    logging.info("%s", row)
  return rows


def _serving(paths, what, work):
  """Measurements of exports, texts on cases left out, and both as JSON."""
  exports = {}
  for role, workdir in (("student", FLAGS.student), ("teacher", FLAGS.teacher)):
    if workdir:
      exports[role] = os.path.join(work, role)
      done = subprocess.run(
          [sys.executable, "-m", "kdwsd.export", f"--workdir={workdir}",
           f"--output={exports[role]}", "--warmup="],
          check=False, stderr=subprocess.PIPE, text=True,
          stdout=subprocess.DEVNULL)
      if done.returncode:
        raise errors.InputError(
            f"--{role}: expected a run that can be exported. Received: "
            f"{(done.stderr.strip() or 'no message').splitlines()[-1]}")
  if not exports:
    students = {
        name: {"fc_units": FLAGS.fc_units, **student}
        for name, student in _STUDENTS.items()}
    logging.info("Exporting models with random weights.")
    exports, _ = processes.measure(
        served_models.write_fresh, os.path.join(work, "exports"), students,
        FLAGS.size, FLAGS.num_proposals, FLAGS.fc_units)
  contents = []
  for path in paths[:max(map(int, FLAGS.batch_sizes))]:
    with open(path, "rb") as file:
      contents.append(file.read())
  logging.info("Measuring %s.", ", ".join(exports))
  (measured, left_out), mib = processes.measure(
      serving_rates.measure, exports, contents,
      sorted({int(value) for value in FLAGS.batch_sizes}), FLAGS.clients,
      FLAGS.seconds, FLAGS.longest_request)
  return measured, left_out, {
      "images": what, "cores": processes.num_cores(), "peak_mib": mib,
      "rows": [dataclasses.asdict(row) for row in measured],
      "left_out": left_out}


def _machine():
  """Processor, cores and Python version in one line."""
  name = platform.processor() or platform.machine()
  if os.path.exists("/proc/cpuinfo"):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
      models = [line.split(":")[1].strip() for line in file
                if line.startswith("model name")]
    name = models[0] if models else name
  return (f"{name}, {processes.num_cores()} cores, "
          f"Python {sys.version.split()[0]}")


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
