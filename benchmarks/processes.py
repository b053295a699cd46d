"""Runs functions in separate processes and measures their memory.

Memory is the sum of the resident sizes of a process and all its children;
pages that they share count once for each.
"""

import importlib
import multiprocessing
import os
import threading
import time

from kdwsd import errors
from kdwsd import native_logs

# Of this process, nearly: `measure` imports this module first of all.
STARTED = time.time()

_SAMPLE_SECONDS = 0.05


def measure(function, *arguments, **named):
  """Calls a function in a separate process.

  Args:
    function: one that can be pickled; or MODULE:FUNCTION, which this process
      does not import then.
    *arguments: arguments of the function.
    **named: further ones.

  Returns:
    (its result, peak resident MiB of the process and its children; 0 where the
    package psutil is not installed).

  Raises:
    errors.InputError: the function raised it.
    RuntimeError: the process failed.
  """
  context = multiprocessing.get_context("spawn")
  receiver, sender = context.Pipe(duplex=False)
  process = context.Process(
      target=_send_result, args=(sender, function, arguments, named))
  process.start()
  sender.close()
  peak = 0

  def watch():
    nonlocal peak
    try:
      import psutil  # pylint: disable=import-outside-toplevel
    except ModuleNotFoundError:
      return
    root = psutil.Process(process.pid)
    while process.is_alive():
      total = 0
      try:
        for one in [root, *root.children(recursive=True)]:
          total += one.memory_info().rss
      except psutil.Error:  # One of them has just exited.
        pass
      peak = max(peak, total)
      time.sleep(_SAMPLE_SECONDS)

  watcher = threading.Thread(target=watch)
  watcher.start()
  try:
    result = receiver.recv()
  except EOFError:
    result = None
  process.join()
  watcher.join()
  if isinstance(result, errors.InputError):
    raise result
  if process.exitcode:
    name = function if isinstance(function, str) else function.__name__
    raise RuntimeError(f"{name} exited with status {process.exitcode}.")
  return result, peak / 2 ** 20


def pin(num_cores):
  """Restricts this process and its children to `num_cores` cores, on Linux."""
  if hasattr(os, "sched_setaffinity"):
    there = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, set(there[:num_cores]))


def num_cores():
  """Cores that this process may use."""
  if hasattr(os, "sched_getaffinity"):
    return len(os.sched_getaffinity(0))
  return os.cpu_count() or 1


def _send_result(sender, function, arguments, named):
  native_logs.follow()
  if isinstance(function, str):
    module, _, name = function.partition(":")
    function = getattr(importlib.import_module(module), name)
  try:
    sender.send(function(*arguments, **named))
  except errors.InputError as error:
    sender.send(error)
