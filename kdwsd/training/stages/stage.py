"""The interface between a stage and the training run."""

import dataclasses
from typing import Any
from typing import Callable
from typing import Optional

from kdwsd.data import device_resize


@dataclasses.dataclass(frozen=True)
class Stage:
  """A stage with its model built.

  Attributes:
    model: trackable that checkpoints save under `model`.
    variables: list of the trained variables.
    step: function of (batch, dropout_seeds [B, 2]) to a dictionary of [B]
      float32 losses, for one replica; `loss` is minimised.
    loss_names: keys of that dictionary.
    sizes: image sizes in training; one is drawn for each batch.
    initialize: function without arguments that sets the initial weights of a
      new run; not called on resuming.
    score: function of an evaluation batch, see `inference.predict`; None if
      the stage uses no labels and has no validation.
    add_to_batches: function from a dataset of training batches to one whose
      batches have more entries; None to change nothing.
    prepare: function of such a batch to the one that `step` takes, for images
      that are warped on the device; None if they are the same. For others,
      `add_to_batches` does the same.
  """
  model: Any
  variables: list
  step: Callable
  loss_names: tuple[str, ...]
  sizes: tuple[int, ...]
  initialize: Callable
  score: Optional[Callable]
  add_to_batches: Optional[Callable] = None
  prepare: Optional[Callable] = None

  def warp_and_prepare(self, batch):
    """Makes of a batch with unwarped images, on the device, what `step` takes.

    Args:
      batch: from `input_pipeline.training_batches` with `resize=False`, with
        the entries that `add_to_batches` adds.

    Returns:
      The batch for `step`.
    """
    batch = device_resize.warp(batch, self.sizes)
    return self.prepare(batch) if self.prepare else batch
