"""Proposal settings for new images, taken from a detector's records."""

import dataclasses

from kdwsd import places
from kdwsd.data import proposals

_COMPUTED = ("edge_boxes", "selective_search")


def settings(recorded, num_proposals):
  """Chooses how to compute proposals of new images.

  Args:
    recorded: `proposals` of the records' card, see `kdwsd.data.cards`, or None
      if unknown.
    num_proposals: number of proposals that the detector takes.

  Returns:
    (a `proposals.Settings` whose method can be computed; a remark for the user
    if the settings differ from the recorded ones, else None).
  """
  fallback = proposals.Settings(max_proposals=num_proposals)
  if not isinstance(recorded, dict) or "method" not in recorded:
    return fallback, (
        "The proposal settings of its training data are unknown; EdgeBoxes "
        "runs with its defaults.")
  if recorded["method"] not in _COMPUTED:
    return fallback, (
        "It was trained on proposals supplied with the data (method "
        f"{recorded['method']}); for new images EdgeBoxes computes them.")
  known = {field.name for field in dataclasses.fields(proposals.Settings)}
  values = {name: value for name, value in
            (recorded.get("settings") or {}).items() if name in known}
  remark = None
  model = values.get("edge_model")
  if model and not places.exists(model):
    # Thresholds depend on the kind of edges: gradients have their own.
    for name in ("edge_model", "min_score", "edge_min_mag", "kappa"):
      values.pop(name, None)
    remark = (f"Its proposals were computed with the edge model {model}, which "
              "does not exist here; image gradients are used instead.")
  return proposals.Settings(method=recorded["method"], **values), remark
