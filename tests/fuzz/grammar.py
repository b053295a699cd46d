"""Pieces of grammars: sound most of the time, odd now and then."""

import json

from hypothesis import strategies as st

_ODD_NUMBERS = (
    "-1", "-0.0", "1e39", "1e300", "1e308", "-1e308", "1e309", "nan", "inf",
    "-inf", "1_0", "0x1", "1e-400", "9" * 40, "9" * 400, "9" * 5000, "", "+1",
    "1,5", "1.", ".5", "²", "٣", "true", "None", "0b1", "1e", "--1", "1 2")

_ODD_TEXTS = (
    "", " ", ".", "..", "/", "a/../b", "\\", "a b", "a\tb", "é", "😀", "a\0b",
    "a\nb", "a\rb", "a\x0bb", "a\x1cb", "a\u2028b", "a\x85b", "\ufeffa",
    "a\u202eb", "\x1b[31m", "%s", "{}", "*", "[a", "a" * 300, "a" * 5000, "0",
    "1", "-1", "nan", "null", "~", "a;b", "a|b", "a,b", '"', "'", "<a>", "&")


def mostly(sound, odd):
  """A strategy that is `sound` some four times of five."""
  return st.one_of(sound, sound, sound, sound, odd)


def odd_numbers():
  """Texts that may be taken for numbers."""
  return st.one_of(
      st.sampled_from(_ODD_NUMBERS),
      st.integers(-2 ** 70, 2 ** 70).map(str),
      st.floats(allow_nan=True).map(repr))


def numbers(low, high):
  """Texts of numbers from `low` to `high`, or odd ones."""
  return mostly(st.one_of(
      st.integers(low, high).map(str),
      st.floats(low, high).map(lambda x: f"{x:.6g}")), odd_numbers())


def texts():
  """Odd texts of Unicode, without lone surrogates."""
  return st.one_of(
      st.sampled_from(_ODD_TEXTS),
      st.text(st.characters(exclude_categories=["Cs"]), max_size=12))


def names(*sound):
  """Names from a few, so that some come twice; or odd ones."""
  return mostly(st.sampled_from(sound), texts())


def files(text):
  """Bytes of a text file: UTF-8, now and then otherwise."""
  def encode(written, how):
    if how in ("\r\n", "\r"):
      return written.replace("\n", how).encode("utf-8", "surrogatepass")
    if how == "cut":
      return written.encode("utf-8", "surrogatepass")[:-1]
    if how == "noise":
      return written.encode("utf-8", "surrogatepass") + b"\xff\xfe"
    return written.encode(how, "surrogatepass")
  return st.builds(encode, text, mostly(st.just("utf-8"), st.sampled_from(
      ["utf-8-sig", "utf-16", "utf-16-le", "utf-32", "\r\n", "\r", "cut",
       "noise"])))


def json_values():
  """Any value of JSON, and what Python takes for one."""
  leaves = st.one_of(
      st.none(), st.booleans(), st.sampled_from(
          [0, 1, -1, 2, 2 ** 31, 2 ** 63, 2 ** 64, -2 ** 63, 10 ** 400, 0.0,
           -0.0, 0.5, 1e39, 1e308, -1e308, float("nan"), float("inf"),
           -float("inf"), "", "0", "1", "a", "\ud800", "a\0b", "a" * 3000,
           "a\nb", "\x1b[31m"]),
      st.integers(-100, 100), st.floats(), st.text(max_size=5))
  return st.one_of(
      leaves, st.recursive(
          leaves, lambda inner: st.one_of(
              st.lists(inner, max_size=3),
              st.dictionaries(st.text(max_size=3), inner, max_size=3)),
          max_leaves=5),
      st.integers(1, 4000).map(_nested), st.just([0] * 3000))


def _nested(depth):
  value = []
  for _ in range(depth):
    value = [value]
  return value


@st.composite
def altered_json(draw, document, sound=None):
  """A JSON document with something wrong in up to three places; its bytes.

  Args:
    draw: hypothesis'.
    document: a sound one; not changed.
    sound: strategy of values that may stand anywhere; `json_values` if None.
  """
  document = json.loads(json.dumps(document))
  for _ in range(draw(st.integers(0, 3))):
    places = list(_places(document))
    if not places:
      break
    holder, key = places[draw(st.integers(0, len(places) - 1))]
    what = draw(st.sampled_from(("put", "put", "put", "remove", "twice")))
    if what == "put":
      holder[key] = draw(sound or json_values())
    elif what == "remove":
      del holder[key]
    elif isinstance(holder, list):
      holder.append(holder[key])
    else:
      holder[draw(st.text(max_size=4))] = holder[key]
  try:
    text = json.dumps(document)
  except RecursionError:  # Python writes less deep than it reads.
    text = _deep_json(document)
  return draw(mostly(st.just(text.encode("utf-8")), st.sampled_from([
      b"\xef\xbb\xbf" + text.encode("utf-8"), text.encode("utf-16"),
      text.encode("utf-8")[:-1], text.encode("utf-8") + b"x", b"", b"[]",
      b"null", b"[" * 100_000, b'{"a":' * 100_000,
      text.replace("1", "1" * 5000).encode("utf-8")])))


def _places(value):
  """Yields (holder, key) of everything within a value; not too deep."""
  waiting = [(value, 0)]
  while waiting:
    holder, depth = waiting.pop()
    keys = (list(holder) if isinstance(holder, dict)
            else range(len(holder)) if isinstance(holder, list) else ())
    for key in keys:
      yield holder, key
      if depth < 8:
        waiting.append((holder[key], depth + 1))


def _deep_json(value):
  if isinstance(value, list):
    # Only `_nested` is so deep.
    depth = 0
    while value and isinstance(value, list):
      value, depth = value[0], depth + 1
    return "[" * (depth + 1) + "]" * (depth + 1)
  if isinstance(value, dict):
    return "{" + ",".join(
        f"{json.dumps(key)}:{_deep_or_not(one)}"
        for key, one in value.items()) + "}"
  return json.dumps(value)


def _deep_or_not(value):
  try:
    return json.dumps(value)
  except RecursionError:
    return _deep_json(value)
