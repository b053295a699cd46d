"""What programs have left in a folder, and in what two such folders differ.

Everything that is a function of the command and its seed is compared: the names
of all files and folders, so that nothing is lost or left over; weights and
optimizer bit for bit; history line by line; files of settings, figures, records
and pictures. Left out is what the clock decides (images a second, dates), what
TensorFlow orders anew each time (a graph's protocol buffer), and its event
files, of which every start of a program writes one.
"""

import hashlib
import json
import os
import re

import numpy as np
import tensorflow as tf

# A folder's fingerprint takes in a checkpoint's bytes, and with them how often
# its process has saved.
_FINGERPRINT = re.compile(r"-[0-9a-f]{16}(?=[/.-]|$)")
# What TensorFlow compiles from, among temporary files; a killed process cannot
# remove its own.
_AUTOGRAPH = "__autograph_generated_file"
_EVENTS = re.compile(r"events\.out\.tfevents\.[^/]*")

# Decided by the clock, or a path, or how often a process has saved.
_VOLATILE = frozenset((
    "images_per_second", "made", "exported", "seconds", "sha256",
    "fingerprint", "max_difference"))
_NAME_ONLY = (".html", ".pb", ".index", "tf_serving_warmup_requests")
_DATA = re.compile(r"\.data-\d{5}-of-\d{5}$")
_WEIGHTS = ("model/", "optimizer/", "global_step/", "weights/")

_SHOWN = 20


def read(folder):
  """Reads all that lies in a folder.

  Args:
    folder: where programs ran.

  Returns:
    {what: content}: bytes' digests, arrays, JSON values and lists of lines by
    file, or part of a file, with names relative to the folder.

  Raises:
    ValueError: a file that cannot be read as what it is.
  """
  found = {}
  for directory, subfolders, names in os.walk(folder):
    subfolders.sort()
    place = os.path.relpath(directory, folder)
    found[_plain(place) + "/"] = None
    for name in sorted(names):
      if name.startswith(_AUTOGRAPH):
        continue
      path = os.path.join(directory, name)
      key = _plain(os.path.normpath(os.path.join(place, name)))
      found[key] = None
      if not name.startswith("."):
        found.update(_content(path, key, folder))
  return found


def differences(expected, received):
  """Says in what two states differ.

  Args:
    expected: from `read`, of an undisturbed run.
    received: from `read`.

  Returns:
    List of lines, empty where they are equal.
  """
  lines = [f"missing: {key}" for key in expected if key not in received]
  lines += [f"left over: {key}" for key in received if key not in expected]
  for key in expected:
    if key in received:
      lines += [f"{key}: {line}" for line in _compare(
          expected[key], received[key])]
  if len(lines) > _SHOWN:
    lines[_SHOWN:] = [f"... and {len(lines) - _SHOWN} differences more"]
  return lines


def weights(checkpoint):
  """Variables of a checkpoint or an export, without TensorFlow's bookkeeping.

  Args:
    checkpoint: path without extension.

  Returns:
    {name: array}.
  """
  reader = tf.train.load_checkpoint(checkpoint)
  return {name: np.asarray(reader.get_tensor(name))
          for name in reader.get_variable_to_shape_map()
          if name.startswith(_WEIGHTS)}


def _plain(name):
  return _EVENTS.sub("events", _FINGERPRINT.sub("-*", name))


def _content(path, key, folder):
  """{key: content} of one file, or of its parts."""
  name = os.path.basename(path)
  if "events.out.tfevents" in name or name.endswith(_NAME_ONLY):
    return {}
  if _DATA.search(name):
    prefix = _DATA.sub("", path)
    if not os.path.exists(prefix + ".index"):
      return {}  # Its name alone is told, as left over.
    if f"{os.sep}cache{os.sep}" in path:
      return {key: _digest(path)}
    return {f"{_DATA.sub('', key)}: {variable}": value
            for variable, value in weights(prefix).items()}
  if name == "checkpoint":
    listed = tf.train.get_checkpoint_state(os.path.dirname(path))
    return {key: [os.path.basename(p)
                  for p in listed.all_model_checkpoint_paths]}
  if name.endswith(".jsonl"):
    with open(path, encoding="utf-8") as file:
      return {key: [_stable(json.loads(line), folder) for line in file]}
  if name.endswith(".json"):
    with open(path, encoding="utf-8") as file:
      return {key: _stable(json.load(file), folder)}
  return {key: _digest(path)}


def _digest(path):
  with open(path, "rb") as file:
    return hashlib.sha256(file.read()).hexdigest()


def _stable(content, folder):
  """JSON without what may differ, and with paths as in any other folder."""
  if isinstance(content, dict):
    return {key: _stable(value, folder) for key, value in content.items()
            if key not in _VOLATILE}
  if isinstance(content, list):
    return [_stable(value, folder) for value in content]
  if isinstance(content, str):
    return _FINGERPRINT.sub("-*", content.replace(folder, "FOLDER"))
  return content


def _compare(expected, received):
  """Lines that say how two contents differ; none where they do not."""
  if isinstance(expected, np.ndarray):
    return _compare_arrays(expected, np.asarray(received))
  if isinstance(expected, list) and isinstance(received, list):
    return _compare_lines(expected, received)
  if isinstance(expected, dict) and isinstance(received, dict):
    return [f"{key}: expected {_short(expected.get(key))}. Received: "
            f"{_short(received.get(key))}."
            for key in sorted({*expected, *received}, key=str)
            if not _same(expected.get(key), received.get(key))]
  if _same(expected, received):
    return []
  return [f"expected {_short(expected)}. Received: {_short(received)}."]


def _compare_arrays(expected, received):
  if (expected.shape, expected.dtype) != (received.shape, received.dtype):
    return [f"expected {expected.dtype} {list(expected.shape)}. Received: "
            f"{received.dtype} {list(received.shape)}."]
  if expected.tobytes() == received.tobytes():
    return []
  if expected.dtype.kind not in "fiu":
    return ["other content"]
  apart = expected != received
  largest = np.max(np.abs(np.float64(expected) - np.float64(received)),
                   initial=0.0)
  return [f"{np.sum(apart)} of {expected.size} numbers differ, by up to "
          f"{largest:.3g}"]


def _compare_lines(expected, received):
  for number, pair in enumerate(zip(expected, received), 1):
    if not _same(*pair):
      return [f"line {number}: expected {_short(pair[0])}. Received: "
              f"{_short(pair[1])}."]
  if len(expected) != len(received):
    return [f"expected {len(expected)} lines. Received: {len(received)}."]
  return []


def _same(expected, received):
  """Equality of JSON, in which NaN is itself."""
  return json.dumps(expected, sort_keys=True) == json.dumps(
      received, sort_keys=True)


def _short(value):
  text = json.dumps(value, sort_keys=True)
  return text if len(text) <= 160 else text[:160] + "..."
