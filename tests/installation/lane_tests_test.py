"""The tests that may differ by lane are found by what they import."""

import re

import pytest

from tests.installation import loading

lane_tests = loading.load("lane_tests")
_FOUND = lane_tests.lane_tests(loading.ROOT)


def _project(folder, files):
  for path, text in files.items():
    (folder / path).parent.mkdir(parents=True, exist_ok=True)
    (folder / path).write_text(text, encoding="utf-8")
  return lane_tests.lane_tests(folder)


@pytest.mark.parametrize("text,found", [
    ("import tensorflow as tf", True),
    ("def test():\n  from google.protobuf import json_format", True),
    ("import numpy\nimport google_fonts", False),
    ("from kdwsd.data import records", True),
    ("import kdwsd.data.records", True),
    ("from kdwsd.data import above", False),  # Imports one that differs.
    ("from tests import support", True),
    ("RUN = ['python', '-m', 'kdwsd.data.records']", True),
    ("RUN = 'kdwsd.data.none'", False),
    ("CODE = 'import sys; import cv2'", True),
    ("NAMES = ['sys', 'tensorflow.compat.v2']", True),
    ("WORDS = 'as tensorflow does'", False),
])
def test_a_test_is_found_by_what_it_and_its_modules_import(
    tmp_path, text, found):
  assert _project(tmp_path, {
      "kdwsd/__init__.py": "",
      "kdwsd/data/__init__.py": "",
      "kdwsd/data/records.py": "import tensorflow",
      "kdwsd/data/above.py": "from kdwsd.data import records",
      "tests/support.py": "from tests import more",
      "tests/more.py": "from kdwsd.data import records",
      "tests/data/one_test.py": text,
  }) == (["tests/data/one_test.py"] if found else [])


def test_every_test_file_that_imports_tensorflow_is_found():
  direct = {
      path.relative_to(loading.ROOT).as_posix()
      for path in loading.ROOT.glob("tests/**/*_test.py")
      if re.search(r"^ *(import|from) (tensorflow|cv2|official)\b",
                   path.read_text("utf-8"), re.MULTILINE)}
  assert len(direct) > 50
  assert direct <= set(_FOUND)


@pytest.mark.parametrize("name,found", [
    ("tests/modeling/losses_test.py", True),
    ("tests/data/edges_test.py", True),  # OpenCV.
    ("tests/serving/server/rest_test.py", True),  # protobuf, in the module.
    ("tests/train_test.py", True),
    ("tests/data/texts_test.py", False),
    ("tests/docs_test.py", False),
])
def test_the_list_has_what_differs_and_not_everything(name, found):
  assert (loading.ROOT / name).exists()
  assert (name in _FOUND) == found
