"""The smallest structured forest OpenCV reads: two trees of one question.

Where the gradient in the middle of a patch is strong, four pixels there are an
edge. OpenCV's own trained forest is a download of megabytes.
"""

import os

_OPTIONS = dict(
    stride=2, shrinkNumber=2, patchSize=32, patchInnerSize=16,
    numberOfGradientOrientations=4, gradientSmoothingRadius=0,
    regFeatureSmoothingRadius=2, ssFeatureSmoothingRadius=8,
    gradientNormalizationRadius=4, selfsimilarityGridSize=5, numberOfTrees=2,
    numberOfTreesToEvaluate=1)


def write(directory):
  """Writes the forest; returns its path."""
  # Channels: 3 of colour, then the gradient's strength; 16 x 16 cells each.
  middle_strength = 3 * 16 * 16 + 8 * 16 + 8
  # Node 0 asks, 1 is the leaf of weak gradients, 2 that of strong ones. Bins
  # are pixels of the 16 x 16 inner patch.
  lists = {
      "childs": [[2, 0, 0]] * 2,
      "featureIds": [[middle_strength, 0, 0]] * 2,
      "thresholds": [[0.5, 0.0, 0.0]] * 2,
      "edgeBoundaries": [[0, 0, 0], [4, 4, 4, 8]],
      "edgeBins": [[8 * 16 + 8, 8 * 16 + 7, 7 * 16 + 8, 7 * 16 + 7]] * 2,
  }
  lines = ["%YAML:1.0", "options:"]
  lines += [f"   {name}: {value}" for name, value in _OPTIONS.items()]
  for name, rows in lists.items():
    lines += [f"{name}:"] + [f"   - {row}" for row in rows]
  path = os.path.join(directory, "forest.yml")
  with open(path, "w", encoding="utf-8") as file:
    file.write("\n".join(lines) + "\n")
  return path
