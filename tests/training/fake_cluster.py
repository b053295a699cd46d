"""TF_CONFIG, as a cluster's manager sets it."""

import json
import socket


def free_port():
  """A port that nothing listens on."""
  with socket.socket() as one:
    one.bind(("127.0.0.1", 0))
    return one.getsockname()[1]


def config(cluster, kind="worker", index=0):
  """The content of the variable, for one of the workers."""
  return {"cluster": cluster, "task": {"type": kind, "index": index}}


def join(monkeypatch, content):
  """Sets the variable; `content` is text, or what `config` returns."""
  monkeypatch.setenv(
      "TF_CONFIG", content if isinstance(content, str) else json.dumps(content))
