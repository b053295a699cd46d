"""Rows of the parts that run a model: training steps, caches, evaluation.

Each is measured in a process of its own, which alone uses the GPU.
"""

import dataclasses
import os

from absl import logging

from benchmarks import compute as compute_lib
from benchmarks import processes
from benchmarks import rows as rows_lib


@dataclasses.dataclass(frozen=True)
class Model:
  """Sizes of a teacher and of its input, as the flags of these names."""
  size: int
  num_proposals: int
  fc_units: int
  backbone: str

  def label(self):
    """The sizes in words."""
    return (f"{self.backbone}, {self.size} pixels, {self.num_proposals} "
            f"proposals, fc {self.fc_units}")


def step(compute, model, batch_size, steps):
  """The row of a teacher's training step, on one batch."""
  return _steps(
      f"step of T-WDet, {model.label()}, batch {batch_size}{compute.label()}",
      batch_size, "train_teacher", compute, batch_size, steps,
      **dataclasses.asdict(model))


def training(compute, model, batch_size, steps, cache, resize_on_device,
             num_images, work):
  """The row of a teacher's training, from the input pipeline on."""
  directory = os.path.join(work, "training")
  _draw(directory, "train", num_images, model.num_proposals)
  return _steps(
      f"training of T-WDet with input pipeline, cache {cache}, "
      f"{'resized on the device, ' if resize_on_device else ''}"
      f"{model.label()}, batch {batch_size}{compute.label()}",
      batch_size, "train_teacher", compute, batch_size, steps,
      records=(directory, "train"), cache=cache,
      resize_on_device=resize_on_device, **dataclasses.asdict(model))


def cached(compute, name, student, batch_size, steps):
  """The row of a student's step in stage 2 from the teacher's cache."""
  return _steps(
      f"stage 2, student {name} at {student['image_size']}, teacher cached, "
      f"batch {batch_size}{compute.label()}",
      batch_size, "train_cached_student", compute, batch_size, steps, student)


def distillation(compute, model, name, student, batch_size, steps):
  """Rows of a student's stage 2, teacher online and cached in turns."""
  (online, cached_, device, gpu_mib), mib = processes.measure(
      "benchmarks.step_rates:train_student", compute, model.size,
      model.num_proposals, model.fc_units, batch_size, steps, student)
  return [
      _row(f"stage 2, student {name} at {student['image_size']}, teacher "
           f"{kind}{compute.label()}",
           batch_size / seconds, mib, remark, device, gpu_mib)
      for kind, seconds, remark in (
          ("online", online, f"{model.size} pixels, {model.num_proposals} "
           f"proposals, fc {model.fc_units}"),
          ("cached", cached_, f"{online / cached_:.1f} times"))]


def evaluation(compute, model, batch_size, frozen_stages, num_images, work):
  """Rows of a teacher's inference, evaluation, cache and kept maps."""
  directory = os.path.join(work, "evaluation")
  for split, count in (("short", max(1, num_images // 4)),
                       ("long", num_images)):
    _draw(directory, split, count, model.num_proposals)
  rates, mib = processes.measure(
      "benchmarks.evaluation_rates:measure", compute, directory,
      ("short", "long"), batch_size=batch_size, frozen_stages=frozen_stages,
      **dataclasses.asdict(model))

  def row(what, rate, of, whole):
    return _row(f"{what}{compute.label()}", rate, mib,
                f"{rate / whole:.0%} of {of}" if whole else "", rates.device,
                rates.gpu_mib)

  alone = f"inference of T-WDet, {model.label()}, batch {rates.batch_size}"
  frozen = f"its first {frozen_stages} stages"
  return [
      row(alone, rates.inference, "", 0),
      row("evaluation, NMS of all boxes of 20 classes", rates.evaluation,
          "inference", rates.inference),
      row("teacher cache, views", rates.teacher_cache, "inference",
          rates.inference),
      row(frozen, rates.frozen, "", 0),
      row("kept maps, views", rates.frozen_maps, frozen, rates.frozen)]


def inference(compute, name, student, batch_size):
  """The row of a student's inference."""
  (device, rate, gpu_mib), mib = processes.measure(
      "benchmarks.evaluation_rates:infer_student", compute, batch_size, student)
  return _row(
      f"inference, student {name} at {student['image_size']}, "
      f"batch {batch_size}{compute.label()}", rate, mib, "", device, gpu_mib)


def student(text, fc_units, image_size):
  """Changes to `student.StudentConfig` of a student named NAME[:WIDTH]."""
  changes = compute_lib.backbone(text)
  # The compact networks have one classifier on the mean over their map.
  return {**changes, "image_size": image_size,
          "fc_units": fc_units if changes["backbone"] == "vgg16" else 0}


def _steps(what, batch_size, function, *arguments, **named):
  steps, mib = processes.measure(
      f"benchmarks.step_rates:{function}", *arguments, **named)
  return _row(what, batch_size / steps.seconds, mib, steps.remark(),
              steps.device, steps.gpu_mib)


def _row(what, rate, mib, remark, device, gpu_mib):
  row = rows_lib.Row(what, rate, processes.num_cores(), mib, remark, device,
                     gpu_mib)
  logging.info("%s", row)
  return row


def _draw(directory, split, num_images, num_proposals):
  """Writes records; in another process, as this one must not use the GPU."""
  os.makedirs(directory, exist_ok=True)
  processes.measure("benchmarks.drawn_records:write", directory, split,
                    num_images, num_proposals)
