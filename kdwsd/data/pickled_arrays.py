"""Pickles of NumPy arrays and plain containers, read without running them.

A pickle is a program: it names functions and calls them. Here it can name only
what is in `_ADMITTED`, and each name stands for a function of this module, so
that neither NumPy's constructors nor anything else is ever called by the file.
Before that, `pickletools` reads the program without running it: the unpickler
written in C reserves memory for any slot of its memo that a file names, and
hashes tuples within tuples until its stack overflows.

Arrays of numbers and of text become NumPy arrays; arrays of objects become
lists. Names of NumPy 1 (`numpy.core`) and 2 (`numpy._core`) are read alike.

Source: "pickle - Python object serialization", docs.python.org, "Restricting
Globals"; the opcodes are described in `pickletools`.
"""

import io
import math
import pickle
import pickletools
import re

import numpy as np

from kdwsd import errors
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_MOST_NESTED = 50  # Tuples within tuples.
_KIND = re.compile(r"[|<>=]?([biufUSO])([1-9]\d{0,6})")

_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}
_GET = {"GET", "BINGET", "LONG_BINGET"}
_TUPLES = {"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"}
# What classes, other processes or registries of the reader would be asked for.
_REFUSED = {"PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ",
            "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER", "READONLY_BUFFER"}


def read(path, what):
  """Reads a pickle.

  Args:
    path: of the file.
    what: it should be, for the message.

  Returns:
    Dicts, lists, tuples, numbers, text, bytes and NumPy arrays, as in the file.
    Text of Python 2 is read as Latin-1.

  Raises:
    errors.InputError: missing, damaged, too large, or with anything else in it.
  """
  try:
    with open(path, "rb") as file:
      content = file.read()
    _inspect(content)
    return _plain(_Unpickler(content).load())
  except Exception as error:  # A damaged file provokes nearly any.
    told = isinstance(error, (ValueError, OSError)) and str(error)
    received = getattr(error, "strerror", None) or (
        told or f"a damaged pickle ({type(error).__name__})")
    raise errors.InputError(
        f"{path}: expected {what}. Received: {texts.shown(received)}."
    ) from error


def _inspect(content):
  """Raises an error, of any kind, for a program that is not to be run."""
  depths, memo = [], {}  # Of tuples; None for a mark.
  for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
    name, before = opcode.name, opcode.stack_before
    if name in _REFUSED:
      raise ValueError(f"a pickle with {name}, which plain arrays do not need")
    if name in _PUT or name == "MEMOIZE":
      slot = len(memo) if name == "MEMOIZE" else argument
      if not 0 <= slot <= len(memo) + 1:  # Some writers count from 1.
        raise ValueError(f"a memo of {len(memo)} entries with a slot {slot}")
      memo[slot] = depths[-1] or 0
      continue
    taken = []
    if pickletools.markobject in before:
      before = before[:before.index(pickletools.markobject)]
      while depths[-1] is not None:
        taken.append(depths.pop())
      depths.pop()
    for _ in before:
      taken.append(depths.pop() or 0)
    depth = 0
    if name in _TUPLES:
      depth = 1 + max(taken, default=0)
      if depth > _MOST_NESTED:
        raise ValueError(f"tuples nested deeper than {_MOST_NESTED}")
    elif name in _GET:
      depth = memo[argument]
    elif name == "DUP":
      depth = taken[0]
    depths += [None if one is pickletools.markobject else depth
               for one in opcode.stack_after]


class _Admitted:
  """What a name in a pickle stands for; a pickle cannot alter it."""

  __slots__ = ("call",)

  def __init__(self, call):
    self.call = call

  def __call__(self, *arguments):
    return self.call(*arguments)

  def __setstate__(self, _):
    raise ValueError("a state for a function")


class _Type:
  """A dtype that is being read."""

  __slots__ = ("kind", "size", "order")

  def __init__(self, name):
    match = _KIND.fullmatch(name) if isinstance(name, str) else None
    if not match:
      raise ValueError(
          f"an array of type {texts.quoted(name)}, neither numbers nor text")
    self.kind, self.size, self.order = match[1], int(match[2]), "="

  def __setstate__(self, state):
    # Version, byte order, subarray, names, fields, size, alignment, flags.
    _, order, *parts = state
    if order not in ("<", ">", "|", "=") or any(
        part is not None for part in parts[:3]):
      raise ValueError("an array of records")
    self.order = order

  def as_dtype(self):
    """The same as NumPy's."""
    return np.dtype(f"{self.order}{self.kind}{self.size}")


class _Array:
  """An array that is being read."""

  __slots__ = ("value", "spend")

  def __init__(self, spend):
    self.value, self.spend = None, spend

  def __setstate__(self, state):
    _, shape, kind, fortran, raw = state
    if not isinstance(kind, _Type) or not _is_shape(shape):
      raise ValueError("an array without shape or type")
    if kind.kind == "O":
      if len(shape) != 1 or not isinstance(raw, list) or len(raw) != shape[0]:
        raise ValueError("an array of objects that is no list")
      self.value = raw
    else:
      self.value = _values(raw, kind, shape, "F" if fortran else "C",
                           self.spend)


class _Unpickler(pickle.Unpickler):
  """Admits what arrays and plain containers consist of."""

  def __init__(self, content):
    # Arrays of Python 2 hold their bytes as text.
    super().__init__(io.BytesIO(content), encoding="latin1")
    self._left = plain_arrays.most_bytes(len(content))

  def find_class(self, module, name):
    """Never looks anything up."""
    place = re.sub(r"^numpy\._core\b", "numpy.core", module), name
    if place not in _ADMITTED:
      raise ValueError(
          f"a pickle that refers to {texts.shown(module)}.{texts.shown(name)};"
          " only NumPy arrays and plain containers are read")
    return _Admitted(lambda *given: _ADMITTED[place](self, *given))

  def spend(self, count):
    """Counts the bytes of arrays, of which a file may share one many times."""
    self._left -= count
    if self._left < 0:
      raise ValueError("arrays larger than their file could hold")


def _is_shape(value):
  return isinstance(value, tuple) and len(value) <= 4 and all(
      type(side) is int and 0 <= side < 2 ** 48 for side in value)


def _values(raw, kind, shape, order, spend):
  """An array of numbers or text from its bytes."""
  if isinstance(raw, str):
    spend(len(raw))
    raw = raw.encode("latin1")
  dtype = kind.as_dtype()
  if not isinstance(raw, (bytes, bytearray)) or (
      len(raw) != math.prod(shape) * dtype.itemsize):
    raise ValueError("an array whose bytes do not fill its shape")
  return plain_arrays.checked(
      np.frombuffer(raw, dtype).reshape(shape, order=order))


def _new_type(_, name, *_flags):
  return _Type(name)


def _new_array(unpickler, *_arguments):
  # Always (ndarray, (0,), b"b"); the shape comes with the state.
  return _Array(unpickler.spend)


def _no_array(_, *_arguments):
  raise ValueError("a call of numpy.ndarray")


def _from_buffer(unpickler, raw, kind, shape, order):
  if not isinstance(kind, _Type) or kind.kind == "O" or (
      not _is_shape(shape) or order not in ("C", "F")):
    raise ValueError("an array without shape or type")
  array = _Array(unpickler.spend)
  array.value = _values(raw, kind, shape, order, unpickler.spend)
  return array


def _scalar(unpickler, kind, raw):
  if not isinstance(kind, _Type) or kind.kind == "O":
    raise ValueError("a number without type")
  return _values(raw, kind, (), "C", unpickler.spend).item()


def _encode(unpickler, text, encoding):
  if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
    raise ValueError("bytes of another encoding than latin1")
  unpickler.spend(len(text))
  return text.encode("latin1")


def _bytes(unpickler, *parts):
  if parts and not (len(parts) == 1 and isinstance(parts[0], bytes)):
    raise ValueError("bytes that are none")
  unpickler.spend(sum(map(len, parts)))
  return b"".join(parts)


def _dict(_, *arguments):
  if any(isinstance(one, (list, dict)) for one in arguments):
    raise ValueError("an ordered dict of Python 2; write a plain dict")
  return {}


def _mode(_, value):
  if type(value) is not int:
    raise ValueError("a mode of boxes that is no number")
  return value


_ADMITTED = {
    ("numpy", "ndarray"): _no_array,
    ("numpy", "dtype"): _new_type,
    ("numpy.core.multiarray", "_reconstruct"): _new_array,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("builtins", "bytes"): _bytes,
    ("builtins", "bytearray"): _bytes,
    ("__builtin__", "bytes"): _bytes,
    ("__builtin__", "bytearray"): _bytes,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
    ("builtins", "list"): lambda _: [],  # Of a defaultdict.
    ("__builtin__", "list"): lambda _: [],
    # An enumeration; 0 for x, y, x, y and 1 for x, y, width, height.
    ("detectron2.structures.boxes", "BoxMode"): _mode,
}


def _plain(value):
  """Puts the arrays in place of what they were read as.

  Two levels: a dict or list of dicts, lists or arrays; and what is in those. A
  container that a file shares is walked once.
  """
  seen = {}

  def walk(value, levels):
    if isinstance(value, _Array):
      value = value.value
    if isinstance(value, (_Admitted, _Type)):
      raise ValueError("a function or type in place of data")
    if not levels or not isinstance(value, (dict, list, tuple)):
      return value
    key = id(value), levels
    if key not in seen:
      # The second entry keeps the container, and so its id, alive.
      seen[key] = ({name: walk(one, levels - 1) for name, one in value.items()}
                   if isinstance(value, dict) else
                   [walk(one, levels - 1) for one in value]), value
    return seen[key][0]

  return walk(value, 4)
