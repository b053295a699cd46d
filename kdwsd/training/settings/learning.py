"""Settings of distillation and optimization."""

import dataclasses
from typing import Optional

from kdwsd.training.settings import setting


@dataclasses.dataclass(frozen=True)
class Distillation:
  """Distillation"""
  teacher: str = setting.declare(
      "", "Work directory of the teacher, a finished run of stage wsd on data "
      "with the same classes. With --stage=all: use it and skip stage wsd.",
      stages=setting.DISTILLATION)
  teacher_checkpoint: str = setting.declare(
      "best", "Checkpoint of the teacher: best, last, or a path.",
      stages=setting.DISTILLATION)
  teacher_dropout: bool = setting.declare(
      False, "Let the teacher drop units while it teaches, as that of the "
      "release does. Its outputs then cannot be cached.",
      stages=setting.DISTILLATION, caffe=True)
  teacher_cache: str = setting.declare(
      "auto", "Compute the teacher's outputs once for each image, upright and "
      "mirrored, and keep them beside the records. auto: only in "
      "kd_prediction. on in kd_feature needs --top_k_rois, because features "
      "of all regions take too much space.", stages=setting.DISTILLATION,
      choices=("auto", "on", "off"), caffe="off")
  teacher_sizes: tuple[int, ...] = setting.declare(
      (), "Sides in pixels, such as 480,576,672: the teacher's image scores "
      "are their mean over images of these sides, upright and mirrored, and "
      "cached. Default: those of --eval_size, of the image as it is shown.",
      stages=setting.STAGE_2, lower=32, lengths=(0, 100), older=())
  fold_teachers: tuple[str, ...] = setting.declare(
      (), "Work directories of teachers trained with --folds, in the order of "
      "the fold that they left out. The student learns, for each image, from "
      "the teacher that has not seen it. Needs cached outputs.",
      stages=setting.DISTILLATION, lengths=(0, 100), older=())
  feature_layers: tuple[str, ...] = setting.declare(
      ("fc7",), "Layers whose features of regions the student learns from the "
      "teacher: some of fc7, fc6, pool. Use pool for a student without fc6 and "
      "fc7. Default: the release's.", stages=setting.STAGE_1,
      choices=("fc7", "fc6", "pool"), lengths=(1, 3),
      fixed=setting.OPTIMIZER, caffe=("fc7",))
  feature_adapter: str = setting.declare(
      "none", "linear: learn a linear map from the student's features to the "
      "teacher's. Needed where their widths differ.", stages=setting.STAGE_1,
      choices=("none", "linear"), fixed=setting.OPTIMIZER)
  roi_weight: str = setting.declare(
      "uniform", "Weight of a region in the loss: uniform, or teacher, in "
      "proportion to the score that the teacher gives it for its best class. "
      "Default: the release's.", stages=setting.STAGE_1,
      choices=("uniform", "teacher"), caffe="uniform")
  student_factor: str = setting.declare(
      "teacher", "What the student's pooled features of a region are "
      "multiplied by: teacher, the same factor as the teacher's, see "
      "--score_scale; image, --feature_scale, as for a whole image. Default: "
      "the release's.", stages=setting.STAGE_1, choices=("teacher", "image"),
      caffe="teacher", older="teacher")
  top_k_rois: int = setting.declare(
      0, "Learn only from this many regions of each image, those that the "
      "teacher scores highest; 0 for all. Default: the release's.",
      stages=setting.STAGE_1, lower=0, caffe=0)
  feature_student: str = setting.declare(
      "", "Work directory of the finished run of stage kd_feature whose "
      "student to start from; empty to start from --backbone_weights.",
      stages=setting.STAGE_2)
  teacher_temperature: float = setting.declare(
      0.5, "Divides the teacher's logits, above 0. Less than 1 makes its "
      "scores more certain. Default: the release's.", stages=setting.STAGE_2,
      caffe=0.5)
  student_temperature: float = setting.declare(
      5.0, "Initial value, above 0, of the temperatures, one for each class, "
      "that divide the student's logits in the loss on the teacher's scores; "
      "they are learned. Default: the release's.", stages=setting.STAGE_2,
      caffe=5.0)
  hard_weight: float = setting.declare(
      1.0, "Weight of the loss on labels. Default: the release's.",
      stages=setting.STAGE_2, lower=0, caffe=1.0)
  soft_weight: float = setting.declare(
      1.0, "Weight of the loss on the teacher's scores. Default: the "
      "release's.", stages=setting.STAGE_2, lower=0, caffe=1.0)


@dataclasses.dataclass(frozen=True)
class Optimisation:
  """Optimisation"""
  global_batch_size: int = setting.declare(
      32, "Images per step, summed over all devices and machines. Lower it, "
      "and the learning rate with it, to save memory. Default: the release's; "
      "it has 28 in kd_prediction.", lower=1)
  optimizer: str = setting.declare(
      "sgd", "sgd is Caffe's, with its learning-rate multipliers: 2 for "
      "biases, 10 for the last classifiers. adam has L2 decay in the "
      "gradient, adamw decoupled decay. Default: the release's.",
      choices=("sgd", "adam", "adamw"), fixed=setting.OPTIMIZER, caffe="sgd")
  learning_rate: float = setting.declare(
      5e-5, "Learning rate before multipliers and schedule. Lower it if the "
      "loss is not finite. Default: the release's, for sgd.")
  rate_batch: int = setting.declare(
      0, "Batch size for which --learning_rate is meant: the learning rate is "
      "multiplied by --global_batch_size / --rate_batch. 0: not multiplied.",
      lower=0, older=0)
  backbone_rate: float = setting.declare(
      1.0, "Multiplies the learning rate of the backbone. Below 1 preserves "
      "pretrained weights.", lower=0)
  classifier_rate: float = setting.declare(
      1.0, "Multiplies the learning rate of the last classifiers (fc8_c, "
      "fc8_d and refinement branches of the teacher, fc8 of the student), on "
      "top of the 10 of sgd.",
      stages=setting.LABELLED, lower=0)
  momentum: float = setting.declare(
      0.9, "Momentum of sgd, beta 1 of adam and adamw; at least 0 and below "
      "1. Default: what users of the release report.")
  weight_decay: float = setting.declare(
      5e-4, "Weight decay, 0 or more. Default: what users of the release "
      "report.")
  ema_decay: float = setting.declare(
      0.0, "Decay per step of an exponential moving average of the weights, "
      "such as 0.999; validation and the best checkpoint then use the "
      "averages. 0 for no averages.", lower=0, upper=1,
      fixed=setting.OPTIMIZER)
  schedule: str = setting.declare(
      "constant", "How the learning rate falls: constant, not at all; step, at "
      "--schedule_boundaries; cosine, to 0 at --train_steps; plateau, when "
      "--best_figure stalls, which users of the release did by hand.",
      choices=("constant", "step", "cosine", "plateau"),
      fixed=setting.OPTIMIZER)
  warmup_steps: int = setting.declare(
      0, "Steps at the start over which the learning rate rises linearly to "
      "its full value. Use some with adam or large batches.", lower=0)
  schedule_boundaries: tuple[int, ...] = setting.declare(
      (), "--schedule=step: steps from which the learning rate is multiplied "
      "by --schedule_factor, in rising order.", lower=1)
  schedule_factor: float = setting.declare(
      0.1, "--schedule=step and plateau: what the learning rate is multiplied "
      "by each time.")
  plateau_patience: int = setting.declare(
      3, "--schedule=plateau: validations without a better --best_figure after "
      "which the learning rate falls.", stages=setting.LABELLED, lower=1)
  clip_norm: Optional[float] = setting.declare(
      0.0, "Gradients whose norm over all variables exceeds this are scaled "
      "down to it; 0 for no limit. Try 35 if the loss is not finite.", lower=0)
