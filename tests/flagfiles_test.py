"""Every recipe in flags/ is one that kdwsd.train takes, and says what it is."""

import pathlib
import re
import subprocess
import sys

import pytest

from kdwsd import demo
from kdwsd.training import config as config_lib
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_FLAGFILES = sorted(_ROOT.glob("flags/**/*.flags"))
_SHARED = "common"


def _names(paths):
  return [path.relative_to(_ROOT).as_posix() for path in paths]


@pytest.mark.parametrize("name", _names(_FLAGFILES))
def test_train_takes_it(name):
  # absl parses, validates and leaves before `main`. A process of its own: the
  # binaries define flags of the same names.
  extra = ["--data=x", "--workdir=y"] if f"/{_SHARED}/" in name else []
  done = subprocess.run(
      [sys.executable, "-m", "kdwsd.train", f"--flagfile={name}", *extra,
       "--only_check_args"],
      cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", _names(
    path for path in _FLAGFILES if path.parent.name != _SHARED))
def test_says_what_data_it_needs_and_what_to_expect(name):
  lines = (_ROOT / name).read_text(encoding="utf-8").splitlines()
  header = "\n".join(line for line in lines if line.startswith("#"))
  assert lines[0].startswith("# ")
  assert "# Data: " in header or "# Same scenes" in header
  assert "# Expected" in header
  flags = [line for line in lines if line.startswith("--")]
  assert all("=" in flag and " " not in flag for flag in flags), flags


@pytest.mark.parametrize("name", _names(
    path for path in _FLAGFILES if path.parent.name != _SHARED))
def test_sets_only_what_its_stage_reads(name):
  given = re.findall(
      "^--(.*)=", (_ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
  assert given
  stages = ({pathlib.Path(name).stem} if "/demo/" not in name
            else set(setting.STAGES))
  assert stages <= set(setting.STAGES)
  assert [flag for flag in given if flag != "flagfile"
          and not stages & set(topics.SETTINGS[flag].stages)] == []


@pytest.mark.parametrize("stage", setting.STAGES)
def test_the_demo_sets_what_a_config_may_have(stage):
  config = config_lib.Config(classes=("a",), **demo.SETTINGS[stage])
  assert (config.backbone, config.eval_size) == ("small", 144)


def test_a_mistyped_flag_is_refused(tmp_path):
  flagfile = tmp_path / "bad.flags"
  flagfile.write_text("--leaning_rate=1\n", encoding="utf-8")
  done = subprocess.run(
      [sys.executable, "-m", "kdwsd.train", f"--flagfile={flagfile}",
       "--only_check_args"],
      cwd=_ROOT, capture_output=True, text=True, timeout=600, check=False)
  assert done.returncode != 0
  assert "leaning_rate" in done.stderr


def test_there_is_one_for_each_data_set():
  folders = {path.parent.name for path in _FLAGFILES}
  assert folders >= {"demo", "voc07", "coco14", "nuswide", "vocmini"}
