"""What a run needs to know of a stage."""

import dataclasses
from typing import Any
from typing import Callable
from typing import Optional


@dataclasses.dataclass(frozen=True)
class Stage:
  """One stage, built.

  Attributes:
    model: trackable that checkpoints hold under `model`.
    variables: list of those that are trained.
    step: function of (batch, dropout_seeds [B, 2]) to a dictionary of [B]
      float32 losses; `loss` is minimised. One replica's view.
    loss_names: the keys of that dictionary.
    sizes: image sides in training, one drawn for each batch.
    initialize: function without arguments that gives a new run the weights it
      starts from; not called on resuming.
    score: function of an evaluation batch, see `inference.predict`; None where
      a stage knows no labels.
    add_to_batches: function of a dataset of training batches to one with more
      in its batches; None for nothing.
  """
  model: Any
  variables: list
  step: Callable
  loss_names: tuple[str, ...]
  sizes: tuple[int, ...]
  initialize: Callable
  score: Optional[Callable]
  add_to_batches: Optional[Callable] = None
