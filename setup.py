"""Installs kdwsd: ranges here, the exact versions in .ci/constraints-*.txt.

The requirements are those of two lanes: TensorFlow 2.15 on Python 3.9 to 3.11
(classic), TensorFlow 2.20 on 3.12 and 3.13 (modern). LANE=modern in the
environment chooses the modern one on Python 3.10 and 3.11.
"""

import os
import sys

# Before anything else, and in words every Python can parse: TensorFlow has no
# wheel for other versions, and pip would say only that it found none.
_LANE = os.environ.get("LANE", "")
_PYTHON = "Received: Python %d.%d (%s)" % (
    sys.version_info[:2] + (sys.executable,))
_OTHER_PYTHON = (
    "\nName another one:  PYTHON=python3.11 make demo\n"
    "or let uv bring it: uv venv --seed --python 3.11 && "
    ". .venv/bin/activate")
if _LANE not in ("", "classic", "modern"):
  sys.exit(
      "error: LANE: expected classic (TensorFlow 2.15), modern (TensorFlow "
      "2.20), or nothing. Received: %s." % _LANE)
if not (3, 9) <= sys.version_info[:2] <= (3, 13):
  sys.exit(
      "error: kdwsd needs Python 3.9 to 3.13, the versions that TensorFlow "
      "2.15 or 2.20 run on. %s.%s" % (_PYTHON, _OTHER_PYTHON))
if _LANE == "classic" and sys.version_info[:2] > (3, 11):
  sys.exit(
      "error: LANE=classic needs Python 3.9, 3.10 or 3.11, the versions that "
      "TensorFlow 2.15 runs on. %s.%s" % (_PYTHON, _OTHER_PYTHON))
if _LANE == "modern" and sys.version_info[:2] < (3, 10):
  sys.exit(
      "error: LANE=modern needs Python 3.10 to 3.13, the versions that "
      "tf-models-official 2.20 runs on. %s.%s" % (
          _PYTHON, _OTHER_PYTHON.replace("3.11", "3.12")))

import pathlib  # noqa: E402
import re  # noqa: E402

import setuptools  # noqa: E402

# Folders of the checkout that the package reads (kdwsd/shipped.py).
_SHARE = {"kdwsd.share.%s" % folder: folder
          for folder in ("docs", "export", "flags")}

_BOTH = [
    "absl-py>=1.4",
    "defusedxml>=0.7",
    "grpcio>=1.59",
    "h5py>=3.9",
    # TensorFlow Datasets imports it to build a data set, and asks for it below
    # Python 3.10 only.
    "importlib_resources>=6",
    "Jinja2>=3.1,<4",
    "matplotlib>=3.7",
    "Pillow>=10",
    "prometheus_client>=0.20,<1",
    "psutil>=5.9",
    "pycocotools>=2.0.7",
    "PyYAML>=6",
    "scipy>=1.11",
    # TensorBoard and TensorFlow Hub import pkg_resources, which 82 removed.
    "setuptools<82",
    "tensorflow-datasets>=4.9",
    # 6.5 is the last one for Python 3.9 and 3.10.
    "tornado>=6.5,<7",
    "tqdm>=4.65",
]
# tf-models-official brings opencv-python-headless, which owns the same folder
# as the contrib one: both must be of the same version, and the contrib one
# installed last (`make` does both).
_CLASSIC = [
    "keras>=2.15,<2.16",
    "numpy>=1.26,<2",
    "opencv-contrib-python-headless>=4.8,<4.12",
    "opencv-python-headless>=4.8,<4.12",
    "tensorflow>=2.15.1,<2.16",
    # With Keras 2.15 and tf-models-official 2.15 the one line of versions on
    # which all three work together.
    "tensorflow-addons>=0.23,<0.24",
    # 1.18 and later speak a protobuf that TensorFlow 2.15 cannot load.
    "tensorflow-metadata>=1.15,<=1.17.2",
    # Protos only: of warm-up requests, and of the gRPC API. Left free, it would
    # bring a later TensorFlow.
    "tensorflow-serving-api>=2.15.1,<2.16",
    "tf-models-official>=2.15,<2.16",
]
_MODERN = [
    "numpy>=2,<3",
    # 4.12 is the first for NumPy 2.
    "opencv-contrib-python-headless>=4.12,<6",
    "opencv-python-headless>=4.12,<6",
    "tensorflow>=2.20,<2.21",
    "tensorflow-serving-api>=2.20,<2.21",
    # Keras 2, which TF_USE_LEGACY_KERAS=1 puts in place of Keras 3.
    "tf_keras>=2.20,<2.21",
    "tf-models-official>=2.20,<2.21",
]


# CUDA's libraries: packages of NVIDIA whose versions TensorFlow chooses.
_CLASSIC_CUDA = ["tensorflow[and-cuda]>=2.15.1,<2.16"]
_MODERN_CUDA = ["tensorflow[and-cuda]>=2.20,<2.21"]


def _of_lanes(classic, modern):
  """The requirements of both lanes by Python, or of the modern one alone."""
  if _LANE == "modern":
    return modern
  return (["%s; python_version < '3.12'" % text for text in classic]
          + ["%s; python_version >= '3.12'" % text for text in modern])


def _description():
  """README.md without picture and links to pages that PyPI does not have."""
  readme = pathlib.Path(__file__).with_name("README.md")
  text = re.sub(r"^!\[.*\n\n\*[^*]*\*\n\n", "",  # With its caption.
                readme.read_text(encoding="utf-8"), flags=re.MULTILINE)
  return re.sub(r"\[([^]]*)\]\((?!https?:)[^)]*\)", r"\1", text)


setuptools.setup(
    long_description=_description(),
    long_description_content_type="text/markdown",
    # kdwsd only: no top-level package named benchmarks or tests.
    packages=[
        *setuptools.find_packages(include=["kdwsd", "kdwsd.*"]), *_SHARE],
    package_dir=_SHARE,
    include_package_data=False,
    package_data={"kdwsd.reporting": ["templates/*"],
                  **{package: ["*.*", "*/*.*"] for package in _SHARE}},
    exclude_package_data={"": ["*.pyc"]},
    install_requires=_BOTH + _of_lanes(_CLASSIC, _MODERN),
    extras_require={
        # The first that runs on all Pythons of both lanes, Python 3.13 among
        # them. It does not accept all locked versions of its dependencies.
        "beam": ["apache-beam>=2.69,<3"],
        # For NVIDIA GPUs; only Linux has the packages that it needs.
        "cuda": _of_lanes(_CLASSIC_CUDA, _MODERN_CUDA),
        # Second opinions in the tests, and the linter.
        "dev": [
            "hypothesis>=6.90",
            "pytest>=7.4",
            "pytest-xdist>=3.5",
            "ruff>=0.4",
            "scikit-learn>=1.3",
        ],
    },
)
