"""Recall of proposals: counts the annotated objects that they cover."""

import numpy as np

from kdwsd import boxes as box_ops


def matched(truth_boxes, proposal_boxes, iou=0.5):
  """Counts the objects that at least one proposal covers.

  One proposal may cover several objects, as in J. Hosang et al., "What makes
  for effective detection proposals?", PAMI 2016, sec. 4, and the order of the
  proposals does not matter.

  Args:
    truth_boxes: [M, 4].
    proposal_boxes: [N, 4].
    iou: minimal intersection over union.

  Returns:
    An int from 0 to M.
  """
  truth_boxes = np.asarray(truth_boxes).reshape(-1, 4)
  proposal_boxes = np.asarray(proposal_boxes).reshape(-1, 4)
  if not len(truth_boxes) or not len(proposal_boxes):
    return 0
  overlaps = box_ops.pairwise_iou(truth_boxes, proposal_boxes)    # [M, N]
  return int(np.count_nonzero(overlaps.max(axis=1) >= iou))
