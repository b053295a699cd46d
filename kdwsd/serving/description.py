"""The content of `export.json`: an export's origin and its interface."""

import datetime
import os
import subprocess

import tensorflow as tf

import kdwsd
from kdwsd.serving import image_decoding


def origin():
  """Versions of the code that wrote the export, and the time."""
  return {
      "kdwsd_version": kdwsd.__version__,
      "git_revision": _revision(),
      "tensorflow_version": tf.__version__,
      "exported": datetime.datetime.now(datetime.timezone.utc).isoformat(
          timespec="seconds"),
  }


def interface(servable, *, eval_size):
  """Everything a client needs to call the export.

  Args:
    servable: a `signatures.Servable`.
    eval_size: side of the square that images are warped to, pixels.

  Returns:
    Dict ready for JSON.
  """
  steps = [
      "decode JPEG or PNG to RGB 0..255 (JPEG by the accurate integer DCT; "
      "transparent pixels on white)",
      "turn upright by EXIF",
      f"resize to {eval_size} x {eval_size}, bilinear, half-pixel centres, no "
      "antialiasing",
  ]
  if not servable.detector:
    steps.append(f"resize to {servable.image_size} x {servable.image_size}, "
                 "bilinear, corner-aligned")
  return {
      "classes": list(servable.classes),
      "image_size": servable.image_size,
      "eval_size": eval_size,
      "max_pixels": image_decoding.MAX_PIXELS,
      "parameters": sum(variable.shape.num_elements()
                        for variable in servable.module.weights),
      "preprocessing": {
          "steps": steps,
          "of_serving_default": "all, in the graph",
          "of_per_image": "all, in the graph",
          "of_images": "none: the client has done all of them",
      },
      "signatures": {
          name: {
              "inputs": _specs(
                  {spec.name: spec
                   for spec in function.structured_input_signature[0]}),
              "outputs": _specs(function.structured_outputs),
          } for name, function in servable.signatures.items()},
  }


def _specs(tensors):
  return {name: {"dtype": tensor.dtype.name,
                 "shape": tensor.shape.as_list()}
          for name, tensor in tensors.items()}


def _revision():
  """Git revision of this code, with "-dirty" if modified; None outside git."""
  folder = os.path.dirname(os.path.abspath(kdwsd.__file__))

  def git(*arguments):
    try:
      done = subprocess.run(
          ["git", "-C", folder, *arguments], capture_output=True, text=True,
          check=False, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
      return None
    return done.stdout.strip() if done.returncode == 0 else None

  # An installed package may lie inside another project's repository.
  if not git("ls-files", "--error-unmatch", "__init__.py"):
    return None
  return git("describe", "--always", "--abbrev=40", "--match=", "--dirty")
