"""Settings of the run: command, stage, data, length, devices."""

import dataclasses
from typing import Optional

from kdwsd import devices
from kdwsd.training.settings import setting


@dataclasses.dataclass(frozen=True)
class Command:
  """The command"""
  workdir: Optional[str] = setting.declare(
      None, "Folder for everything a run writes: config, checkpoints, log, "
      "metrics. Give the same folder again to resume a stopped run. Without "
      "--data the default is runs/demo.")
  scenes: int = setting.declare(
      1200, "Without --data: number of scenes to draw, a sixth of them for the "
      "validation split and another for the test split.", lower=12)
  recipe: Optional[str] = setting.declare(
      None, "For --stage=all: folder with one flagfile per stage, wsd.flags, "
      "cls.flags, kd_feature.flags and kd_prediction.flags. A flag on the "
      "command line applies to all stages and overrides the flagfiles.")
  seeds: tuple[int, ...] = setting.declare(
      (), "For --stage=all: seeds, such as 0,1,2, with each of which the "
      "students are trained, to see how sure their gain is. The first is also "
      "that of the teacher, which they share. Default: --seed alone.",
      lengths=(0, 100))
  teacher_folds: int = setting.declare(
      0, "For --stage=all: trains as many more teachers, each without one of "
      "the folds of the training images, and lets the students learn from the "
      "scores that each image has from the teacher that has not seen it. 0: "
      "from the one teacher.", lower=0)
  device: str = setting.declare(
      "auto", devices.HELP, flag_choices=devices.CHOICES)
  caffe_parity: bool = setting.declare(
      False, "Use the values of the Caffe release for every setting in which "
      "the release and this package may differ; docs/caffe.md lists them. "
      "They override a recipe; a flag on the command line overrides them.")


@dataclasses.dataclass(frozen=True)
class Run:
  """The run"""
  classes: tuple[str, ...]  # No flag: they come with the records.
  stage: str = setting.declare(
      "wsd", "What to train: wsd, the teacher, a weakly supervised detector; "
      "cls, the student without distillation; kd_feature and kd_prediction, "
      "the two stages of distillation into the student; all, these four in "
      "this order, each in a subfolder of --workdir.",
      choices=setting.STAGES, flag_choices=(*setting.STAGES, "all"),
      fixed=setting.TRAINED_FOR)
  seed: int = setting.declare(
      0, "Seed of initial weights, order of images, augmentation and dropout. "
      "Repeat a run with other seeds to see how much its metrics vary.")
  deterministic: bool = setting.declare(
      "auto", "Use only operations that give the same result every time, so "
      "that equal seeds give equal weights. auto: on without a GPU, off with "
      "one, where they may be slower.",
      flag_choices=("auto", "on", "off"))


@dataclasses.dataclass(frozen=True)
class Data:
  """Data"""
  data: str = setting.declare(
      None, "Folder of records, the --output of kdwsd.make_records. Without "
      "it a demo data set of drawn scenes is made in --workdir, and other "
      "settings get defaults for a small machine.")
  train_split: str = setting.declare(
      "trainval", "Name of the split to train on, as given to "
      "kdwsd.make_records.")
  eval_split: Optional[str] = setting.declare(
      "test", "Name of the split to validate on; empty for no validation.",
      stages=setting.LABELLED)
  test_split: Optional[str] = setting.declare(
      None, "Name of a split that nothing is chosen on: the finished run is "
      "measured on it once, and tables and reports show it instead of "
      "--eval_split. Default: none.", stages=setting.LABELLED, older=None)
  folds: int = setting.declare(
      0, "Into how many parts to cut the training images, to train on all but "
      "one of them; each has its share of every class, and copies of an image "
      "or frames of a video stay together as far as names tell. 0: trains on "
      "all.", stages=setting.TEACHER, lower=0, fixed=setting.TRAINED_FOR,
      older=0)
  left_out_fold: int = setting.declare(
      0, "The part that is left out, from 0.", stages=setting.TEACHER, lower=0,
      fixed=setting.TRAINED_FOR, older=0)
  train_sizes: tuple[int, ...] = setting.declare(
      (480, 576, 672, 736, 832), "Side in pixels of the square to which "
      "training images are warped; one is drawn for each batch. Fewer and "
      "smaller sides need less memory and time. Default: the release's.",
      stages=setting.TEACHER, lower=32, lengths=(1, 100))
  eval_size: int = setting.declare(
      672, "Side in pixels of the square to which images are warped for "
      "validation and for teaching; the student's images are made from these. "
      "Default: the release's.", lower=32)
  num_proposals: int = setting.declare(
      500, "Proposals per image: of more, the best-scored are used; fewer are "
      "padded and masked. Lower it to save memory and time. Default: the "
      "release's.", lower=1)
  mirror: bool = setting.declare(
      True, "Mirror each training image, and its proposals, with probability "
      "1/2. Turn it off where left and right matter, as in text.")
  cache: str = setting.declare(
      "none", "Where to keep decoded training images, 3 bytes per pixel of "
      "the original, so that later epochs need not decode: memory, or disk in "
      "--workdir. none decodes every time.",
      choices=("none", "memory", "disk"))
  resize_on_device: bool = setting.declare(
      False, "Warp and mirror training images on the device that trains; "
      "processors then only decode them, or, with --cache=memory, nothing. "
      "For GPUs that wait for their input; on a CPU it is slower. Best for "
      "images of up to a megapixel: they are copied to the device in their "
      "original size.", older=False)
  shuffle_buffer: int = setting.declare(
      2048, "Images held in memory from which the next one is drawn. More "
      "mixes the records better and takes more memory.", lower=1)


@dataclasses.dataclass(frozen=True)
class Progress:
  """Length and progress"""
  train_steps: int = setting.declare(
      50000, "Number of optimizer steps. Raise it to train a finished run "
      "further.", lower=1)
  steps_per_loop: int = setting.declare(
      50, "Steps between log lines and lines of history.jsonl.", lower=1)
  checkpoint_interval: int = setting.declare(
      500, "Steps between checkpoints, a multiple of --steps_per_loop. A run "
      "that crashes loses at most this many steps. Where they take more than "
      "10 minutes, there is also a checkpoint at the next log line.", lower=1)
  eval_interval: int = setting.declare(
      2500, "Steps between validations; 0 validates only at the end.",
      stages=setting.LABELLED, lower=0)
  keep_checkpoints: int = setting.declare(
      3, "How many of the last checkpoints to keep, besides the best one.",
      lower=1)
  profile_steps: tuple[int, ...] = setting.declare(
      (), "First and last step, such as 10,20, of which to write a profile for "
      "TensorBoard into --workdir; empty for none.", lower=1, lengths=(0, 2),
      older=())
  best_figure: str = setting.declare(
      "classification/map", "Validation metric by which the best checkpoint is "
      "chosen and by which --schedule=plateau lowers the learning rate, such "
      "as classification/map, detection/voc07_map or "
      "classification/all/O-F1.", stages=setting.LABELLED)


@dataclasses.dataclass(frozen=True)
class Devices:
  """Devices and precision"""
  distribution_strategy: str = setting.declare(
      "mirrored", "How to use several devices, by the name of the strategy in "
      "tf.distribute: mirrored, all GPUs of this machine; "
      "multi_worker_mirrored, several machines, named by the variable "
      "TF_CONFIG; one_device; tpu.",
      choices=("one_device", "mirrored", "multi_worker_mirrored", "tpu"))
  num_replicas: int = setting.declare(
      0, "Devices of this machine to use. 0: every GPU, or the CPU if there "
      "is none.", lower=0)
  mixed_precision: str = setting.declare(
      "float32", "Keras dtype policy. mixed_float16 and mixed_bfloat16 compute "
      "in 16 bits, with less memory and, on recent GPUs and on TPUs, faster; "
      "variables, softmaxes and losses stay float32.",
      choices=("float32", "mixed_float16", "mixed_bfloat16"),
      fixed=setting.OPTIMIZER)
  jit_compile: str = setting.declare(
      "auto", "Whether XLA compiles the training step into few operations, for "
      "GPUs. The first step with each side of images then takes longer. auto: "
      "on GPUs, unless XLA refuses; never on a CPU, where results would differ "
      "in the last bits.",
      choices=("auto", "on", "off"), older="off")
