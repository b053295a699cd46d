r"""Benchmarks kdwsd on this machine: `make bench` or python -m benchmarks.

Throughput (images/s) and peak memory of the parts that --parts names:

    converter     the conversion of images to records
    input         the input pipeline
    step          a training step of the teacher, on one batch; also as a share
                  of the FLOP/s that this device reaches in matrix products
    training      the same from the input pipeline on
    distillation  a step of the student's stage 2, teacher online and cached
    cached        the same from the teacher's cache alone
    inference     students
    evaluation    teacher: inference, evaluation, teacher cache, kept maps
    serving       latency and throughput of students and their teacher, in
                  TensorFlow's C++ session and through the local server:
                  `make bench-serving`

For example, on a GPU, `python -m benchmarks --parts=step --batch_size=4
--mixed_precision=mixed_float16`; `python -m benchmarks.gpu` measures all that
RESULTS.md lists for GPUs. Each measurement runs in a separate process. The
images of converter, input and serving come from --images, from $KDWSD_DATA, or
are drawn.
"""

import dataclasses
import glob
import os
import re
import shutil
import subprocess
import sys
import tempfile

from absl import flags
from absl import logging

from benchmarks import compute as compute_lib
from benchmarks import data_rates
from benchmarks import model_parts
from benchmarks import processes
from benchmarks import rows as rows_lib
from benchmarks import served_models
from benchmarks import serving_rates
from kdwsd import command_line
from kdwsd import devices
from kdwsd import errors
from kdwsd import files

_PARTS = ("converter", "input", "step", "training", "distillation", "cached",
          "inference", "evaluation", "serving")
_DEFAULT_PARTS = ("converter", "input", "step", "distillation")

flags.DEFINE_list("parts", list(_DEFAULT_PARTS), "What to measure: some of "
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
flags.DEFINE_integer("batch_size", None, "Images per training step, and per "
                     "forward pass of inference and evaluation. Default: 1; "
                     "in evaluation that of kdwsd.evaluate.", lower_bound=1)
flags.DEFINE_integer("steps", 0, "Steps to measure, after those that warm up. "
                     "0: 2 on a CPU, 50 on a GPU.", lower_bound=0)
devices.define_flag()
flags.DEFINE_enum("mixed_precision", "float32", ["float32", "mixed_float16",
                  "mixed_bfloat16"], "As of kdwsd.train.")
flags.DEFINE_enum("roi_pooling", "crop_and_resize", ["crop_and_resize", "max"],
                  "As of kdwsd.train.")
flags.DEFINE_enum("jit_compile", "auto", ["auto", "on", "off"],
                  "As of kdwsd.train.")
flags.DEFINE_string("profile", "", "Parts step, training and cached: folder to "
                    "write a profile to, and kernels.txt, a list of what the "
                    "GPU did.")
flags.DEFINE_string("backbone", "vgg16", "Backbone of the teacher, also "
                    "NAME:WIDTH, such as mobilenet_v2:0.35.")
flags.DEFINE_list("students", ["vgg16", "mobilenet_v2:0.35"], "Backbones of "
                  "the students in the parts distillation, cached, inference "
                  "and serving, as --backbone.")
flags.DEFINE_integer("student_size", 224, "Side of the students' "
                     "images, pixels.", lower_bound=32)
flags.DEFINE_enum("cache", "memory", ["none", "memory"], "Part training: as of "
                  "kdwsd.train.")
flags.DEFINE_bool("resize_on_device", False, "Part training: as of "
                  "kdwsd.train.")
flags.DEFINE_integer("frozen_stages", 4, "Part evaluation: stages whose output "
                     "is kept.", lower_bound=1)
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
flags.register_validator(
    "backbone", lambda name: bool(re.fullmatch(compute_lib.BACKBONE, name)),
    message="expected NAME or NAME:WIDTH")
flags.register_validator(
    "students", lambda names: names and all(
        re.fullmatch(compute_lib.BACKBONE, name) for name in names),
    message="expected NAME or NAME:WIDTH, separated by commas")

FLAGS = flags.FLAGS

# Conversion with given proposals is fast, so each image is converted often.
_REPEATS_GIVEN = 20


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
      rows += data_rates.input_rows(
          paths, work, FLAGS.size, FLAGS.num_proposals)
    rows += _models(work)
    if "serving" in FLAGS.parts:
      serving = _serving(paths, what, work)
  finally:
    shutil.rmtree(work, ignore_errors=True)
  tables = [rows_lib.table(rows)] if rows else []
  content = {"machine": rows_lib.machine(),
             "rows": [dataclasses.asdict(row) for row in rows]}
  if serving:
    measured, left_out, content["serving"] = serving
    tables.append(serving_rates.table(measured, left_out))
  files.write_json(FLAGS.output, content)
  print("\n\n".join([content["machine"], *tables, *data_rates.feeding(rows)])
        + f"\nWritten: {FLAGS.output}")


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
      rows.append(rows_lib.Row(
          what, rate, cores, peak, f"{rate / cores:.1f} per core"))
      logging.info("%s", rows[-1])
  return rows


def _models(work):
  """Rows of the parts that run models."""
  compute = compute_lib.Compute(
      FLAGS.device, FLAGS.mixed_precision, FLAGS.roi_pooling,
      FLAGS.jit_compile, FLAGS.profile)
  model = model_parts.Model(
      FLAGS.size, FLAGS.num_proposals, FLAGS.fc_units, FLAGS.backbone)
  batch_size, steps, rows = FLAGS.batch_size or 1, FLAGS.steps, []
  if "step" in FLAGS.parts:
    rows.append(model_parts.step(compute, model, batch_size, steps))
  if "training" in FLAGS.parts:
    rows.append(model_parts.training(
        compute, model, batch_size, steps, FLAGS.cache,
        FLAGS.resize_on_device, FLAGS.num_images, work))
  for name, student in _students().items():
    if "distillation" in FLAGS.parts:
      rows += model_parts.distillation(
          compute, model, name, student, batch_size, steps)
    if "cached" in FLAGS.parts:
      rows.append(model_parts.cached(
          compute, name, student, batch_size, steps))
    if "inference" in FLAGS.parts:
      rows.append(model_parts.inference(compute, name, student, batch_size))
  if "evaluation" in FLAGS.parts:
    rows += model_parts.evaluation(
        compute, model, FLAGS.batch_size, FLAGS.frozen_stages,
        FLAGS.num_images, work)
  return rows


def _students():
  """{name: changes to `student.StudentConfig`}."""
  return {name: model_parts.student(
      name, FLAGS.fc_units, FLAGS.student_size)
          for name in FLAGS.students}


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
    logging.info("Exporting models with random weights.")
    exports, _ = processes.measure(
        served_models.write_fresh, os.path.join(work, "exports"), _students(),
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


if __name__ == "__main__":
  command_line.run(main)
