"""Writes the report of a chain of runs: `python -m kdwsd.report WORKDIR`.

WORKDIR is the work directory of `python -m kdwsd.train --stage=all`. Prints a
table of the three models and writes a self-contained HTML file.
"""

from absl import flags

from kdwsd import command_line
from kdwsd import devices
from kdwsd import errors

_SPLIT = flags.DEFINE_string(
    "split", None, "Evaluated split to report. Default: the runs' "
    "--test_split, or else their --eval_split.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "HTML file to write. Default: report.html in WORKDIR.")


def main(argv):
  """Writes the report of the work directory named."""
  if len(argv) != 2:
    raise errors.InputError(
        "expected the work directory of a chain of runs: python -m "
        f"kdwsd.report WORKDIR. Received: {' '.join(argv[1:]) or 'none'}.")
  devices.hide_gpus()
  from kdwsd.training import chain_report  # pylint: disable=import-outside-toplevel
  path, table, _ = chain_report.write(
      argv[1], split=_SPLIT.value, output=_OUTPUT.value)
  print(table)
  print(f"Report: {path}")


main.takes_arguments = True

if __name__ == "__main__":
  command_line.run(main)
