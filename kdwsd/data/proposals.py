"""Class-agnostic box proposals of one image.

EdgeBoxes (C. L. Zitnick, P. Dollar, ECCV 2014), as in the paper and in WSDDN,
or Selective Search (J. Uijlings et al., "Selective Search for Object
Recognition", IJCV 2013), both from OpenCV's contributed modules. This module
does not import TensorFlow: the converter calls it from many small processes.
"""

import ctypes
import dataclasses
import importlib.metadata
import importlib.util
import os
import shlex
import sys
import threading
from typing import Optional

import cv2
import numpy as np

from kdwsd import boxes as box_ops
from kdwsd import errors
from kdwsd.data import edges

METHODS = ("edge_boxes", "selective_search", "file", "datalist")
SEARCH_MODES = ("fast", "quality", "single")

# The package of OpenCV that has EdgeBoxes.
_CONTRIBUTED = "opencv-contrib-python-headless"

# Held while numbers are drawn that depend on a seed of the whole process.
_C_GENERATOR = threading.Lock()

# OpenCV's sliding windows do not fit in smaller images.
_LEAST_SIDE = 16

# Gradients give more edges than a forest, with weak ones between strong ones.
# Their values were chosen by recall on 100 photographs, see RESULTS.md. Those
# of the forest are OpenCV's defaults, which are the paper's.
_EDGE_DEFAULTS = {
    "gradients": {"min_score": 0.02, "edge_min_mag": 0.15, "kappa": 1.7},
    "forest": {"min_score": 0.01, "edge_min_mag": 0.1, "kappa": 1.5},
}


@dataclasses.dataclass(frozen=True)
class Settings:
  """Settings of the proposals; written into the data set's card.

  Attributes:
    method: one of `METHODS`; the last two read proposals from files.
    max_proposals: maximal number kept, best first.
    min_side_pixels: shorter side of the smallest proposal kept, in pixels of
      the image. WSDDN drops those under 20, but a tenth of the objects in our
      photographs is between this value and 20.
    longest_side: a larger image is downscaled to this longer side before edges
      or segments are computed; boxes are fractions and need no scaling back.
      0 never downscales.
    file: path of the proposals, for method `file`.
    order: order of the numbers of a box, see `proposal_files.open_file`.
    image_ids: image ids of the split, in its order, if that file has no names.
    edge_model: path of OpenCV's structured-edge model; gradients if None.
    edge_sigma: smoothing of the gradient edges, pixels.
    edge_percentile: percentile of the gradient edges that gets strength 1.
    alpha: EdgeBoxes' step of the sliding window.
    beta: IoU threshold of non-maximum suppression.
    eta: factor of beta after each kept box, down to 0.5, so that later boxes
      must overlap less. With 500 boxes, 0.9996 found 2 % more objects than 1.
    min_score: boxes below it are not refined. None for a value that suits the
      edges, also for the next two settings.
    edge_min_mag: weaker edges are ignored.
    kappa: exponent of a box's perimeter, by which its edges are divided.
    edge_merge_thr: turn, in half circles, at which a group of edges ends.
    cluster_min_mag: weaker groups of edges join their neighbours.
    max_aspect_ratio: maximum aspect ratio of the sliding windows.
    min_box_area: area of the smallest sliding window, pixels.
    gamma: how fast the affinity of two groups falls with their angle.
    selective_search_mode: one of `SEARCH_MODES`.
  """
  method: str = "edge_boxes"
  max_proposals: int = 500
  min_side_pixels: int = 10
  longest_side: int = 800
  file: Optional[str] = None
  order: Optional[str] = None
  image_ids: Optional[tuple] = None
  # EdgeBoxes.
  edge_model: Optional[str] = None
  edge_sigma: float = 2.5
  edge_percentile: float = 99.0
  alpha: float = 0.65
  beta: float = 0.65
  eta: float = 0.9996
  min_score: Optional[float] = None
  edge_min_mag: Optional[float] = None
  kappa: Optional[float] = None
  edge_merge_thr: float = 0.5
  cluster_min_mag: float = 0.5
  max_aspect_ratio: float = 3.0
  min_box_area: float = 400.0
  gamma: float = 2.0
  # Selective Search.
  selective_search_mode: str = "fast"

  def __post_init__(self):
    if self.method not in METHODS:
      raise errors.InputError(
          f"method: expected one of {', '.join(METHODS)}. Received: "
          f"{self.method!r}.")
    if self.selective_search_mode not in SEARCH_MODES:
      raise errors.InputError(
          "selective_search_mode: expected one of "
          f"{', '.join(SEARCH_MODES)}. Received: "
          f"{self.selective_search_mode!r}.")
    if self.max_proposals < 1:
      raise errors.InputError(
          "max_proposals: expected at least 1. Received: "
          f"{self.max_proposals}.")
    if self.method == "file" and not self.file:
      raise errors.InputError(
          "method 'file': expected the path of the proposals. Received: none.")
    defaults = _EDGE_DEFAULTS["forest" if self.edge_model else "gradients"]
    for name, value in defaults.items():
      if getattr(self, name) is None:
        object.__setattr__(self, name, value)  # The dataclass is frozen.

  def as_dict(self):
    """The settings that this method uses, for the card."""
    names = ["max_proposals", "min_side_pixels"]
    if self.method == "edge_boxes":
      names += ["longest_side", "edge_model", "alpha", "beta", "eta",
                "min_score", "edge_min_mag", "edge_merge_thr",
                "cluster_min_mag", "max_aspect_ratio", "min_box_area", "gamma",
                "kappa"]
      if not self.edge_model:
        names += ["edge_sigma", "edge_percentile"]
    elif self.method == "selective_search":
      names += ["longest_side", "selective_search_mode"]
    elif self.method == "file":
      names += ["file"] + ["order"] * (self.order is not None)
    return {"method": self.method,
            **{name: getattr(self, name) for name in names}}


def propose(image, settings):
  """Computes the proposals of one image, deterministically.

  Args:
    image: [H, W, 3] uint8 RGB, upright, in its original size.
    settings: a `Settings` whose method is computed.

  Returns:
    boxes [N, 4] float32 and scores [N] float32, best first, distinct, at most
    `settings.max_proposals`. Selective Search has no scores: its boxes are in
    the order of its own ranking, each with score 1. An image without proposals
    gets the whole image as one, with score 1.

  Raises:
    errors.InputError: OpenCV lacks its contributed modules, or the edge model
      cannot be read.
    ValueError: the image is not [H, W, 3] uint8, or the method reads files.
  """
  image = np.asarray(image)
  if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
    raise ValueError(
        "Invalid value for argument `image`. Expected [H, W, 3] uint8. "
        f"Received: {list(image.shape)} {image.dtype}.")
  check_opencv()
  height, width = image.shape[:2]
  reduced = _reduce(image, settings.longest_side)
  if min(reduced.shape[:2]) < _LEAST_SIDE:
    rectangles, scores = np.zeros([0, 4]), np.zeros([0])
  elif settings.method == "edge_boxes":
    rectangles, scores = _edge_boxes(reduced, settings)
  elif settings.method == "selective_search":
    rectangles = _selective_search(reduced, settings.selective_search_mode)
    scores = np.ones([len(rectangles)], np.float32)
  else:
    raise ValueError(
        "Invalid value for argument `settings`. Expected a method that is "
        f"computed. Received: {settings.method!r}.")
  boxes = box_ops.clip(
      box_ops.from_pixel_sizes(rectangles, *reduced.shape[:2]))
  boxes, scores = select(boxes, scores, height, width, settings)
  if not len(boxes):
    return np.array([[0, 0, 1, 1]], np.float32), np.ones([1], np.float32)
  return boxes, scores


def select(boxes, scores, height, width, settings):
  """Drops small and repeated boxes and keeps the best.

  Args:
    boxes: [N, 4].
    scores: [N]; ties keep their order.
    height: height of the image, pixels.
    width: width of the image, pixels.
    settings: a `Settings`.

  Returns:
    boxes [K, 4] float32 and scores [K] float32, best first.
  """
  boxes = np.asarray(boxes, np.float32).reshape(-1, 4)
  scores = np.asarray(scores, np.float32).reshape(-1)
  order = np.argsort(-scores, kind="stable")
  boxes, scores = boxes[order], scores[order]
  pixels = box_ops.to_pixels(boxes, height, width)
  sides = pixels[:, 2:] - pixels[:, :2]                           # [N, 2]
  # Edges in float32 may miss a whole pixel by an error of rounding.
  large = np.min(sides, axis=1) >= max(settings.min_side_pixels - 1e-3, 1e-3)
  boxes, scores = boxes[large], scores[large]
  first = np.unique(boxes, axis=0, return_index=True)[1]
  first = np.sort(first)[:settings.max_proposals]
  return boxes[first], scores[first]


def check_opencv():
  """Checks that OpenCV has its contributed modules.

  tf-models-official requires opencv-python-headless, which has none and
  installs the same folder. An installer that writes it last, as uv may, leaves
  the package with the modules in name only.

  Raises:
    errors.InputError: it has none, with the command that installs them.
  """
  # The folder ximgproc, with types only, may be left without its functions.
  if not hasattr(getattr(cv2, "ximgproc", None), "createEdgeBoxes"):
    raise errors.InputError(
        "proposals: expected OpenCV with its contributed modules. Received: "
        f"opencv {cv2.__version__} without ximgproc, as when another package "
        f"is installed over it. To repair it: {_repair()}")


def _repair():
  """The command that installs OpenCV with its contributed modules again."""
  try:
    version = importlib.metadata.version(_CONTRIBUTED)
  except importlib.metadata.PackageNotFoundError:
    version = f"{cv2.__version__}.*"
  if importlib.util.find_spec("pip"):
    install = [sys.executable, "-m", "pip", "install", "--force-reinstall"]
  else:  # An environment made by uv has no pip.
    install = ["uv", "pip", "install", f"--python={sys.executable}",
               "--reinstall"]
  return shlex.join([*install, "--no-deps", f"{_CONTRIBUTED}=={version}"])


def _reduce(image, longest_side):
  height, width = image.shape[:2]
  scale = longest_side / max(height, width)
  if longest_side <= 0 or scale >= 1:
    return image
  size = max(1, round(width * scale)), max(1, round(height * scale))
  return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def _edge_boxes(image, settings):
  """Returns [N, 4] (x, y, width, height) pixels and [N] scores."""
  if settings.edge_model:
    strength, orientation = edges.learned_edges(image, settings.edge_model)
  else:
    strength, orientation = edges.gradient_edges(
        image, settings.edge_sigma, settings.edge_percentile)
  if not np.any(strength):
    return np.zeros([0, 4]), np.zeros([0])
  finder = cv2.ximgproc.createEdgeBoxes(
      alpha=settings.alpha, beta=settings.beta, eta=settings.eta,
      minScore=settings.min_score,
      # Small and repeated boxes go later, so ask for some to spare.
      maxBoxes=2 * settings.max_proposals,
      edgeMinMag=settings.edge_min_mag,
      edgeMergeThr=settings.edge_merge_thr,
      clusterMinMag=settings.cluster_min_mag,
      maxAspectRatio=settings.max_aspect_ratio,
      minBoxArea=settings.min_box_area, gamma=settings.gamma,
      kappa=settings.kappa)
  rectangles, scores = finder.getBoundingBoxes(strength, orientation)
  if not len(rectangles):  # Then the scores are None.
    return np.zeros([0, 4]), np.zeros([0])
  rectangles = np.reshape(rectangles, [-1, 4]).astype(np.float64)
  # OpenCV counts its pixels from 1 here, and an edge runs through the middle
  # of its pixel.
  rectangles[:, :2] -= 0.5
  return rectangles, np.reshape(scores, [-1])


def _selective_search(image, mode):
  """Returns [N, 4] (x, y, width, height) pixels, best first."""
  search = cv2.ximgproc.segmentation.createSelectiveSearchSegmentation()
  search.setBaseImage(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
  {"fast": search.switchToSelectiveSearchFast,
   "quality": search.switchToSelectiveSearchQuality,
   "single": search.switchToSingleStrategy}[mode]()
  # Its ranking draws from the C library's generator, not from OpenCV's.
  with _C_GENERATOR:
    if os.name == "posix":
      ctypes.CDLL(None).srand(1)
    return np.reshape(search.process(), [-1, 4])
