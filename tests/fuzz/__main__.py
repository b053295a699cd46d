"""Bad input by the thousand: `python -m tests.fuzz --inputs=100000 --seed=0`.

Every parser of user input gets its share, in a process of its own. What fails
is kept in --failures with a command that tries it again. Ends with one line of
counts; status 1 if anything failed.
"""

import argparse
import os
import sys
import tempfile
import time

from tests.fuzz import cases
from tests.fuzz import judging
from tests.fuzz import supervisor
from tests.fuzz import worker

# Parts of --inputs. Text is cheap; what makes graphs of TensorFlow is not.
SHARES = {
    "datalist": 20, "csv_labels": 30, "voc": 30, "coco": 30, "yolo": 18,
    "openimages": 12, "nuswide": 10,
    "class_lists": 12, "proposals_npz": 12, "proposals_mat": 10,
    "proposals_pkl": 16, "images": 12,
    "flagfiles": 4, "run_files": 10, "reports": 2, "cards": 6, "records": 1,
    "json_bodies": 8, "served_images": 2,
}


def main():
  """Runs what the command line names; returns the exit status."""
  parser = argparse.ArgumentParser(
      prog="python -m tests.fuzz", description=__doc__,
      formatter_class=argparse.RawDescriptionHelpFormatter)
  parser.add_argument("--inputs", type=int, default=100_000,
                      help="how many in all; default %(default)s")
  parser.add_argument("--seed", type=int, default=0)
  parser.add_argument("--targets", default=",".join(SHARES),
                      help="separated by commas; default: %(default)s")
  parser.add_argument("--failures", default="runs/fuzz",
                      help="folder for what fails; default %(default)s")
  parser.add_argument("--replay", metavar="FOLDER",
                      help="try the case in a folder, and nothing else")
  options = parser.parse_args()
  targets = options.targets.split(",")
  if options.replay:
    return _replay(targets[0], options.replay)
  shares = share_out(options.inputs, targets)
  started = said = time.monotonic()
  all_counts, all_found = {}, []

  def on_progress(name, counts):
    nonlocal said
    every = 1 if sys.stderr.isatty() else 30
    if time.monotonic() - said >= every:
      said = time.monotonic()
      done = sum(c.tried for c in all_counts.values())
      print(supervisor.progress_line(
          started, done, options.inputs, name, counts), file=sys.stderr,
            end="\r" if sys.stderr.isatty() else "\n", flush=True)

  runner = supervisor.Supervisor(
      os.path.abspath(options.failures), options.seed, on_progress)
  for name in targets:
    all_counts[name], found = runner.run(name, shares[name])
    all_found += found
    print(_line(name, all_counts[name], len(found)), flush=True)
    for one in found:
      print(f"  {one.signature}\n    {one.folder}", flush=True)
  print(summary(all_counts, all_found, options.seed,
                time.monotonic() - started))
  return 1 if all_found else 0


def share_out(num_inputs, targets):
  """Inputs of each target: {name: count}, `num_inputs` in all."""
  shares = [SHARES.get(name, 1) for name in targets]
  counts = [num_inputs * share // sum(shares) for share in shares]
  counts[0] += num_inputs - sum(counts)
  return dict(zip(targets, counts))


def summary(counts, found, seed, seconds):
  """The line to paste."""
  sums = {field: sum(getattr(one, field) for one in counts.values())
          for field in ("tried", "accepted", "refused", "failed")}
  by_target = ", ".join(f"{name} {one.tried}" for name, one in counts.items())
  return (f"fuzz: {sums['tried']} inputs (seed {seed}, {seconds:.0f} s): "
          f"{sums['accepted']} accepted, {sums['refused']} refused, "
          f"{sums['failed']} failed in {len(found)} ways; {by_target}")


def _line(name, counts, ways):
  return (f"{name:<14} {counts.tried:>6} tried {counts.accepted:>6} accepted "
          f"{counts.refused:>6} refused {counts.failed:>5} failed in {ways} "
          f"ways, slowest {counts.slowest:.2f} s of CPU")


def _replay(name, folder):
  with tempfile.TemporaryDirectory() as copy:
    verdict = judging.judge(
        worker.load(name), cases.read(folder), os.path.join(copy, "case"))
  print(f"{name}: {verdict.outcome} {verdict.signature}\n{verdict.details}")
  return int(verdict.outcome == judging.FAILED)


if __name__ == "__main__":
  sys.exit(main())
