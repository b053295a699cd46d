"""What wide label sets cost: time, memory and disk against the classes.

    python -m benchmarks.many_classes --classes=20,80,1203,9600

COCO has 80 classes, LVIS 1,203, Open Images 9,600 in its machine-generated
labels. Everything else is small or simulated, so that what grows is seen: a
teacher with a small backbone, 64 pixels and fc 256, 500 proposals, batch 1.
"""

import os

from absl import flags
from absl import logging

from benchmarks import class_costs
from benchmarks import processes
from benchmarks import rows as rows_lib
from kdwsd import command_line
from kdwsd import files

flags.DEFINE_list("classes", ["20", "80", "1203", "9600"], "Numbers of "
                  "classes.")
flags.DEFINE_string("output", "runs/many_classes.json", "JSON file to write.")

FLAGS = flags.FLAGS


def main(_):
  """Measures, prints a table, writes JSON."""
  os.environ.setdefault("PYTHONWARNINGS", "ignore::FutureWarning")
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
  rows = []
  for count in map(int, FLAGS.classes):
    row = {"classes": count}
    for heading, function, arguments, _ in class_costs.COLUMNS:
      value, peak = processes.measure(
          f"benchmarks.class_costs:{function}", count, *arguments)
      row[heading] = {"value": value, "peak_mib": peak}
      logging.info("%d classes, %s: %s, %.0f MiB", count, heading, value, peak)
    rows.append(row)
  files.write_json(FLAGS.output, {"machine": rows_lib.machine(), "rows": rows})
  print(f"{rows_lib.machine()}\n\n{class_costs.table(rows)}\n"
        f"Written: {FLAGS.output}")


if __name__ == "__main__":
  command_line.run(main)
