"""New images get proposals as the records had them, where that can be."""

import dataclasses

from kdwsd.data import proposals
from kdwsd.serving import recorded_proposals


def _recorded(settings):
  content = settings.as_dict()
  return {"method": content.pop("method"), "settings": content}


def test_computed_settings_come_back_whole():
  for made in (
      proposals.Settings(max_proposals=64, min_side_pixels=12, kappa=1.6),
      proposals.Settings(method="selective_search",
                         selective_search_mode="single")):
    settings, remark = recorded_proposals.settings(_recorded(made), 8)
    assert settings == made
    assert remark is None


def test_unknown_ones_are_remarked_on():
  settings, remark = recorded_proposals.settings(None, 77)
  assert settings == proposals.Settings(max_proposals=77)
  assert "unknown" in remark


def test_given_ones_cannot_be_had_for_new_images():
  settings, remark = recorded_proposals.settings(
      {"method": "datalist", "settings": {"max_proposals": 2000}}, 500)
  assert settings == proposals.Settings(max_proposals=500)
  assert "datalist" in remark


def test_a_lost_edge_model_takes_its_thresholds_along(tmp_path):
  there = tmp_path / "model.yml.gz"
  there.write_bytes(b"")
  made = proposals.Settings(edge_model=str(there), max_proposals=9)
  assert recorded_proposals.settings(_recorded(made), 8) == (made, None)
  there.unlink()
  settings, remark = recorded_proposals.settings(_recorded(made), 8)
  assert settings == dataclasses.replace(
      made, edge_model=None, min_score=None, edge_min_mag=None, kappa=None)
  assert str(there) in remark


def test_settings_of_another_version_are_passed_over():
  settings, _ = recorded_proposals.settings(
      {"method": "edge_boxes", "settings": {"alpha": 0.5, "novel": 1}}, 8)
  assert settings.alpha == 0.5
