"""Validates the files of a chain's runs that the report reads.

The files can be edited by users or written by other versions. Whatever deviates
from what `kdwsd.evaluation.metrics` and `kdwsd.training.history` write is
rejected here with its file and place, so that no other module checks it again.
"""

import math

from kdwsd import errors
from kdwsd import files
from kdwsd.data import texts

_LARGEST = 1e30  # A chart cannot place ticks beyond it.


def read_metrics(path):
  """Reads metrics.json.

  Returns:
    Dict; see `kdwsd.evaluation.summary`. `per_class` and `num_positive_images`
    may be missing, see `check_classes`.

  Raises:
    errors.InputError: the file or a value that `comparison` uses is invalid.
  """
  content = _dict(files.read_json(path), path)
  classes = content.get("classes")
  if not isinstance(classes, list) or not classes:
    raise _wrong(path, "a list `classes`", classes)
  for name in classes:
    texts.check_name(name, path, "names in `classes`")
  if not isinstance(content.get("split"), str):
    raise _wrong(path, "a name in `split`", content.get("split"))
  texts.check_name(content["split"], path, "a name in `split`")
  _count(content.get("num_images"), f"{path}: num_images")
  where = f"{path}: classification"
  measured = _dict(content.get("classification"), where)
  _share(measured, "map", where)
  for chosen in ("all", "top3"):
    of_chosen = _dict(measured.get(chosen), f"{where}.{chosen}")
    for name in ("C-F1", "O-F1"):
      _share(of_chosen, name, f"{where}.{chosen}")
  for group, name in (("detection", "voc07_map"), ("corloc", "corloc")):
    if content.get(group) is not None:
      _share(_dict(content[group], f"{path}: {group}"), name,
             f"{path}: {group}", optional=True)
  return content


def check_classes(content, path):
  """Checks the per-class metrics of metrics.json.

  Args:
    content: from `read_metrics`.
    path: path of the file.

  Raises:
    errors.InputError: a value per class is missing or invalid.
  """
  count = len(content["classes"])
  where = f"{path}: classification.per_class"
  per_class = _dict(content["classification"].get("per_class"), where)
  for values, name in ((per_class.get("ap"), f"{where}.ap"),
                       (content.get("num_positive_images"),
                        f"{path}: num_positive_images")):
    if not isinstance(values, list) or len(values) != count:
      raise _wrong(name, f"{count} values, one per class", values)
  for place, value in enumerate(per_class["ap"]):
    _share({"ap": value}, "ap", f"{where}, class {place + 1}")
  for value in content["num_positive_images"]:
    _count(value, f"{path}: num_positive_images")


def read_cost(path):
  """Reads cost.json: a dict of `parameters`, `images_per_second`, `device`.

  Raises:
    errors.InputError: the file or one of the three, which may be null, is
      invalid.
  """
  content = _dict(files.read_json(path), path)
  if content.get("parameters") is not None:
    _count(content["parameters"], f"{path}: parameters")
  rate = content.get("images_per_second")
  if rate is not None and not (_is_number(rate) and math.isfinite(rate)):
    raise _wrong(f"{path}: images_per_second", "a number", rate)
  device = content.get("device")
  if device is not None:
    texts.check_name(device, f"{path}: device", "a name")
  return content


def check_config(config, path):
  """Checks the settings of a run, written by any version.

  Raises:
    errors.InputError: not a dict of numbers, texts and lists of them.
  """
  for name, value in _dict(config, path).items():
    texts.check_name(name, path, "names of flags")
    for one in value if isinstance(value, list) else [value]:
      if isinstance(one, str):
        texts.check_name(one, f"{path}: {name}", "text")
      elif not (one is None or isinstance(one, bool) or _is_number(one)):
        raise _wrong(f"{path}: {name}", "text or a number", one)
  for name in ("data", "train_split", "eval_split", "test_split",
               "best_figure"):
    if not isinstance(config.get(name, ""), (str, type(None))):
      raise _wrong(f"{path}: {name}", "text", config[name])


def check_history(entries, path):
  """Checks the log of a run.

  Raises:
    errors.InputError: an entry without a step, or with an invalid metric.
  """
  for number, entry in enumerate(entries, 1):
    where = f"{path}: entry {number}"
    _count(_dict(entry, where).get("step"), f"{where}: step")
    shown = {name: value for name, value in entry.items()
             if name == "loss" or name.endswith("_loss")}
    for name, value in shown.items():
      if value is not None and not _is_number(value):
        raise _wrong(f"{where}: {texts.shown(name)}", "a number", value)
    for name, value in _dict(entry.get("figures", {}), where).items():
      if value is not None and not (
          _is_number(value) and math.isfinite(value)):
        raise _wrong(f"{where}: {texts.shown(name)}", "a number", value)


def _dict(value, where):
  if not isinstance(value, dict):
    raise _wrong(where, "names and values", value)
  return value


def _share(values, name, where, optional=False):
  value = values.get(name)
  if value is None and (optional or name in values):
    return
  if not (_is_number(value) and 0 <= value <= 1):
    raise _wrong(f"{where}.{name}", "a number in [0, 1], or null", value)


def _count(value, where):
  if type(value) is not int or not 0 <= value < 2 ** 53:
    raise _wrong(where, "a non-negative integer", value)


def _is_number(value):
  """Whether it is a number a chart accepts; non-finite ones are not drawn."""
  return isinstance(value, (int, float)) and not isinstance(value, bool) and (
      abs(value) < _LARGEST or not math.isfinite(value)
      if isinstance(value, float) else abs(value) < _LARGEST)


def _wrong(where, expected, received):
  return errors.InputError(
      f"{where}: expected {expected}. Received: {texts.quoted(received)}.")
