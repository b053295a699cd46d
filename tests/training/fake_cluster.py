"""TF_CONFIG, as a cluster's manager sets it."""

import contextlib
import json
import random
import socket

# Below those that systems choose for who asks for any: 32768 on Linux, by
# default, 49152 on others.
_PORTS = range(10000, 32768)


def free_port():
  """A port that nothing listens on, and that is not soon given to another."""
  while True:
    # Not of `random` itself: tests that run beside this may have its seed, too.
    port = random.SystemRandom().choice(_PORTS)
    with contextlib.suppress(OSError), socket.socket() as one:
      one.bind(("", port))
      return port


def config(cluster, kind="worker", index=0):
  """The content of the variable, for one of the workers."""
  return {"cluster": cluster, "task": {"type": kind, "index": index}}


def join(monkeypatch, content):
  """Sets the variable; `content` is text, or what `config` returns."""
  monkeypatch.setenv(
      "TF_CONFIG", content if isinstance(content, str) else json.dumps(content))
