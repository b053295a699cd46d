"""Reads files of class names in the layouts that tools and people write.

- one name a line;
- a number with each name: `0 boat`, `0: boat`, `1,boat`, or `boat,0`. Every
  line must have one, and the numbers must be consecutive from 0 or 1, in any
  order; otherwise `3d printer` and `7 up` are names.
- CVAT's `labelmap.txt`: `boat:128,0,0::`, without the class background, which
  CVAT adds.
- `data.yaml` of YOLO: `names`, a list, or a dict of number to name.
- `.pbtxt`, the label map of TensorFlow's Object Detection API.

Names in a YAML file are read as text: YAML would read `no` as a boolean and
`12:30` as a number.
"""

import re

import yaml

from kdwsd import errors
from kdwsd.data import texts

_BEFORE = re.compile(r"([0-9]{1,9})(?:\s*[:,;\t]\s*| +)(\S.*)")
_AFTER = re.compile(r"(.*\S)\s*[,;\t]\s*([0-9]{1,9})")
_CVAT_HEADER = re.compile(r"#\s*label:")
_CVAT = re.compile(r"([^:]+):[0-9, ]*:[^:]*:[^:]*")
_PBTXT_ITEM = re.compile(r"item\s*\{([^{}]*)\}")
_PBTXT_FIELD = re.compile(
    r"""\b(id|name|display_name)\s*:\s*([0-9]+|"[^"\n]*"|'[^'\n]*')""")
_MOST_YAML = 4 * 2 ** 20  # characters; the parser is written in Python.


def names(text, path):
  """Reads the names of a file in any of the layouts except YAML.

  Args:
    text: content of the file.
    path: path of the file; a `.pbtxt` is recognised by its extension.

  Returns:
    List of names, in the order of the label ids.

  Raises:
    errors.InputError: numbers are not consecutive, or the file is damaged.
  """
  if path.lower().endswith(".pbtxt"):
    return _pbtxt(text, path)
  lines = [(number, line.strip())
           for number, line in enumerate(texts.lines(text), 1) if line.strip()]
  if any(_CVAT_HEADER.match(line) for _, line in lines) or lines and all(
      _CVAT.fullmatch(line) and line.count(",") >= 2 for _, line in lines):
    return _cvat(lines, path)
  for pattern, number_first in ((_BEFORE, True), (_AFTER, False)):
    matches = [pattern.fullmatch(line) for _, line in lines]
    if lines and all(matches):
      pairs = [match.groups() if number_first else match.groups()[::-1]
               for match in matches]
      return _in_order([(int(number), name) for number, name in pairs], path)
  for number, line in lines:
    if re.match(r"#(\s|$)", line):
      raise errors.InputError(
          f"{path}:{number}: expected one class a line. Received: a comment, "
          f"{texts.quoted(line)}; remove that line.")
  return [line for _, line in lines]


def yaml_names(content, path):
  """The names in a YAML file.

  Args:
    content: what `read_yaml` returns.
    path: path of the file, for messages.

  Returns:
    List of names, in the order of the label ids.

  Raises:
    errors.InputError: no names, names that are not text, or numbers that are
      not consecutive.
  """
  found = content.get("names") if isinstance(content, dict) else content
  if isinstance(found, dict) and all(
      re.fullmatch("[0-9]{1,9}", key) for key in found):
    found = _in_order([(int(key), name) for key, name in found.items()], path,
                      first=(0,))
  if not isinstance(found, list) or not found or not all(
      isinstance(name, str) for name in found):
    raise errors.InputError(
        f"{path}: expected `names`, a list, or a dict of number to name. "
        f"Received: {texts.quoted(found)}.")
  count = content.get("nc") if isinstance(content, dict) else None
  if count is not None and count != str(len(found)):
    raise errors.InputError(
        f"{path}: expected as many names as `nc` says. Received: {len(found)} "
        f"names, nc {texts.quoted(count)}.")
  return [name.strip() for name in found]


def read_yaml(text, path):
  """A YAML file as dicts and lists of text; null is None.

  Tags construct no objects, and an aliased node is read once.

  Raises:
    errors.InputError: not YAML, or deeper or longer than a list of classes.
  """
  try:
    if len(text) > _MOST_YAML:
      raise ValueError(f"{len(text)} characters, where {_MOST_YAML} are the "
                       "most")
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    return _plain(root, {}, 3)
  except Exception as error:  # The parser raises almost any type.
    raise errors.InputError(
        f"{path}: expected a YAML file. Received: "
        f"{texts.shown(' '.join(str(error).split()) or type(error).__name__)}."
    ) from error


def _plain(node, seen, levels):
  """A node of YAML as dict, list, text or None; deeper ones as text."""
  if node is None or node.tag == "tag:yaml.org,2002:null":
    return None
  if not re.fullmatch(r"tag:yaml\.org,2002:[a-z]+", node.tag):
    raise ValueError(f"the tag {texts.quoted(node.tag)}")
  if isinstance(node, yaml.ScalarNode):
    return node.value
  if not levels:
    return "..."
  if (id(node), levels) not in seen:
    seen[id(node), levels] = None  # A node that contains itself.
    if isinstance(node, yaml.SequenceNode):
      value = [_plain(one, seen, levels - 1) for one in node.value]
    else:
      value = {}
      for key, one in node.value:
        name = str(_plain(key, seen, 0))
        if name in value:
          raise ValueError(f"{texts.quoted(name)} twice")
        value[name] = _plain(one, seen, levels - 1)
    seen[id(node), levels] = value
  return seen[id(node), levels]


def _cvat(lines, path):
  """Names of CVAT's labelmap.txt."""
  found = []
  for number, line in lines:
    if line.startswith("#"):
      continue
    match = _CVAT.fullmatch(line)
    if not match:
      raise errors.InputError(
          f"{path}:{number}: expected label:color:parts:actions, as in the "
          f"other lines. Received: {texts.quoted(line)}.")
    found.append(match[1].strip())
  return [name for name in found if name != "background"]


def _pbtxt(text, path):
  """Names of a label map, by ascending id."""
  text = re.sub(r"(?m)^\s*#.*$", "", text)
  found, rest = {}, _PBTXT_ITEM.sub("", text)
  for item in _PBTXT_ITEM.finditer(text):
    fields = {key: value.strip("\"'")
              for key, value in _PBTXT_FIELD.findall(item[1])}
    name = fields.get("display_name") or fields.get("name")
    number = fields.get("id", "")
    if not name or not number.isdigit() or len(number) > 9 or (
        int(number) in found):
      raise errors.InputError(
          f"{path}: expected items with a new `id` and a `name`. Received: "
          f"{texts.quoted(' '.join(item[1].split()))}.")
    found[int(number)] = name
  if rest.strip() or not found:
    raise errors.InputError(
        f"{path}: expected a label map of items with `id` and `name`. "
        f"Received: {texts.quoted(rest.strip()) if rest.strip() else 'none'}.")
  return [found[number] for number in sorted(found)]


def _in_order(pairs, path, first=(0, 1)):
  """Names in the order of their numbers, which must be consecutive."""
  numbers = sorted(number for number, _ in pairs)
  if numbers[:1] and numbers[0] in first and (
      numbers == list(range(numbers[0], numbers[0] + len(numbers)))):
    return [name for _, name in sorted(pairs)]
  expected = next((want for want, number in enumerate(numbers, min(
      numbers[:1] + [1])) if want != number), numbers[0] if numbers else 0)
  raise errors.InputError(
      f"{path}: expected names without numbers, or consecutive numbers from "
      f"{' or '.join(map(str, first))}. Received: {len(numbers)} "
      f"numbers from {numbers[0]} to {numbers[-1]}, without {expected} or with "
      "one of them twice; write the names alone, one a line, in the order of "
      "the label ids.")
