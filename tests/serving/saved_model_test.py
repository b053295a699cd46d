"""Versions on disk: what a server may see, and when."""

import multiprocessing
import os
import resource
import signal
import stat
import time

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.serving import saved_model
from tests.serving import fakes


def _publish(directory, version=None, content="x"):
  with saved_model.new_version(str(directory), version) as (folder, number):
    with open(os.path.join(folder, "file"), "w", encoding="utf-8") as file:
      file.write(content)
  return number


def test_numbers_count_up_from_one(tmp_path):
  assert [_publish(tmp_path / "m") for _ in range(3)] == [1, 2, 3]
  assert _publish(tmp_path / "m", 40) == 40
  assert _publish(tmp_path / "m") == 41
  assert saved_model.versions(str(tmp_path / "m")) == [1, 2, 3, 40, 41]


def test_what_is_no_version_is_not_counted(tmp_path):
  for name in ("007", "seven", ".partial-x", "1.0", "-1", "３"):
    (tmp_path / name).mkdir()
  (tmp_path / "12").write_text("a file", encoding="utf-8")
  assert saved_model.versions(str(tmp_path)) == []
  assert saved_model.versions(str(tmp_path / "nowhere")) == []
  assert _publish(tmp_path) == 1


def test_an_existing_version_stays_as_it_is(tmp_path):
  _publish(tmp_path, 5, "old")
  with pytest.raises(errors.InputError, match="5: expected a version that doe"):
    _publish(tmp_path, 5, "new")
  assert (tmp_path / "5" / "file").read_text(encoding="utf-8") == "old"
  assert sorted(os.listdir(tmp_path)) == ["5"]


@pytest.mark.parametrize("version", [-1, 2 ** 63])
def test_numbers_that_no_server_keeps_are_refused(tmp_path, version):
  with pytest.raises(errors.InputError, match="--version"):
    _publish(tmp_path / "m", version)
  assert not (tmp_path / "m").exists()


def test_nothing_is_a_version_until_the_end(tmp_path):
  with saved_model.new_version(str(tmp_path)) as (folder, version):
    assert version == 1
    assert os.path.dirname(folder) == str(tmp_path)  # Same file system.
    assert not os.path.basename(folder).isdigit()
    assert saved_model.versions(str(tmp_path)) == []
  assert os.listdir(tmp_path) == ["1"]


def test_everybody_may_read_a_version(tmp_path):
  before = os.umask(0o077)
  try:
    with saved_model.new_version(str(tmp_path)) as (folder, _):
      os.makedirs(os.path.join(folder, "variables"))
      with open(os.path.join(folder, "variables", "x"), "wb"):
        pass
  finally:
    os.umask(before)

  def mode(*parts):
    return stat.S_IMODE(os.stat(tmp_path.joinpath(*parts)).st_mode)

  assert mode("1") == mode("1", "variables") == 0o755
  assert mode("1", "variables", "x") == 0o644


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_nothing_not_even_the_directory(tmp_path, error):
  target = tmp_path / "a" / "b"
  with pytest.raises(error), saved_model.new_version(str(target)) as (folder,
                                                                      _):
    with open(os.path.join(folder, "half"), "wb"):
      pass
    raise error()
  assert os.listdir(tmp_path) == []


def test_failure_spares_versions_there(tmp_path):
  _publish(tmp_path)
  with pytest.raises(RuntimeError), saved_model.new_version(str(tmp_path)):
    raise RuntimeError()
  assert os.listdir(tmp_path) == ["1"]


def _hold(directory, ready):
  with saved_model.new_version(directory):
    ready.set()
    time.sleep(3600)


def test_a_killed_export_leaves_no_version_and_the_next_one_cleans_up(tmp_path):
  context = multiprocessing.get_context("fork")
  ready = context.Event()
  process = context.Process(target=_hold, args=(str(tmp_path), ready))
  process.start()
  assert ready.wait(300)
  # Meanwhile another one is refused, and leaves the first alone.
  with pytest.raises(errors.InputError, match="no other export running"):
    _publish(tmp_path)
  (left,) = os.listdir(tmp_path)
  os.kill(process.pid, signal.SIGKILL)
  process.join()
  assert os.listdir(tmp_path) == [left]
  assert not left.isdigit()
  assert saved_model.versions(str(tmp_path)) == []
  assert _publish(tmp_path) == 1
  assert os.listdir(tmp_path) == ["1"]


def test_place_that_cannot_be_written_is_one_clear_line(tmp_path):
  (tmp_path / "file").write_text("x", encoding="utf-8")
  for place in (tmp_path / "file", tmp_path / "file" / "models"):
    with pytest.raises(errors.InputError, match="--output: .*a writable"):
      _publish(place)
  assert os.listdir(tmp_path) == ["file"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_place_without_permission(tmp_path):
  tmp_path.chmod(0o555)
  with pytest.raises(errors.InputError, match="Permission denied"):
    _publish(tmp_path / "models")


def _write_with_little_room(directory, told):
  # Of the file size, which the kernel checks where it checks for room.
  signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
  try:
    with saved_model.new_version(directory) as (folder, _):
      saved_model.write(fakes.servable_student(), folder)
  except errors.InputError as error:
    told.put(str(error))
  else:
    told.put("")


def test_a_full_disk_is_one_clear_line_and_leaves_nothing(tmp_path):
  context = multiprocessing.get_context("spawn")
  told = context.Queue()
  process = context.Process(
      target=_write_with_little_room, args=(str(tmp_path / "m"), told))
  process.start()
  message = told.get(timeout=600)
  process.join()
  assert "expected" in message and "Received: " in message
  assert len(message.splitlines()) == 1
  assert os.listdir(tmp_path) == []


@pytest.fixture(scope="module", name="exported")
def fixture_exported(tmp_path_factory):
  directory = str(tmp_path_factory.mktemp("models"))
  with saved_model.new_version(directory) as (folder, _):
    saved_model.write(fakes.servable_student(), folder)
    saved_model.write_metadata(folder, {"stage": "cls"})
  return directory


def test_an_export_has_its_parts(exported):
  path = saved_model.find(exported)
  assert path == os.path.join(exported, "1")
  assert saved_model.find(path) == path
  assert saved_model.read_classes(path) == fakes.CLASSES
  assert saved_model.read_metadata(path) == {"stage": "cls"}
  assert os.path.getsize(os.path.join(path, "variables", "variables.index"))


def test_find_takes_the_highest_number(tmp_path):
  for version in (2, 10, 9):
    _publish(tmp_path, version)
  assert saved_model.find(str(tmp_path)) == str(tmp_path / "10")
  with pytest.raises(errors.InputError, match="no version there"):
    saved_model.find(str(tmp_path / "10" / "file"))


def test_graph_has_stock_operations_in_float32(exported):
  content = tf.saved_model.load(saved_model.find(exported))
  del content  # It loads.
  from tensorflow.core.protobuf import saved_model_pb2
  proto = saved_model_pb2.SavedModel()
  with open(os.path.join(exported, "1", "saved_model.pb"), "rb") as file:
    proto.ParseFromString(file.read())
  (graph,) = proto.meta_graphs
  nodes = [*graph.graph_def.node, *(
      node for function in graph.graph_def.library.function
      for node in function.node_def)]
  assert len(nodes) > 100
  types = {value.type for node in nodes for value in node.attr.values()}
  assert tf.bfloat16.as_datatype_enum not in types
  assert tf.float16.as_datatype_enum not in types
  operations = {node.op for node in nodes}
  assert not {name for name in operations
              if "Py" in name or "XlaLaunch" in name or "Addons" in name}
  assert not any("_XlaMustCompile" in node.attr
                 and node.attr["_XlaMustCompile"].b for node in nodes)
  methods = {name: signature.method_name
             for name, signature in graph.signature_def.items()}
  assert methods["classify"] == "tensorflow/serving/classify"
  assert methods["serving_default"] == "tensorflow/serving/predict"
