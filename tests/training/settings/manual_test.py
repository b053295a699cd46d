"""Tests of kdwsd.training.settings.manual."""

import pathlib

from kdwsd.training.settings import manual
from kdwsd.training.settings import topics

_ROOT = pathlib.Path(__file__).resolve().parents[3]


def test_the_page_of_the_documentation_is_up_to_date():
  # python -m kdwsd.training.settings.manual > docs/settings.md
  page = (_ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
  assert page == manual.page()


def test_help_names_each_flag_with_its_default_and_its_stages():
  text = manual.help_text()
  for name in topics.SETTINGS:
    assert f"\n  --{name}=" in text
  assert "\n  --train_sizes=480,576,672,736,832\n" in text
  sizes = text[text.index("--train_sizes="):text.index("--eval_size=")]
  assert "(read by wsd)" in sizes
  assert "\nOptimisation:\n" in text
  assert max(map(len, text.splitlines())) <= 80
