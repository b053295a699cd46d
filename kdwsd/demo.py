"""The demo: procedural scenes, and settings that suit them.

`python -m kdwsd.train` uses it without --data. The scenes go through the same
converter as any data set, with EdgeBoxes proposals.
"""

import os

from absl import logging

from kdwsd import errors

WORKDIR = "runs/demo"

# Sized for 20 minutes on two CPU cores. A unit of fc6 has thousands of inputs
# and one of the untrained backbone hundreds, so that a step of Adam changes the
# output of fc6 more: hence the two learning rates.
_COMMON = {
    "backbone": "small",
    "backbone_weights": "none",
    "dropout_rate": 0.2,
    "score_scale": 10.0,
    "score_bias": 1.0,
    "detection_temperature": 2.0,
    "eval_size": 144,
    "num_proposals": 64,
    "cache": "memory",
    "global_batch_size": 8,
    "optimizer": "adam",
    "weight_decay": 1e-4,
    "schedule": "cosine",
    "warmup_steps": 100,
    "steps_per_loop": 25,
    "checkpoint_interval": 250,
    "eval_interval": 500,
}

# The checkpoint is chosen on other scenes than those of the results.
_MEASURED = {"eval_split": "validation", "test_split": "test"}

# A smaller input side, and no fully connected layer but the classifier.
_STUDENT = {
    **_COMMON,
    "fc_units": 0,
    "student_size": 96,
    "learning_rate": 1e-3,
    "train_steps": 1000,
}

SETTINGS = {
    "wsd": {
        **_COMMON,
        **_MEASURED,
        "fc_units": 128,
        "train_sizes": (128, 144, 160),
        "learning_rate": 1.5e-4,
        "backbone_rate": 6.0,
        "train_steps": 2000,
    },
    # As many steps as the two stages of distillation together.
    "cls": {**_STUDENT, **_MEASURED, "train_steps": 2000},
    "kd_feature": {
        **_STUDENT,
        "feature_adapter": "linear",
        "top_k_rois": 16,
        "teacher_cache": "on",
    },
    "kd_prediction": {**_STUDENT, **_MEASURED},
}

_MAX_PROPOSALS = _COMMON["num_proposals"]


def make_data(workdir, *, num_scenes=1200, seed=0):
  """Draws and converts the scenes, unless they exist.

  Args:
    workdir: receives `scenes/`, a VOCdevkit tree, and `records/`.
    num_scenes: images of all splits: a sixth each of `validation` and of
      `test`, the others of `trainval`.
    seed: seed of the scenes.

  Returns:
    The directory of records.

  Raises:
    errors.InputError: `workdir` has other scenes.
  """
  # pylint: disable=import-outside-toplevel
  from kdwsd.data import conversion
  from kdwsd.data import proposals
  from kdwsd.data import record_files
  from kdwsd.data import scenes
  from kdwsd.data import sources
  from kdwsd.data.sources import voc
  # pylint: enable=import-outside-toplevel
  logging.info("No --data is given: training on procedural scenes.")
  output = os.path.join(workdir, "records")
  if not os.path.exists(record_files.card_path(output, "test")):
    proposals.check_opencv()  # Before minutes of drawing.
  folder = os.path.join(workdir, "scenes")
  _check_written(folder, scenes.written(folder), num_scenes, seed)
  sixth = num_scenes // 6
  root = scenes.write(
      folder, num_train=num_scenes - 2 * sixth, num_test=sixth,
      num_validation=sixth, seed=seed)
  for split in ("trainval", "validation", "test"):
    problems = sources.Problems()
    conversion.convert(
        voc.read(root, image_set=split, problems=problems), output=output,
        split=split, problems=problems, num_workers=os.cpu_count() or 1,
        proposal_settings=proposals.Settings(
            max_proposals=_MAX_PROPOSALS, min_side_pixels=12))
  return output


def _check_written(folder, before, number, seed):
  """Checks that scenes of an earlier run, if any, are those of this one."""
  if before is None:
    return
  had = sum(number for name, number in before.items()
            if name.startswith("num_")), before["seed"]
  if had != (number, seed):
    raise errors.InputError(
        f"--scenes and --seed: expected those with which {folder} was drawn, "
        f"{had[0]} and {had[1]}, or another --workdir. Received: {number} and "
        f"{seed}.")
