"""Records are the same bytes in both lanes."""

import os

import numpy as np
import pytest

from kdwsd import files
from tests.lanes import lane


@pytest.fixture(scope="module", name="made")
def fixture_made(tmp_path_factory):
  place = tmp_path_factory.mktemp("made")
  for name in ("other", "this"):
    lane.run(name, "tests.lanes.conversions", place / name)
  return place


def _contents(folder, ending):
  """{relative path: bytes} of the files of a folder."""
  found = {}
  for parent, _, names in os.walk(folder):
    for name in names:
      if name.endswith(ending):
        path = os.path.join(parent, name)
        with open(path, "rb") as file:
          found[os.path.relpath(path, folder)] = file.read()
  return found


def test_scenes_are_the_same(made):
  mine, others = (_contents(made / name / "scenes", "")
                  for name in ("this", "other"))
  assert len(mine) == 2 * 14 + 3  # Images, annotations, two lists and a note.
  assert mine == others


@pytest.mark.parametrize("kind", ["edge_boxes", "learned"])
def test_records_are_the_same(made, kind):
  mine, others = (_contents(made / name / kind, ".tfrecord")
                  for name in ("this", "other"))
  assert len(mine) == 2
  assert mine == others


def test_selective_search_finds_nearly_the_same_regions(made):
  # OpenCV 5 merges and ranks a few of them differently.
  mine, others = (dict(np.load(made / name / "regions.npz"))
                  for name in ("this", "other"))
  assert len(mine) == 4
  for image, regions in mine.items():
    assert len(regions) > 10
    common = {*map(tuple, regions)} & {*map(tuple, others[image])}
    assert len(common) > 0.9 * max(len(regions), len(others[image]))


def test_cards_differ_in_versions_only(made):
  for split in ("trainval", "test"):
    mine, others = (
        files.read_json(made / name / "edge_boxes" / f"{split}.json")
        for name in ("this", "other"))
    for card in (mine, others):
      del card["libraries"], card["fingerprint"], card["source"]
    assert mine == others
