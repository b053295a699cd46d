"""The kit's files parse as TensorFlow Serving reads them, and fit together."""

import pathlib
import re
import shlex
import subprocess
import sys

from google.protobuf import descriptor_pb2
from google.protobuf import descriptor_pool
from google.protobuf import message_factory
from google.protobuf import text_format
from google.protobuf import wrappers_pb2
import pytest
from tensorflow_serving.config import model_server_config_pb2
import yaml

from tests.export_kit import kit

_README = (kit.FOLDER / "README.md").read_text(encoding="utf-8")
# With the page that explains what the kit's README starts.
_DOCUMENTS = _README + (
    kit.FOLDER.parent / "docs" / "serving.md").read_text(encoding="utf-8")


def _text(name):
  return (kit.FOLDER / name).read_text(encoding="utf-8")


def _message(name, **fields):
  """A proto message that tensorflow-serving-api does not bring.

  Args:
    name: of the message.
    **fields: type of each: bool, str, or a message type of wrappers.proto;
      or a dict, a message of these fields.
  """
  types = descriptor_pb2.FieldDescriptorProto
  file = descriptor_pb2.FileDescriptorProto(
      name=f"{name}.proto", syntax="proto3",
      dependency=[wrappers_pb2.DESCRIPTOR.name])

  def add(message_name, fields):
    message = file.message_type.add(name=message_name)
    for number, (field, kind) in enumerate(fields.items(), 1):
      made = message.field.add(
          name=field, number=number, label=types.LABEL_OPTIONAL)
      if isinstance(kind, dict):
        add(field, kind)
        made.type, made.type_name = types.TYPE_MESSAGE, f".{field}"
      elif kind in (bool, str):
        made.type = types.TYPE_BOOL if kind is bool else types.TYPE_STRING
      else:
        made.type = types.TYPE_MESSAGE
        made.type_name = f".google.protobuf.{kind}"

  add(name, fields)
  pool = descriptor_pool.DescriptorPool()
  pool.Add(descriptor_pb2.FileDescriptorProto.FromString(
      wrappers_pb2.DESCRIPTOR.serialized_pb))
  pool.Add(file)
  return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))()


def test_models_have_labels_of_versions_that_are_served():
  config = text_format.Parse(
      _text("models.config"), model_server_config_pb2.ModelServerConfig())
  model, = config.model_config_list.config
  assert (model.name, model.base_path) == ("student", "/models/student")
  assert model.model_platform == "tensorflow"
  versions = set(model.model_version_policy.specific.versions)
  assert set(model.version_labels) == {"stable", "canary"}
  assert set(model.version_labels.values()) <= versions


def test_the_documented_steps_move_a_label_to_a_loaded_version():
  # TensorFlow Serving refuses to move a label to a version that is not there.
  steps = [text_format.Parse(
      text, model_server_config_pb2.ModelServerConfig()).model_config_list.
           config[0] for text in (_text("models.config"), *re.findall(
               r"```proto\n(.*?)```", _DOCUMENTS, re.DOTALL))]
  assert len(steps) >= 4
  for before, after in zip(steps, steps[1:]):
    loaded = set(before.model_version_policy.specific.versions)
    for label, version in after.version_labels.items():
      assert version in after.model_version_policy.specific.versions
      if version != before.version_labels[label]:
        assert version in loaded, label
  assert dict(steps[-1].version_labels) == {"stable": 2, "canary": 2}


@pytest.mark.parametrize("name, pads", [
    ("batching_parameters.txt", False),
    ("teacher_batching_parameters.txt", True)])
def test_batching_parameters_parse(name, pads):
  # Fields of session_bundle_config.proto, TensorFlow Serving 2.15.
  parameters = text_format.Parse(_text(name), _message(
      "BatchingParameters", max_batch_size="Int64Value",
      batch_timeout_micros="Int64Value", max_enqueued_batches="Int64Value",
      num_batch_threads="Int64Value", thread_pool_name="StringValue",
      pad_variable_length_inputs=bool))
  assert parameters.max_batch_size.value >= 8  # client.py's --batch_size
  assert parameters.HasField("batch_timeout_micros")
  assert parameters.batch_timeout_micros.value == 0  # Nobody waits.
  assert not parameters.HasField("num_batch_threads")  # One a core.
  assert parameters.max_enqueued_batches.value >= 1
  assert parameters.pad_variable_length_inputs == pads


def test_monitoring_parses():
  config = text_format.Parse(_text("monitoring.config"), _message(
      "MonitoringConfig", prometheus_config={"enable": bool, "path": str}))
  assert config.prometheus_config.enable
  assert f":8501{config.prometheus_config.path}" in _DOCUMENTS


def _docker_run(name):
  """The words of the documented `docker run` line of a model."""
  command = re.search(
      rf"^docker run --rm --name={name} (?:.*\\\n)*.*$", _DOCUMENTS,
      re.MULTILINE)
  return shlex.split(command.group().replace("\\\n", " "))


def _services():
  return yaml.safe_load(_text("docker-compose.yml"))["services"]


def _settings(arguments):
  return dict(word.split("=", 1) for word in arguments)


@pytest.mark.parametrize("name, ports, files, true", [
    ("student", {"8500": "8500", "8501": "8501"}, [
        "--model_config_file", "--batching_parameters_file",
        "--monitoring_config_file"], [
            "--allow_version_labels_for_unavailable_models",
            "--enable_batching", "--enable_model_warmup"]),
    ("teacher", {"8600": "8500", "8601": "8501"}, [
        "--batching_parameters_file", "--monitoring_config_file"], [
            "--enable_batching", "--enable_model_warmup"])])
def test_compose_and_docker_run_start_the_same_server(name, ports, files, true):
  service, words = _services()[name], _docker_run(name)
  image = words.index(service["image"])
  assert service["image"] == "tensorflow/serving:2.15.1"
  settings = _settings(service["command"])
  assert settings == _settings(words[image + 1:])
  for flag in files:
    folder, file = settings[flag].rsplit("/", 1)
    assert folder == "/config"
    assert (kit.FOLDER / file).exists()
  for flag in true:
    assert settings[flag] == "true"
  for outside, inside in ports.items():
    assert f"${{BIND:-127.0.0.1}}:{outside}:{inside}" in service["ports"]
    assert f"--publish=127.0.0.1:{outside}:{inside}" in words[:image]
  for volumes in (service["volumes"], words[:image]):
    assert any(v.endswith(f":/models/{name}:ro") for v in volumes)
    assert any(v.endswith(":/config:ro") for v in volumes)


def test_the_teacher_has_the_file_that_pads_and_starts_only_when_asked():
  teacher = _services()["teacher"]
  settings = _settings(teacher["command"])
  assert settings["--batching_parameters_file"] == (
      "/config/teacher_batching_parameters.txt")
  assert settings["--model_base_path"] == "/models/teacher"
  assert teacher["profiles"] == ["teacher"]
  assert "profiles" not in _services()["student"]


@pytest.mark.parametrize("name", ["student", "teacher"])
def test_the_health_check_finds_a_loaded_model(tmp_path, name):
  command = _services()[name]["healthcheck"]["test"]
  assert command[0] == "CMD"
  server = tmp_path / "server.py"
  server.write_text(
      "import http.server, sys\n"
      "class Handler(http.server.BaseHTTPRequestHandler):\n"
      "  def do_GET(self):\n"
      "    self.send_response(200)\n"
      "    self.end_headers()\n"
      "    self.wfile.write(sys.argv[1].encode() if self.path =="
      f" '/v1/models/{name}' else b'?')\n"
      "  def log_message(self, *_): pass\n"
      "server = http.server.HTTPServer(('127.0.0.1', 0), Handler)\n"
      "print(server.server_address[1], flush=True)\n"
      "server.serve_forever()\n", encoding="utf-8")
  for state, status in (("AVAILABLE", 0), ("LOADING", 1)):
    with subprocess.Popen(
        [sys.executable, str(server), f'{{"state": "{state}"}}'],
        stdout=subprocess.PIPE, text=True) as process:
      port = process.stdout.readline().strip()
      checked = subprocess.run(
          [word.replace("8501", port) for word in command[1:]], timeout=300,
          check=False, stdout=subprocess.DEVNULL).returncode
      process.kill()
    assert checked == status, state


def test_the_documented_commands_have_flags_that_exist(capsys):
  client = kit.client()
  with pytest.raises(SystemExit):
    client.main(["--help"])
  known = {"client.py": set(re.findall(r"--\w+", capsys.readouterr().out))}
  root = pathlib.Path(kit.FOLDER).parent
  commands = re.findall(
      r"^(?:.* )?python (?:-m kdwsd\.(\w+)|export/(client\.py)) (.*)$",
      _DOCUMENTS, re.MULTILINE)
  assert {module or script for module, script, _ in commands} >= {
      "client.py", "export", "predict", "serve"}
  for module, script, rest in commands:
    if module:
      program = (root / "kdwsd" / f"{module}.py").read_text(encoding="utf-8")
      known[module] = {"--" + name for name in re.findall(
          r'DEFINE_\w+\(\s*"(\w+)"', program)}
    for flag in re.findall(r"(--\w+)", rest):
      assert flag in known[module or script], (module or script, flag)


def test_the_readme_names_files_of_the_kit_that_exist():
  for name in set(re.findall(r"\b([\w-]+\.(?:config|txt|yml|py))\b", _README)):
    assert (kit.FOLDER / name).exists(), name
