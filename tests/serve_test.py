"""The binary, in a process of its own."""

import re
import signal
import threading
import time

import pytest

from tests import programs
from tests.serving.server import clients
from tests.serving.server import fakes


@pytest.fixture(scope="module", name="base")
def fixture_base(tmp_path_factory):
  base = tmp_path_factory.mktemp("model")
  fakes.write(str(base), 1, warm_up=[fakes.warm_up_request(b"abc")])
  fakes.publish(base / "1", base, 2)
  return base


def _start(base, *flags):
  return programs.Program(
      "kdwsd.serve", f"--model_base_path={base}", "--port=0",
      "--rest_api_port=0", "--rest_api_timeout_in_ms=300000",
      "--read_seconds=300", "--drain_seconds=300", *flags, environment={
          "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"})


def _fails(*flags):
  done = programs.run("kdwsd.serve", *flags)
  assert "Traceback" not in done.stderr
  return done.returncode, done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serves_until_told_and_answers_what_has_begun(base, number, tmp_path):
  release = tmp_path / "release"
  with _start(base, "--version_labels=stable:1,canary:2",
              "--file_system_poll_wait_seconds=0.1") as process:
    try:
      line = process.stdout.readline()
      ports = re.search(
          r"version 1, 2: REST http://127\.0\.0\.1:(\d+)/v1/models/student, "
          r"gRPC 127\.0\.0\.1:(\d+)\n", line)
      assert ports, (line, process.stderr.read())
      rest_port, grpc_port = map(int, ports.groups())
      client = clients.Grpc(grpc_port)
      assert client.predict(
          {"image_bytes": [b"abc"]}, label="stable").model_spec.version.value
      client.close()
      rest = clients.Rest(rest_port)
      answers = []
      asking = threading.Thread(target=lambda: answers.append(rest(
          "/v1/models/student/labels/canary:predict",
          fakes.held(release))))
      asking.start()
      other = clients.Rest(rest_port)
      while "kdwsd_calls_in_flight 1" not in other(
          "/monitoring/prometheus/metrics")[1]:
        time.sleep(0.01)
      process.send_signal(number)
      log = ""
      while "Stopping after" not in log:
        log += (line := process.stderr.readline())
        assert line, log  # Ended before the call that it had.
      assert not answers
      release.touch()
      asking.join()
      assert answers[0][0] == 200
      assert process.wait(300) == 0
      log += process.stderr.read()
    finally:
      process.kill()
  assert "in production use TF Serving" in log
  assert "Stopped." in log
  assert "Traceback" not in log


def test_a_request_that_takes_too_long_is_dropped(base, tmp_path):
  with _start(base, "--drain_seconds=0.1") as process:
    try:
      line = process.stdout.readline()
      port = int(re.search(r"127\.0\.0\.1:(\d+)/", line)[1])
      rest, other = clients.Rest(port), clients.Rest(port)
      dropped = []

      def ask():
        try:
          rest("/v1/models/student:predict", fakes.held(tmp_path / "never"))
        except OSError as error:
          dropped.append(error)

      asking = threading.Thread(target=ask, daemon=True)
      asking.start()
      while "kdwsd_calls_in_flight 1" not in other(
          "/monitoring/prometheus/metrics")[1]:
        time.sleep(0.01)
      process.send_signal(signal.SIGTERM)
      assert process.wait(300) == 143
      asking.join(60)
      assert dropped
      log = process.stderr.read()
    finally:
      process.kill()
  assert "a request was not complete after 0.1 s and is dropped." in log


def test_bad_flags_and_exports_are_told(base, tmp_path):
  status, text = _fails(f"--model_base_path={base}", "--version_labels=stable")
  assert status
  assert "expected label:version" in text
  status, text = _fails(f"--model_base_path={tmp_path}", "--port=0",
                        "--rest_api_port=0")
  assert status == 2
  assert "expected subdirectories whose names are numbers" in text


def test_help_says_what_production_uses():
  done = programs.run("kdwsd.serve", "--helpshort")
  assert "In production use TF Serving itself" in done.stdout
