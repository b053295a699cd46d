"""A case that converts a small source by one runner and by another."""

import hashlib
import os
import pickle
import shutil
import tempfile

import numpy as np
from scipy import io
import tensorflow as tf

from kdwsd.data import conversion
from kdwsd.data import proposal_npz
from kdwsd.data import proposals
from kdwsd.data import sources
from tests.data import fake_sources

_SETTINGS = {"max_proposals": 20, "min_side_pixels": 4, "min_box_area": 16.0}


def hashes(output):
  """Hashes of all files below a directory, by relative path."""
  found = {}
  for folder, _, names in os.walk(output):
    for name in names:
      path = os.path.join(folder, name)
      with open(path, "rb") as file:
        found[os.path.relpath(path, output)] = hashlib.sha256(
            file.read()).hexdigest()
  return found


class RunnerTestCase(tf.test.TestCase):

  def setUp(self):
    super().setUp()
    self.root = tempfile.mkdtemp()
    self.addCleanup(shutil.rmtree, self.root)

  def output(self, name):
    return os.path.join(self.root, "records", name)

  def file_of_proposals(self, kind):
    """Writes a file with proposals of all images but one; returns its path."""
    boxes = [np.array([[2, 3, 20 + i, 15], [1, 1, 9, 9]], np.float32)
             for i in range(5)]
    path = os.path.join(self.root, f"mine.{kind}")
    if kind == "npz":
      proposal_npz.write(path, {
          f"{i:06d}": (boxes[i] / 32, np.array([.2, .9])) for i in range(4)})
    elif kind == "pkl":
      with open(path, "wb") as file:
        pickle.dump(boxes, file)
    else:
      os.mkdir(path)
      for i in range(4):
        io.savemat(os.path.join(path, f"{i:06d}.mat"), {"bboxes": boxes[i]})
    return path

  def convert(self, name, kind="voc", runner=None, on_error="stop",
              damaged=False, num_shards=3, **settings):
    """Converts a source of `fake_sources` to `output(name)`.

    Args:
      name: of the output.
      kind: of the source.
      runner: argument of `conversion.convert`.
      on_error: `stop` or `skip`.
      damaged: whether an image is damaged.
      num_shards: number of shards.
      **settings: of the proposals, beside or instead of the usual ones.

    Returns:
      The `hashes` of all that was written.
    """
    problems = sources.Problems(on_error)
    method = {"method": "datalist"} if kind == "datalist" else {}
    conversion.convert(
        fake_sources.make(
            kind, os.path.join(self.root, kind), problems, damaged),
        output=self.output(name), split="train", num_shards=num_shards,
        num_workers=0, problems=problems, progress=False, runner=runner,
        proposal_settings=proposals.Settings(
            **{**_SETTINGS, **method, **settings}))
    return hashes(self.output(name))
