"""What an export says of itself."""

import json
import subprocess

from kdwsd.serving import description
from tests.serving import fakes


def test_a_clients_needs_are_all_there():
  model = fakes.make_student()
  told = description.interface(
      fakes.servable_student(model), eval_size=fakes.EVAL_SIZE)
  assert json.loads(json.dumps(told)) == told
  assert told["parameters"] == model.count_params()
  assert told["image_size"] == 32
  assert told["eval_size"] == 48
  assert told["max_pixels"] == 50_000_000
  assert told["preprocessing"]["steps"][-1].startswith("resize to 32 x 32")
  images = told["signatures"]["images"]["inputs"]["images"]
  assert images == {"dtype": "float32", "shape": [None, 32, 32, 3]}


def test_revision_is_gits_or_nothing(monkeypatch):
  told = description.origin()
  assert told["git_revision"] is None or (
      len(told["git_revision"].removesuffix("-dirty")) == 40)

  def fails(*_, **__):
    raise FileNotFoundError("git")

  monkeypatch.setattr(subprocess, "run", fails)
  assert description.origin()["git_revision"] is None
