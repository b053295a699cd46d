"""Keras 2 for kdwsd, whatever was imported before it.

Each case is a process of its own. The fakes stand for TensorFlow and its two
Keras packages, so that all cases are seen with every TensorFlow.
"""

import os
import pathlib
import subprocess
import sys
import textwrap

import pytest
import tensorflow as tf

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_KERAS_3_IS_THERE = tuple(map(int, tf.__version__.split(".")[:2])) >= (2, 16)

# TensorFlow's way: tf.keras is one of the two when it is first used, which the
# variable decides; `import tensorflow.keras` is decided when TensorFlow is
# imported.
_TENSORFLOW = """
    import importlib.util, os
    __version__ = "{version}"
    def name():
      legacy = os.environ.get("TF_USE_LEGACY_KERAS") in ("1", "true", "True")
      return "tf_keras.api._v2" if legacy else "keras.api._v2"
    class Lazy:
      def __getattr__(self, attribute):
        globals()["keras"] = importlib.import_module(name() + ".keras")
        return getattr(keras, attribute)
    keras = Lazy()
    package = importlib.util.find_spec(name())
    __path__ = [os.path.dirname(package.origin), *__path__]
    """


@pytest.fixture(name="fakes")
def fixture_fakes(tmp_path):
  """Function of (TensorFlow's version, with tf_keras) that returns a folder."""

  def write(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text), encoding="utf-8")

  def make(version, legacy=True):
    write(tmp_path / "tensorflow" / "__init__.py",
          _TENSORFLOW.format(version=version))
    write(tmp_path / f"tensorflow-{version}.dist-info" / "METADATA")
    # Not to be taken for TensorFlow.
    write(tmp_path / "tensorflow_metadata-1.2.0.dist-info" / "METADATA")
    for package in ["keras", *["tf_keras"] * legacy]:
      for folder in ("", "api", "api/_v2"):
        write(tmp_path / package / folder / "__init__.py")
      write(tmp_path / package / "api/_v2/keras/__init__.py",
            f"""
            class Model:
              __module__ = "{package}.src"
            """)
    return tmp_path

  return make


def _run(*arguments, folder=None, variable=None):
  paths = [str(_ROOT)] if folder is None else [str(folder), str(_ROOT)]
  environment = {name: value for name, value in os.environ.items()
                 if name != "TF_USE_LEGACY_KERAS"}
  environment.update(PYTHONPATH=os.pathsep.join(paths),
                     TF_CPP_MIN_LOG_LEVEL="3")
  if variable is not None:
    environment["TF_USE_LEGACY_KERAS"] = variable
  return subprocess.run(
      # -S: without the real packages.
      [sys.executable, *["-S"] * (folder is not None), *arguments],
      capture_output=True, text=True, timeout=300, check=False, env=environment)


def _python(code, **options):
  done = _run("-c", code, **options)
  assert done.returncode == 0, done.stderr
  return done.stdout.split()


def _error(code, **options):
  done = _run("-c", code, **options)
  assert done.returncode == 1, done.stdout
  *_, last = done.stderr.splitlines()
  assert last.startswith("ImportError: kdwsd: "), done.stderr
  return last.removeprefix("ImportError: kdwsd: ")


_USED = "import tensorflow as tf; print(tf.keras.Model.__module__)\n"
_VARIABLE = "import os; print(os.environ.get('TF_USE_LEGACY_KERAS'))\n"


@pytest.mark.parametrize("version", ["2.16.1", "2.20.0", "2.100.0rc1", "3.0.0"])
def test_later_tensorflow_gets_keras_2(version, fakes):
  folder = fakes(version)
  told = _python("import kdwsd\n" + _VARIABLE + _USED, folder=folder)
  assert told == ["1", "tf_keras.src"]


@pytest.mark.parametrize("version", ["2.9.3", "2.15.1"])
@pytest.mark.parametrize("variable", [None, "0"])
def test_earlier_tensorflow_is_left_alone(version, variable, fakes):
  folder = fakes(version, legacy=False)
  told = _python("import kdwsd\n" + _VARIABLE + _USED, folder=folder,
                 variable=variable)
  assert told == [str(variable), "keras.src"]
  assert _python(_USED + "import kdwsd\n" + _USED, folder=folder,
                 variable=variable) == ["keras.src"] * 2


def test_neither_tensorflow_nor_keras_is_imported(fakes):
  told = _python("import sys, kdwsd; print(*sys.modules)",
                 folder=fakes("2.20.0"))
  assert "kdwsd" in told
  assert not {"tensorflow", "keras", "tf_keras"} & set(told)


def test_without_tensorflow_nothing_is_set(fakes):
  assert _python("import kdwsd\n" + _VARIABLE,
                 folder=fakes("2.20.0") / "empty") == ["None"]


def test_tensorflow_may_be_imported_first(fakes):
  told = _python("import tensorflow\nimport kdwsd\n" + _USED,
                 folder=fakes("2.20.0"))
  assert told == ["tf_keras.src"]


@pytest.mark.parametrize("first", ["kdwsd", "tensorflow"])
def test_imports_below_tensorflow_keras_find_keras_2(first, fakes):
  told = _python(
      f"import {first}\nimport kdwsd\n"
      "from tensorflow.keras import Model; print(Model.__module__)\n" + _USED,
      folder=fakes("2.20.0"))
  assert told == ["tf_keras.src"] * 2


def test_keras_3_itself_may_be_imported_first_and_stays(fakes):
  told = _python("import keras.api._v2.keras as keras_3\nimport kdwsd\n" + _USED
                 + "print(keras_3.Model.__module__)", folder=fakes("2.20.0"))
  assert told == ["tf_keras.src", "keras.src"]


@pytest.mark.parametrize("before", [
    _USED, "from tensorflow.keras import Model\n",
    "import tensorflow.keras\n", "from tensorflow import keras; keras.Model\n"])
def test_keras_3_as_tf_keras_is_told(before, fakes):
  message = _error(before + "import kdwsd", folder=fakes("2.20.0"))
  assert "Received: Keras 3, as tf.keras was used before" in message
  assert "import kdwsd first, or set TF_USE_LEGACY_KERAS=1" in message


@pytest.mark.parametrize("variable", ["1", "true", "True"])
def test_the_variable_may_be_set_beforehand(variable, fakes):
  told = _python(_USED + "import kdwsd\n" + _USED + _VARIABLE,
                 folder=fakes("2.20.0"), variable=variable)
  assert told == ["tf_keras.src", "tf_keras.src", variable]


def test_an_empty_variable_is_none(fakes):
  assert _python("import kdwsd\n" + _USED, folder=fakes("2.20.0"),
                 variable="") == ["tf_keras.src"]


@pytest.mark.parametrize("variable", ["0", "false", "yes"])
def test_another_wish_is_told(variable, fakes):
  assert _error("import kdwsd", folder=fakes("2.20.0"), variable=variable) == (
      "TF_USE_LEGACY_KERAS: expected 1, or no such variable, as kdwsd needs "
      f"Keras 2 (the package tf_keras). Received: {variable!r}.")


def test_missing_tf_keras_is_told_with_its_remedy(fakes):
  assert _error("import kdwsd", folder=fakes("2.20.0", legacy=False)) == (
      "expected the package tf_keras, Keras 2 for TensorFlow 2.20.0: pip "
      "install 'tf_keras==2.20.*'. Received: none.")


def test_a_program_says_it_in_one_line(fakes):
  done = _run("-m", "kdwsd.train", folder=fakes("2.20.0"), variable="0")
  assert done.returncode == 1
  assert "Received: '0'." in done.stderr
  assert done.stderr.count("\n") == 1


def test_the_command_says_it_in_one_line(fakes):
  folder = fakes("2.20.0")
  script = folder / "bin" / "kdwsd"  # As pip and uv write it.
  script.parent.mkdir()
  script.write_text("import sys\nfrom kdwsd.__main__ import command\n"
                    "sys.exit(command())\n", encoding="utf-8")
  done = _run(str(script), "--version", folder=folder, variable="0")
  assert done.returncode == 1
  assert done.stderr.startswith("error: TF_USE_LEGACY_KERAS: expected 1")
  assert done.stderr.count("\n") == 1
  assert _run(str(script), "--version", folder=folder).returncode == 0


@pytest.mark.parametrize("first", [
    "keras", *(pytest.param(first, marks=pytest.mark.slow)
               for first in ("kdwsd", "tensorflow"))])
def test_the_real_ones_in_each_order(first):
  told = _python(
      f"import {first}\nimport kdwsd\nimport tensorflow as tf\n"
      "from tensorflow.keras import layers\n"
      "layer = layers.Dense(3)\n"
      "model = tf.keras.Sequential([layer])\n"
      "print(*model(tf.ones([2, 4])).shape, type(layer).__module__)")
  assert told == [
      "2", "3", ("tf_keras" if _KERAS_3_IS_THERE else "keras")
      + ".src.layers.core.dense"]


def test_real_keras_3_as_tf_keras_is_told():
  done = _run("-c", _USED + "import kdwsd\n" + _USED)
  if not _KERAS_3_IS_THERE:
    assert done.stdout.split() == ["keras.src.engine.training"] * 2
  else:
    *_, last = done.stderr.splitlines()
    assert last.startswith("ImportError: kdwsd: expected that tf.keras is")
