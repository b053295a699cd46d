"""Loads TensorFlow and forks a process for each program that is asked for.

The process that `tests.programs` starts. It runs no TensorFlow operation, so
TensorFlow has no threads yet that a fork would miss, and loads none of this
package, so that a program loads it as always.
"""

import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import sys

from absl import logging

# What programs load, if it is installed, and takes time.
_LIBRARIES = (
    "tensorflow", "tensorflow.compat.v2", "orbit", "cv2", "h5py", "jinja2",
    "matplotlib.pyplot", "matplotlib.backends.backend_agg", "PIL.Image",
    "scipy.ndimage", "tensorboard.plugins.hparams.api",
)


def _serve(connection):
  """Forks for each request; returns its socket in the process it asks for.

  Args:
    connection: socket on which four file descriptors come for each request: a
      socket, from which the request is read and to which the process's number
      and its exit status are written, and the program's three streams.

  Returns:
    The request, a dict; None in the server itself, after the last one.
  """
  while True:
    _, ends, _, _ = socket.recv_fds(connection, 1, 4)
    _reap()
    if not ends:
      return None
    if not os.fork():
      connection.close()
      return _start(*ends)
    for end in ends:
      os.close(end)


def _start(status, *streams):
  """Forks the program's own process and waits for it; returns only there."""
  with socket.socket(fileno=status) as answers:
    with answers.makefile() as file:
      request = json.loads(file.read())
    number = os.fork()
    if number:
      # The server's streams, too: who asked waits for their end.
      for stream in (*range(3), *streams):
        os.close(stream)
      answers.sendall(number.to_bytes(4, "big"))
      _, ended = os.waitpid(number, 0)
      answers.sendall(ended.to_bytes(4, "big"))
      os._exit(0)
  for place, stream in enumerate(streams):
    os.dup2(stream, place)
    os.close(stream)
  return request


def _reap():
  """Forgets the processes that have waited for programs which have ended."""
  with contextlib.suppress(ChildProcessError):
    while os.waitpid(-1, os.WNOHANG)[0]:
      pass


def _load():
  """Imports the libraries where a program would, after absl's log is set."""
  logging.use_absl_handler()
  importlib.import_module("kdwsd")  # It chooses which Keras is loaded.
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  for name in _LIBRARIES:
    with contextlib.suppress(ImportError):
      importlib.import_module(name)
  gc.freeze()  # Else a fork's collections would copy this process's memory.


def _become(request):
  """Makes this process what `python -m` would have started."""
  for name in [name for name in sys.modules if name.split(".")[0] == "kdwsd"]:
    del sys.modules[name]
  os.environ.clear()
  os.environ.update(request["environment"])
  os.chdir(request["cwd"])
  given = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
  sys.path[:] = [request["cwd"], *map(os.path.abspath, given), *_INSTALLED]
  sys.argv[:] = [request["module"], *request["arguments"]]


if __name__ == "__main__":
  # Of `python -m`: the folder it is started in, which is the last request's.
  _INSTALLED = [path for path in sys.path[1:] if path not in map(
      os.path.abspath, filter(None, os.environ.get(
          "PYTHONPATH", "").split(os.pathsep)))]
  _load()
  with socket.socket(fileno=int(sys.argv[1])) as asked:
    wanted = _serve(asked)
  if wanted:
    _become(wanted)
    runpy.run_module(wanted["module"], run_name="__main__", alter_sys=True)
