"""The programs, at the moments that take them longest or cost them most."""

import base64
import contextlib
import dataclasses
import io
import json
import os
import shutil
import subprocess
import sys
import threading
import urllib.request

import numpy as np
import PIL.Image

from benchmarks import drawn_records
from kdwsd import files
from tests.preemption import notices

_PORT = 8615


@dataclasses.dataclass(frozen=True)
class Sizes:
  """Sizes of models and data.

  Attributes:
    backbone: of teacher and students.
    fc_units: of the teacher.
    size: side of the teacher's images, pixels.
    sides: two sides for steps that are compiled.
    num_proposals: of an image.
    images: of each of three shards to train on; ten times as many to test on.
    megapixels: of the large image.
    photographs: images to convert if there is no folder of them.
    rows: images of a request to the server.
  """
  backbone: str
  fc_units: int
  size: int
  sides: str
  num_proposals: int
  images: int
  megapixels: float
  photographs: int
  rows: int


FULL = Sizes("vgg16", 4096, 672, "480,672", 500, 4, 80.0, 400, 32)
QUICK = Sizes("small", 16, 64, "48,64", 16, 4, 0.3, 96, 8)


class Cases:
  """Makes what the programs need, and lists the cases.

  Attributes:
    folder: in which the programs run.
  """

  def __init__(self, folder, sizes, photographs=None):
    """Sets the sizes; writes nothing yet.

    Args:
      folder: to make.
      sizes: `Sizes`.
      photographs: a VOCdevkit to convert; None for drawn images.
    """
    self.folder, self._sizes, self._photographs = folder, sizes, photographs

  def prepare(self):
    """Writes records and images; trains and exports a teacher and a chain."""
    sizes, records = self._sizes, os.path.join(self.folder, "records")
    os.makedirs(records)
    drawn_records.write(records, "trainval", 3 * sizes.images,
                        sizes.num_proposals, num_shards=3)
    drawn_records.write(records, "test", 10 * sizes.images,
                        sizes.num_proposals)
    self._write_images()
    self._run(*self._train("wsd", "run/wsd", train_steps=1, eval_split=""))
    self._run("-m", "kdwsd.export", "--workdir=run/wsd", "--output=models/wsd",
              "--warmup=")
    self._run(*self._chain())

  def all(self):
    """List of `notices.Case`."""
    return [*self._conversions(), *self._runs(), *self._stages(),
            *self._uses(), *self._servers()]

  def clean(self):
    """Removes what a case leaves, so that the next one starts from scratch."""
    for name in ("out", "run/new", "models/new", "records/teacher_cache",
                 "records/frozen_maps"):
      shutil.rmtree(os.path.join(self.folder, name), ignore_errors=True)

  # What is there before.

  def _write_images(self):
    sizes, random = self._sizes, np.random.default_rng(0)
    images = os.path.join(self.folder, "images")
    os.makedirs(os.path.join(images, "large"))
    for number in range(max(sizes.photographs, 4)):
      _write(os.path.join(images, f"{number:03d}.jpg"), random, 500, 375)
    side = int((sizes.megapixels * 1e6) ** 0.5)
    _write(os.path.join(images, "large", "0.jpg"), random, side, side)
    for name, paths in (("all", [f"{number:03d}.jpg" for number in range(
        sizes.photographs)]), ("large", ["large/0.jpg"])):
      files.write_text(os.path.join(images, f"{name}.csv"), "path,labels\n" +
                       "".join(f"{path},a\n" for path in paths))

  def _run(self, *arguments):
    root = os.path.dirname(os.path.dirname(os.path.dirname(
        os.path.abspath(__file__))))
    done = subprocess.run(
        [sys.executable, *arguments], cwd=self.folder, capture_output=True,
        text=True, check=False, env={**os.environ, "PYTHONPATH": root})
    if done.returncode:
      raise RuntimeError(f"{arguments}: {done.stdout}{done.stderr}")

  def _train(self, stage, workdir, **flags):
    sizes = self._sizes
    flags = {
        "stage": stage, "data": "records", "workdir": workdir, "device": "cpu",
        "backbone": sizes.backbone, "backbone_weights": "none",
        "fc_units": sizes.fc_units, "train_sizes": sizes.size,
        "eval_size": sizes.size, "num_proposals": sizes.num_proposals,
        "student_size": 56 if sizes is QUICK else 224, "global_batch_size": 1,
        "train_steps": 10 ** 6, "steps_per_loop": 1,
        "checkpoint_interval": 10 ** 6,
        "eval_interval": 0, "keep_checkpoints": 1, "learning_rate": 1e-5,
        **flags}
    return ("-m", "kdwsd.train",
            *(f"--{name}={value}" for name, value in flags.items()))

  def _chain(self, **flags):
    return self._train("all", **{
        "workdir": "run/chain", "backbone": "small", "fc_units": 16,
        "train_sizes": 64, "eval_size": 64, "student_size": 56,
        "num_proposals": 16, "train_steps": 4, "steps_per_loop": 1,
        "top_k_rois": 4, **flags})

  # The cases.

  def _long(self, seconds):
    """A delay for large models, of which small ones need a small part."""
    return seconds if self._sizes is FULL else seconds / 50

  def _conversions(self):
    common = ("-m", "kdwsd.make_records", "--output=out")
    if self._photographs:
      many = (*common, "--format=voc", f"--input={self._photographs}",
              "--image_set=trainval")
    else:
      many = (*common, "--format=csv", "--input=images/all.csv",
              "--num_shards=3")
    shard = notices.appears(self.folder, r"^out/train-00000-of-.*tfrecord")
    resumed = r"(\d+ of \d+ shards exist; resuming)"
    large = (*common, "--format=csv", "--input=images/large.csv")
    begun = notices.appears(self.folder, r"^out/\.partial-")
    case = notices.Case
    return [
        case("make_records", "EdgeBoxes in 2 processes, second shard",
             (*many, "--workers=2"), shard, 0.1, resumed),
        case("make_records", "the same, all processes get the signal",
             (*many, "--workers=2"), shard, 0.1, resumed, everyone=True),
        case("make_records", "decodes a large image",
             (*large, "--workers=0"), begun, 0.1),
        case("make_records", "Selective Search (quality), a large image",
             (*large, "--workers=1", "--proposals=selective_search",
              "--selective_search_mode=quality"), begun, 6.0),
    ]

  def _runs(self):
    """Training, at each of its phases."""
    def run(**flags):
      return self._train("wsd", "run/new", **{"eval_split": "", **flags})

    case, sizes = notices.Case, self._sizes
    left = r"(\S+ \S+ to compute|Found complete)"
    resumed = r"Resuming from \S+(ckpt-\d+)"
    fresh = r"(Working in)"
    checkpoint = notices.appears(self.folder, (
        r"^run/new/checkpoints/ckpt-2[._]\S*temp" if sizes is FULL
        else r"^run/new/checkpoints/ckpt-2\."))  # Written in no time.
    return [
        case("train", "loads TensorFlow", run(), lambda said: True, 2.0, fresh),
        case("train", "first step", run(), notices.appears(
            self.folder, r"^run/new/checkpoints/checkpoint$"), self._long(3),
             resumed),
        case("train", "a step", run(), notices.logged("step 2/"), 1.0, resumed),
        case("train", "writes a checkpoint", run(checkpoint_interval=2),
             checkpoint, 0.0, resumed),
        case("train", "XLA compiles for another side", run(
            jit_compile="on", deterministic="off", train_sizes=sizes.sides),
             notices.logged(r"(?s)Compiling.*step 1/.*Compiling"), 1.0,
             resumed),
        case("train", "validation", run(eval_split="test", eval_interval=2),
             notices.logged("step 2/"), self._long(10), resumed),
        case("train", "keeps maps of frozen stages, second shard", run(
            frozen_stages=4, frozen_cache="true"),
             notices.appears(self.folder, r"frozen_maps/.*/shard-00000"),
             self._long(2), left),
    ]

  def _stages(self):
    """The stages of distillation, and a chain."""
    case, left = notices.Case, r"(\S+ \S+ to compute|Found complete)"
    resumed = r"Resuming from \S+(ckpt-\d+)"
    shard = notices.appears(self.folder, r"teacher_cache/.*/shard-00000")
    student = {"teacher": "run/wsd", "eval_split": "", "teacher_cache": "on"}
    feature = self._train("kd_feature", "run/new", **{
        **student, "eval_split": "test", "top_k_rois": 20})
    prediction = self._train("kd_prediction", "run/new", **student)
    plain = self._train("cls", "run/new", eval_split="")
    chain = self._chain(workdir="run/new", train_steps=30)
    return [
        case("train cls", "a step", plain, notices.logged("step 3/"), 0.5,
             resumed),
        case("train kd_feature", "teacher cache, second shard", feature, shard,
             self._long(2), left),
        case("train kd_prediction", "teacher cache, second shard", prediction,
             shard, self._long(2), left),
        case("train kd_prediction", "a step", prediction,
             notices.logged("step 3/"), 0.5, resumed),
        case("train --stage=all", "a step of the third stage", chain,
             notices.logged("(?s)Stage kd_feature.*step 3/"), 0.0,
             r"(?s)(Stage wsd is done).*(Stage cls is done).*Resuming from "
             r"\S+(kd_feature\S*ckpt-\d+)"),
        case("train --stage=all", "writes the report", chain,
             notices.logged("(?s)Stage kd_prediction.*Loss curve"), 0.2),
    ]

  def _uses(self):
    """What is done with a trained model."""
    case = notices.Case
    long = self._long(10)
    export = ("-m", "kdwsd.export", "--workdir=run/wsd", "--output=models/new")
    photographs = [f"images/{number:03d}.jpg" for number in range(4)]
    evaluate = ("-m", "kdwsd.evaluate", "--workdir=run/wsd", "--split=test",
                "--device=cpu", "--output=out")
    predict = ("-m", "kdwsd.predict", "--model=run/wsd", "--device=cpu",
               "--output_dir=out", *photographs)
    report = ("-m", "kdwsd.report", "run/chain", "--output=out/report.html")
    return [
        case("evaluate", "inference", evaluate, notices.logged("Device: "),
             long, "(Device: )"),
        case("predict", "second image", predict,
             notices.logged("images/000"), 1.0, "(images/000)"),
        case("export", "writes the model", export, notices.appears(
            self.folder, r"^models/new/\.partial-[^/]*/variables/"), 0.0,
             r"(Writing version \d+)"),
        case("export", "compares with the model", export,
             notices.logged("Comparing with the model"), long / 2,
             r"(Writing version \d+)"),
        case("report", "draws and writes", report, lambda said: True, 5.0),
    ]

  def _servers(self):
    case = notices.Case
    serve = ("-m", "kdwsd.serve", "--model_base_path=models/wsd",
             f"--rest_api_port={_PORT}", "--port=0", "--device=cpu")
    ready, again = notices.logged("Serving student, version"), (
        r"(Serving student, version \d+)")

    def ask():
      threading.Thread(target=self._ask, daemon=True).start()

    return [
        case("serve", "loads the model", serve, lambda said: True, 6.0, again),
        case("serve", "no request", serve, ready, 0.5, again),
        case("serve", f"a request of {self._sizes.rows} images", serve, ready,
             3.0, again, meanwhile=ask),
    ]

  def _ask(self):
    """Sends the server a request that takes it long."""
    with open(os.path.join(self.folder, "images", "000.jpg"), "rb") as file:
      image = base64.b64encode(file.read()).decode()
    boxes = np.tile([0.1, 0.1, 0.9, 0.9], [self._sizes.num_proposals, 1])
    row = {"image_bytes": {"b64": image}, "proposals": boxes.tolist(),
           "objectness": [1.0] * len(boxes)}
    body = json.dumps({"instances": [row] * self._sizes.rows}).encode()
    with contextlib.suppress(OSError):
      urllib.request.urlopen(
          f"http://127.0.0.1:{_PORT}/v1/models/student:predict", body,
          timeout=300).read()


def _write(path, random, width, height):
  """Writes a JPEG with shapes in it."""
  coarse = PIL.Image.fromarray(
      random.integers(0, 256, [12, 16, 3], dtype=np.uint8))
  file = io.BytesIO()
  coarse.resize((width, height), PIL.Image.BICUBIC).save(
      file, "JPEG", quality=90)
  with open(path, "wb") as whole:
    whole.write(file.getvalue())
