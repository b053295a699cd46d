r"""Compares two lanes: python -m benchmarks.lanes --other=PYTHON.

PYTHON is that of an environment of the other lane, such as
.venv-modern/bin/python. The first part trains all stages with the same settings
in both lanes and compares losses step by step, and weights. The second part
measures times of both lanes in turns. With `--flags` the first part trains
other models:

    python -m benchmarks.lanes --other=.venv-modern/bin/python --pairs=0 \
      --flags=--backbone=mobilenet_v2 --flags=--optimizer=sgd
"""

import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile

from absl import flags
from absl import logging

from kdwsd import command_line
from kdwsd import errors

flags.DEFINE_string("other", None, "Python of the other lane.", required=True)
flags.DEFINE_integer("steps", 50, "Steps of each stage; 0 for none.",
                     lower_bound=0)
flags.DEFINE_integer("pairs", 5, "Measurements of each lane; 0 for none.",
                     lower_bound=0)
flags.DEFINE_multi_string(
    "flags", [], "Flag of kdwsd.train that both lanes add to the demo's.")
flags.DEFINE_string("keep", None, "Folder to keep the runs in. Default: none.")

FLAGS = flags.FLAGS

_ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
_STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")


def main(_):
  """Trains, measures, and prints two tables."""
  pythons = {"this": sys.executable, "other": os.path.abspath(FLAGS.other)}
  with tempfile.TemporaryDirectory(prefix="kdwsd-lanes-") as work:
    work = FLAGS.keep or work
    for lane, python in pythons.items():
      versions = _run(python, "-c", _VERSIONS).strip()
      print(f"{lane}: {versions}", flush=True)
    # pylint: disable=import-outside-toplevel
    from kdwsd import demo
    # pylint: enable=import-outside-toplevel
    records = demo.make_data(work, num_scenes=192)
    if FLAGS.steps:
      print(_compare_numbers(pythons, records, work), flush=True)
    if FLAGS.pairs:
      print(_compare_times(pythons, records))


_VERSIONS = """
import platform, cv2, numpy, kdwsd, tensorflow as tf
print(f"Python {platform.python_version()}, TensorFlow {tf.__version__}, "
      f"NumPy {numpy.__version__}, OpenCV {cv2.__version__}")
"""


def _run(python, *arguments):
  """Output of a command in a lane."""
  done = subprocess.run(
      [python, *arguments], check=False, text=True, capture_output=True,
      env=_environment())
  if done.returncode:
    raise errors.InputError(
        f"{python}: expected an environment in which the benchmarks run. "
        f"Received: {done.stderr.strip()[-2000:] or 'no message'}")
  return done.stdout


def _environment():
  return {**os.environ, "PYTHONPATH": _ROOT, "TF_CPP_MIN_LOG_LEVEL": "3",
          "MPLBACKEND": "Agg"}


def _compare_numbers(pythons, records, work):
  """Trains in both lanes; returns a table of how far apart they are."""
  from kdwsd import demo  # pylint: disable=import-outside-toplevel
  for lane, python in pythons.items():
    for stage in _STAGES:
      logging.info("Training %s in %s lane.", stage, lane)
      values = {
          **demo.SETTINGS[stage], "data": records, "stage": stage,
          "train_steps": FLAGS.steps, "checkpoint_interval": FLAGS.steps,
          "steps_per_loop": 1, "keep_checkpoints": 2, "eval_interval": 0,
          "warmup_steps": min(10, FLAGS.steps - 1), "eval_split": "",
          "test_split": None}
      # The students of both lanes have the same teacher and start, so that
      # each stage is compared alone.
      if stage.startswith("kd"):
        values["teacher"] = os.path.join(work, "this", "wsd")
      if stage == "kd_prediction":
        values["feature_student"] = os.path.join(work, "this", "kd_feature")
      _run(python, "-m", "kdwsd.train",
           f"--workdir={os.path.join(work, lane, stage)}",
           *(f"--{name}={_text(value)}" for name, value in values.items()),
           *FLAGS.flags)
  rows = [["stage", "initial weights", "first different loss",
           f"loss, {FLAGS.steps} steps", "weights"]]
  for stage in _STAGES:
    rows.append([stage, *_differences(*(
        os.path.join(work, lane, stage) for lane in pythons))])
  return _table(rows, "Relative differences; of losses the first and the "
                "largest, of weights the norm:")


def _differences(one, two):
  """Cells of a stage: how far apart two runs are."""
  # pylint: disable=import-outside-toplevel
  import numpy as np
  import tensorflow as tf

  from kdwsd.training import run_folder
  # pylint: enable=import-outside-toplevel

  def weights(folder, step):
    reader = tf.train.load_checkpoint(os.path.join(
        run_folder.RunFolder(folder).checkpoints, f"ckpt-{step}"))
    return {name: np.float64(reader.get_tensor(name))
            for name in reader.get_variable_to_shape_map()
            if name.startswith("model/")}

  def distance(step):
    mine, others = weights(one, step), weights(two, step)
    if mine.keys() != others.keys():
      raise errors.InputError(
          f"{two}: expected the variables of {one}. Received: others.")
    mine, others = (
        np.concatenate([values[name].ravel() for name in sorted(values)])
        for values in (mine, others))
    return np.linalg.norm(others - mine) / np.linalg.norm(mine)

  losses = [np.array([entry["loss"] for entry in run_folder.RunFolder(
      folder).read_history() if "loss" in entry]) for folder in (one, two)]
  apart = np.abs(losses[1] - losses[0]) / np.abs(losses[0])
  first = next((f"step {step} ({value:.0e})"
                for step, value in enumerate(apart, 1) if value), "none")
  start = distance(0)
  return ["equal" if not start else f"{start:.0e}", first,
          f"{apart.max():.0e}", f"{distance(FLAGS.steps):.0e}"]


def _compare_times(pythons, records):
  """Measures both lanes in turns; returns a table of ratios."""
  with contextlib.ExitStack() as stack:
    asked = {lane: stack.enter_context(_answering(python, records))
             for lane, python in pythons.items()}
    parts = [ask() for ask in asked.values()][0]
    pairs = {part: [] for part in parts}
    for number in range(FLAGS.pairs):
      logging.info("Pair %d of %d.", number + 1, FLAGS.pairs)
      for part in parts:
        order = list(asked)[::-1 if number % 2 else 1]
        taken = {lane: asked[lane](part) for lane in order}
        pairs[part].append((taken["this"], taken["other"]))
  rows = [["part", "CPU ms, this", "CPU ms, other", "CPU, other / this",
           "time, other / this"]]
  for part, measured in pairs.items():
    rows.append([part, *(
        f"{1000 * statistics.median(pair[place][1] for pair in measured):.1f}"
        for place in (0, 1)), *(
            _spread([other[kind] / mine[kind] for mine, other in measured])
            for kind in (1, 0))])
  return _table(rows, f"{FLAGS.pairs} pairs in turns, median (range); load "
                f"{os.getloadavg()[0]:.1f}:")


@contextlib.contextmanager
def _answering(python, records):
  """Yields a function of a part that measures it in a lane."""
  with subprocess.Popen(
      [python, "-m", "benchmarks.lane_rates", records], text=True,
      stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
      env=_environment()) as process:

    def ask(part=None):
      if part is not None:
        process.stdin.write(part + "\n")
        process.stdin.flush()
      line = process.stdout.readline()
      if not line:
        raise errors.InputError(
            f"{python}: expected an environment in which the benchmarks run. "
            "Received: python -m benchmarks.lane_rates ended early.")
      return json.loads(line)

    try:
      yield ask
    finally:
      process.stdin.close()


def _spread(values):
  return (f"{statistics.median(values):.2f} "
          f"({min(values):.2f} to {max(values):.2f})")


def _table(rows, caption):
  lines = ["| " + " | ".join(row) + " |" for row in rows]
  return "\n".join(
      ["", caption, "", lines[0], "|---" * len(rows[0]) + "|", *lines[1:]])


def _text(value):
  return ",".join(map(str, value)) if isinstance(value, tuple) else value


if __name__ == "__main__":
  command_line.run(main)
