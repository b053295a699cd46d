"""How a detector's proposals were made, so that new images get such too."""

import dataclasses
import os

from kdwsd.data import proposals

_COMPUTED = ("edge_boxes", "selective_search")


def settings(recorded, num_proposals):
  """Settings for new images of a detector that was trained on records.

  Args:
    recorded: `proposals` of the records' card, see `kdwsd.data.cards`; None
      where it is not known.
    num_proposals: that the detector takes.

  Returns:
    (a `proposals.Settings` with a method that can be computed; a remark for
    the user where they are not the recorded ones, else None).
  """
  fallback = proposals.Settings(max_proposals=num_proposals)
  if not isinstance(recorded, dict) or "method" not in recorded:
    return fallback, (
        "The settings of the proposals it was trained on are not known; "
        "EdgeBoxes' defaults are used.")
  if recorded["method"] not in _COMPUTED:
    return fallback, (
        "It was trained on proposals that came with the data (method "
        f"{recorded['method']}); for new images EdgeBoxes makes them.")
  known = {field.name for field in dataclasses.fields(proposals.Settings)}
  values = {name: value for name, value in
            (recorded.get("settings") or {}).items() if name in known}
  remark = None
  model = values.get("edge_model")
  if model and not os.path.exists(model):
    # The thresholds belong to the edges: those of gradients come with them.
    for name in ("edge_model", "min_score", "edge_min_mag", "kappa"):
      values.pop(name, None)
    remark = (f"Its proposals were made with the edge model {model}, which is "
              "not there; image gradients are used.")
  return proposals.Settings(method=recorded["method"], **values), remark
