"""The programs that are killed, as users start them, and what they run on.

Procedural scenes go through the converter; a teacher and its students learn
from them, tiny but with all that a run can have: two ways to train them, so
that every cache, schedule and average is met; and a student is exported. Each
program runs in a folder of its own that holds copies of what it needs.
"""

import dataclasses
import os
import shutil
import sys

from kdwsd.data import scenes
from tests.soak import moments

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(
    os.path.abspath(__file__))))

STAGES = ("wsd", "cls", "kd_feature", "kd_prediction")

TRAIN_STEPS = 8

_TRAINING = {
    "stage": "all", "data": "records", "workdir": "run",
    "backbone": "small", "backbone_weights": "none", "fc_units": 16,
    "eval_size": 48, "student_size": 56, "num_proposals": 8,
    "global_batch_size": 4, "train_steps": TRAIN_STEPS, "steps_per_loop": 2,
    "checkpoint_interval": 2, "eval_interval": 4,
    "learning_rate": 1e-3, "top_k_rois": 4,
}

_CONVERSION = {
    "format": "voc", "input": "VOCdevkit", "output": "records",
    "max_proposals": 16, "min_side": 8, "workers": 2,
}


@dataclasses.dataclass(frozen=True)
class Program:
  """A command and what it works on.

  Attributes:
    name: what people call it.
    module: that is run.
    flags: {name: value}.
    needs: folders that lie beside it, relative.
    aims: `moments.Aim`s of what it does.
    stages: whether it trains them, so that a kill has hit one.
    most_kills: in one life, before it may end in peace.
  """
  name: str
  module: str
  flags: dict
  needs: tuple
  aims: tuple
  stages: bool = False
  most_kills: int = 2

  def aim(self, name):
    """The aim of that name."""
    (found,) = (aim for aim in self.aims if aim.name == name)
    return found

  def command(self):
    """The command line."""
    return [sys.executable, "-m", self.module,
            *(f"--{name}={value}" for name, value in self.flags.items())]

  def lay_out(self, folder, source):
    """Makes its folder, with copies of what it needs.

    Args:
      folder: to make.
      source: that holds all of `needs`.
    """
    os.makedirs(os.path.join(folder, "tmp"))
    for name in self.needs:
      shutil.copytree(os.path.join(source, name), os.path.join(folder, name),
                      symlinks=True)

  def environment(self, folder):
    """Environment: this checkout's package, temporary files to be seen."""
    paths = [ROOT, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths),
            "TMPDIR": os.path.join(folder, "tmp")}


def draw_scenes(folder, num_train=24, num_test=6, side=96):
  """Writes `VOCdevkit` into a folder."""
  scenes.write(folder, num_train=num_train, num_test=num_test, image_side=side)


def conversion(split="trainval", name="records"):
  """`kdwsd.make_records` on the scenes."""
  return Program(
      name, "kdwsd.make_records",
      {**_CONVERSION, "image_set": split, "split": split,
       "num_shards": 6 if split == "trainval" else 1},
      needs=("VOCdevkit",),
      aims=(
          moments.Aim("a shard", "records", r"\.partial-.*\.tfrecord"),
          moments.Aim("the counts of a shard", f"records/.{split}.progress",
                      r"(\.partial-[^-]*-)?shard-\d+\.json"),
          moments.Aim("the card", "records", rf"\.partial-[^-]*-{split}\.json"),
      ))


def training(name="train", needs=("records",), **flags):
  """`kdwsd.train` on the records, all stages if not said otherwise."""
  flags = {**_TRAINING, **flags}
  aims = [moments.Aim("the report", "run",
                      r"\.partial-.*(comparison\.json|report\.html)")]
  for stage in STAGES:
    aims += [
        # The folder it is written in is there for milliseconds; if it is not
        # seen, what it becomes is.
        moments.Aim(f"a checkpoint of {stage}", f"run/{stage}/checkpoints",
                    r"ckpt-[1-9].*", stage=stage),
        moments.Aim(f"summaries of {stage}", f"run/{stage}/summaries",
                    r".*tfevents.*", stage=stage),
    ]
    if flags.get("cache") == "disk":
      aims.append(moments.Aim(f"the disk cache of {stage}",
                              f"run/{stage}/cache", ".*", stage=stage))
    if stage != "kd_feature":
      aims += [
          moments.Aim(f"a validation of {stage}", f"run/{stage}",
                      r"history\.jsonl", '{"step": 4, "loss"', delay=0.1,
                      stage=stage),
          moments.Aim(f"the best checkpoint of {stage}", f"run/{stage}/best",
                      r"ckpt-.*", stage=stage),
          moments.Aim(f"the figures of {stage}", f"run/{stage}/evaluation",
                      r".*\.partial-.*", stage=stage),
      ]
  caches = {"frozen_maps": ("wsd", "cls") if flags.get("frozen_cache") else (),
            "roi_features": ("kd_feature",) if flags.get(
                "teacher_cache") == "on" else (),
            "image_scores": ("kd_prediction",) if flags.get(
                "teacher_cache") != "off" else ()}
  for kind, stages in caches.items():
    aims += [moments.Aim(f"the {kind.replace('_', ' ')} of {stage}", "records",
                         rf".*-{kind}-.*/\.partial-.*-shard-.*", stage=stage)
             for stage in stages]
  return Program(name, "kdwsd.train", flags, needs=needs, aims=tuple(aims),
                 stages=flags["stage"] == "all", most_kills=5)


def kept_apart():
  """A chain that keeps on disk both images and the teacher's answers."""
  return training(
      "train", train_sizes="32,48", cache="disk", teacher_cache="on",
      optimizer="adam", cutout_size=8)


def kept_in_front():
  """A chain behind kept maps, with averaged weights and a plateau's memory."""
  return training(
      "train behind kept maps", train_sizes="48", cache="memory",
      frozen_stages=1, frozen_cache="true", schedule="plateau",
      plateau_patience=1, ema_decay=0.9)


def export():
  """`kdwsd.export` of the student that a chain has trained."""
  return Program(
      "export", "kdwsd.export",
      {"workdir": "run/kd_prediction", "output": "models/student",
       "warmup": "1"},
      needs=("records", "run"),
      aims=(
          moments.Aim("the variables", "models/student",
                      r"\.partial-[^/]*/variables/.*"),
          moments.Aim("the graph", "models/student",
                      r"\.partial-[^/]*/saved_model\.pb"),
          moments.Aim("the check in C++", "..", r"output\.txt",
                      "Comparing with the model", delay=0.5),
          moments.Aim("the metadata", "models/student",
                      r"\.partial-[^/]*/\.partial-[^/]*export\.json"),
      ))
