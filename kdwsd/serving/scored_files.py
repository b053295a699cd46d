"""Image files, read and scored by a predictor in order."""

import contextlib
import itertools

from kdwsd import beside
from kdwsd import errors
from kdwsd.data import images
from kdwsd.serving import predictors


def scored(predictor, found, settings=None, *, batch_size=1, fill=False,
           max_pixels=images.DEFAULT_MAX_PIXELS, read_ahead=False):
  """Reads and scores files in order.

  Args:
    predictor: a `predictors.Predictor`.
    found: list of `image_files.ImageFile`.
    settings: `proposals.Settings` for a detector, else None.
    batch_size: images in a forward pass.
    fill: whether smaller batches are filled up, see `predictors.score`.
    max_pixels: larger images are rejected.
    read_ahead: whether to read the images of the next batch while the model
      scores one. In one thread: Pillow's limit of pixels and OpenCV's models
      are shared by all.

  Yields:
    (the `ImageFile`, its `predictors.Image` or None, its `predictors.Scores` or
    the `errors.InputError` with the reason why it could not be scored).

  Raises:
    errors.InputError: see `predictors.score`.
  """

  def read_one(file):
    try:
      if file.problem:
        raise errors.InputError(f"{file.path}: {file.problem}")
      return predictors.read(file.path, settings, max_pixels=max_pixels)
    except errors.InputError as error:
      return error

  with contextlib.closing(beside.mapped(
      read_one, found, num_threads=int(read_ahead),
      most_waiting=2 * batch_size)) as outcomes:
    for start in range(0, len(found), batch_size):
      files = found[start:start + batch_size]
      taken = list(itertools.islice(outcomes, len(files)))
      batch = [one for one in taken if isinstance(one, predictors.Image)]
      scores = iter(predictors.score(
          predictor, batch, fill_to=batch_size * fill) if batch else ())
      for file, outcome in zip(files, taken):
        if isinstance(outcome, errors.InputError):
          yield file, None, outcome
        else:
          yield file, outcome, next(scores)
