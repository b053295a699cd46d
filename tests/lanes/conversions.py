"""Draws scenes and converts them: `python -m tests.lanes.conversions FOLDER`.

The images are of many widths, since vectors end differently at each.
"""

import os
import sys

import numpy as np

from kdwsd.data import conversion
from kdwsd.data import images
from kdwsd.data import proposals
from kdwsd.data import scenes
from kdwsd.data import sources
from kdwsd.data.sources import voc
from tests.data import forest


def main(folder):
  """Writes `scenes`, records of each kind, and `regions.npz`."""
  os.makedirs(folder)
  root = scenes.write(os.path.join(folder, "scenes"), num_train=10, num_test=4,
                      seed=3, image_side=150)
  settings = {
      "edge_boxes": proposals.Settings(max_proposals=60, longest_side=120),
      "learned": proposals.Settings(
          max_proposals=60, edge_model=forest.write(folder)),
      "selective_search": proposals.Settings(
          method="selective_search", max_proposals=1000)}
  for name, chosen in settings.items():
    for split in ("trainval", "test"):
      problems = sources.Problems()
      conversion.convert(
          voc.read(root, image_set=split, problems=problems),
          output=os.path.join(folder, name), split=split, problems=problems,
          proposal_settings=chosen, num_workers=0, progress=False)
  source = voc.read(root, image_set="test", problems=problems)
  np.savez(os.path.join(folder, "regions.npz"), **{
      item.image_id: proposals.propose(
          images.read(item.image_path).pixels, chosen)[0]
      for item in source.items})


if __name__ == "__main__":
  main(sys.argv[1])
