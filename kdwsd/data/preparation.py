"""The work of the converter's worker processes on one image.

They decode the image, compute its proposals, and turn annotated boxes into
`kdwsd.boxes` fractions of the upright image. This module does not import
TensorFlow, because every worker process would have to.
"""

import dataclasses
import multiprocessing
import os
import signal
import threading

import cv2
import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd.data import annotated_boxes
from kdwsd.data import images
from kdwsd.data import proposal_files
from kdwsd.data import proposals
from kdwsd.data import recall
from kdwsd.data.sources import datalist

RECALL_IOUS = (0.5, 0.7)

_settings = {}  # Of this process; see `start_worker`.


@dataclasses.dataclass(frozen=True)
class Prepared:
  """One image, ready to be recorded.

  Attributes:
    encoded: JPEG bytes.
    height: pixels.
    width: pixels.
    boxes: [N, 4] float32 proposals, best first.
    scores: [N] float32.
    truth: an `annotated_boxes.Placed`, or None where the source has no boxes.
    num_judged: objects that count for recall: neither difficult nor a crowd.
    num_matched: how many of these a proposal covers, for each of `RECALL_IOUS`.
    is_dark, taken_for: attributes of the image's `images.DecodedImage`.
  """
  encoded: bytes
  height: int
  width: int
  boxes: np.ndarray
  scores: np.ndarray
  truth: annotated_boxes.Placed
  num_judged: int
  num_matched: tuple
  is_dark: bool = False
  taken_for: str = ""


def start_worker(proposal_settings, max_pixels):
  """Sets a process up for `prepare_here`."""
  _settings.update(proposal_settings=proposal_settings, max_pixels=max_pixels,
                   proposal_file=None)
  parent = multiprocessing.parent_process()
  if parent is not None:
    cv2.setNumThreads(1)  # The processes share the cores among themselves.
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent reports it.
    # A killed parent does not close the queue that a worker waits on.
    threading.Thread(
        target=lambda: (parent.join(), os._exit(1)), daemon=True).start()


def prepare_here(item, extract=None):
  """`prepare` with the settings of this worker.

  Args:
    item: a `sources.Item`.
    extract: its `proposal_files.Extract`. None for method `file` opens the file
      in this process.

  Returns:
    A `Prepared`, or the `errors.InputError` of an image that has none.
  """
  given = _settings["proposal_settings"]
  if (given.method == "file" and extract is None
      and _settings["proposal_file"] is None):
    _settings["proposal_file"] = proposal_files.open_file(
        given.file, order=given.order, image_ids=given.image_ids)
  return prepare_or_error(
      item, given, max_pixels=_settings["max_pixels"],
      proposal_file=extract or _settings["proposal_file"])


def prepare_or_error(item, *args, **kwargs):
  """As `prepare`, but returns the `errors.InputError` instead of raising it."""
  try:
    return prepare(item, *args, **kwargs)
  except errors.InputError as error:
    return error
  except Exception as error:
    raise RuntimeError(f"{item.where}: {item.image_path}: {error}") from error


def prepare(item, settings, *, max_pixels, proposal_file=None):
  """Decodes an image and gives it proposals.

  Args:
    item: a `sources.Item`.
    settings: a `proposals.Settings`.
    max_pixels: larger images are refused.
    proposal_file: a `proposal_files.ProposalFile` or `Extract`, for method
      `file`.

  Returns:
    A `Prepared`.

  Raises:
    errors.InputError: the image or its proposals are invalid.
  """
  image = images.read(item.image_path, max_pixels=max_pixels, where=item.where,
                      span=item.span)
  boxes, scores = _propose(item, image, settings, proposal_file)
  truth, num_judged, num_matched = None, 0, (0,) * len(RECALL_IOUS)
  if item.objects is not None:
    truth = annotated_boxes.place(item, image)
    if truth.boxes is not None:
      set_aside = item.objects.difficult | item.objects.crowd
      judged = truth.boxes[~set_aside[truth.kept]]
      num_judged = len(judged)
      num_matched = tuple(
          recall.matched(judged, boxes, iou) for iou in RECALL_IOUS)
  return Prepared(
      encoded=image.encoded, height=image.height, width=image.width,
      boxes=boxes, scores=scores, truth=truth, num_judged=num_judged,
      num_matched=num_matched, is_dark=image.is_dark,
      taken_for=image.taken_for)


def _propose(item, image, settings, proposal_file):
  if settings.method in ("edge_boxes", "selective_search"):
    return proposals.propose(image.pixels, settings)
  if settings.method == "file":
    try:
      boxes, scores = proposal_file.lookup(
          item.image_id, image.height, image.width)
    except errors.InputError as error:
      raise errors.InputError(f"{item.where}: {error}") from error
  else:
    if item.proposals is None:
      raise errors.InputError(
          f"{item.where}: expected proposals in the source "
          "(--proposals=datalist). Received: a source without proposals.")
    boxes, scores = datalist.read_proposals(
        item.proposals, image.height, image.width)
  boxes, scores = proposals.select(
      box_ops.clip(boxes), scores, image.height, image.width, settings)
  if not len(boxes):  # As `proposals.propose` does.
    return np.array([[0, 0, 1, 1]], np.float32), np.ones([1], np.float32)
  return boxes, scores

