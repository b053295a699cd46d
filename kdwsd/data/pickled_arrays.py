"""Reads pickles of NumPy arrays and plain containers without executing them.

A pickle is a program that names functions and calls them. Even restricted to
harmless names, Python's unpickler allocates memory for any memo index and
hashes nested tuples until its stack overflows. Therefore this module interprets
only the opcodes that arrays and plain containers need, and maps names to its
own functions: a file cannot import, call or hash anything.

Arrays of numbers and of text become NumPy arrays; arrays of objects become
lists. Names of NumPy 1 (`numpy.core`) and 2 (`numpy._core`) are both read.

Source: the opcodes and their arguments are described in `pickletools`.
"""

import io
import math
import pickletools
import re
import types

import numpy as np

from kdwsd import errors
from kdwsd import places
from kdwsd.data import plain_arrays
from kdwsd.data import texts

_KIND = re.compile(r"[|<>=]?([biufUSO][1-9]\d{0,6})")

# Opcodes that push their argument, a new value, or a tuple of 1 to 3 items.
_ARGUMENTS = frozenset((
    "INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT BINFLOAT STRING "
    "BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 "
    "BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8").split())
_VALUES = {
    "NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False,
    "EMPTY_LIST": list, "EMPTY_TUPLE": list, "EMPTY_DICT": dict}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


def read(path, what):
  """Reads a pickle.

  Args:
    path: path of the file.
    what: description of the expected content, for messages.

  Returns:
    Dicts, lists, numbers, text, bytes and NumPy arrays, as in the file. Tuples
    are read as lists, text of Python 2 as Latin-1.

  Raises:
    errors.InputError: missing, damaged, too large, or with other content.
  """
  try:
    with places.open_bytes(path) as file:
      return _Interpreter(file.read()).run()
  except Exception as error:  # Damaged files raise errors of many types.
    text = isinstance(error, (ValueError, OSError)) and str(error)
    received = getattr(error, "strerror", None) or (
        text or f"a damaged pickle ({type(error).__name__})")
    raise errors.InputError(
        f"{path}: expected {what}. Received: {texts.shown(received)}."
    ) from error


class _Interpreter:
  """Interprets the opcodes of a pickle."""

  def __init__(self, content):
    self._content = content
    self._left = plain_arrays.most_bytes(len(content))
    self._stack, self._marks, self._memo = [], [], {}

  def run(self):
    """Interprets all opcodes; returns the result."""
    stack, memo = self._stack, self._memo
    for opcode, argument, _ in pickletools.genops(io.BytesIO(self._content)):
      name = opcode.name
      if name in _ARGUMENTS:
        stack.append(argument)
      elif name in _VALUES:
        stack.append(_VALUES[name]())
      elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
        slot = len(memo) if name == "MEMOIZE" else argument
        memo[slot] = stack[-1]
        if isinstance(stack[-1], _Array):
          stack[-1].slots.append(slot)
      elif name in ("GET", "BINGET", "LONG_BINGET"):
        stack.append(memo[argument])
      elif name == "MARK":
        self._marks.append(len(stack))
      elif name in ("TUPLE", "LIST"):
        stack.append(self._after_mark())
      elif name in _TUPLES:
        stack[-_TUPLES[name]:] = [stack[-_TUPLES[name]:]]
      elif name == "DICT":
        items = _data(self._after_mark())
        stack.append(dict(zip(items[::2], items[1::2])))
      elif name in ("APPEND", "APPENDS"):
        items = self._after_mark() if name == "APPENDS" else [stack.pop()]
        stack[-1].extend(_data(items))
      elif name in ("SETITEM", "SETITEMS"):
        items = _data(self._after_mark() if name == "SETITEMS" else
                      [stack.pop(-2), stack.pop()])
        stack[-1].update(zip(items[::2], items[1::2]))
      elif name == "GLOBAL":
        stack.append(_function(*argument.split(" ", 1)))
      elif name == "STACK_GLOBAL":
        stack.append(_function(stack.pop(-2), stack.pop()))
      elif name == "REDUCE":
        arguments, function = stack.pop(), stack.pop()
        if not isinstance(function, types.FunctionType):
          raise ValueError("a call of something that is not a function")
        stack.append(function(self, *arguments))
      elif name == "BUILD":
        self._build(stack.pop(), stack.pop())
      elif name == "DUP":
        stack.append(stack[-1])
      elif name == "POP_MARK":
        self._after_mark()
      elif name == "POP":
        if self._marks and self._marks[-1] == len(stack):
          self._marks.pop()
        else:
          stack.pop()
      elif name == "STOP":
        return _data(stack)[-1]
      elif name not in ("PROTO", "FRAME"):
        raise ValueError(
            f"a pickle with {name}, which plain arrays do not need")
    raise ValueError("a pickle without an end")

  def _after_mark(self):
    """Pops the items after the last mark from the stack."""
    at = self._marks.pop()
    items = self._stack[at:]
    del self._stack[at:]
    return items

  def _build(self, state, made):
    """Sets the byte order of a type, or replaces an array by its value."""
    if isinstance(made, _Type):
      # Version, byte order, subarray, names, fields, size, alignment, flags.
      _, order, *parts = state
      if order not in ("<", ">", "|", "=") or any(
          part is not None for part in parts[:3]):
        raise ValueError("an array of records")
      made.order = order
      self._stack.append(made)
    elif isinstance(made, _Array):
      _, shape, kind, fortran, raw = state
      if isinstance(kind, _Type) and kind.name[0] == "O":
        if not isinstance(raw, list) or [len(raw)] != shape:
          raise ValueError("an array of objects that is not a list")
        value = raw
      else:
        value = self.array(raw, kind, shape, "F" if fortran else "C")
      self._stack.append(value)
      self._memo.update(dict.fromkeys(made.slots, value))
    else:
      raise ValueError("a state for something that is not an array")

  def array(self, raw, kind, shape, order):
    """An array of numbers or text; shares the memory of its bytes."""
    if (not isinstance(kind, _Type) or kind.name[0] == "O" or len(shape) > 4
        or not all(type(side) is int and 0 <= side < 2 ** 48 for side in shape)
        or order not in ("C", "F")):
      raise ValueError("an array without shape or type")
    if isinstance(raw, str):  # Arrays of Python 2 hold their bytes as text.
      raw = self.encoded(raw)
    dtype = np.dtype(kind.order + kind.name)
    if not isinstance(raw, (bytes, bytearray)) or (
        len(raw) != math.prod(shape) * dtype.itemsize):
      raise ValueError("an array whose bytes do not fill its shape")
    return plain_arrays.checked(
        np.frombuffer(raw, dtype).reshape(shape, order=order))

  def encoded(self, text):
    """Latin-1 bytes of a text; their total is limited, as texts are shared."""
    self._left -= len(text)
    if self._left < 0:
      raise ValueError("arrays larger than their file could hold")
    return text.encode("latin1")


class _Type:
  """A dtype: a letter and a size; `_build` sets the byte order later."""

  def __init__(self, name):
    match = _KIND.fullmatch(name) if isinstance(name, str) else None
    if not match:
      raise ValueError(
          f"an array of type {texts.quoted(name)}, neither numbers nor text")
    self.name, self.order = match[1], "="


class _Array:
  """An array before `_build` sets its value.

  Attributes:
    slots: indices of the memo that refer to the array.
  """

  def __init__(self):
    self.slots = []


def _data(items):
  """Returns the items; raises ValueError unless all are complete data."""
  if any(isinstance(one, (_Type, _Array, types.FunctionType)) for one in items):
    raise ValueError("a function or type in place of data")
  return items


def _function(module, name):
  """The function of this module that stands for a name in a pickle."""
  place = re.sub(r"^numpy\._core\b", "numpy.core", module), name
  if place not in _FUNCTIONS:
    raise ValueError(
        f"a pickle that refers to {texts.shown(module)}.{texts.shown(name)};"
        " only NumPy arrays and plain containers are read")
  return _FUNCTIONS[place]


def _encode(interpreter, text, encoding):
  if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
    raise ValueError("bytes of another encoding than latin1")
  return interpreter.encoded(text)


def _bytes(_, *parts):
  if parts and not (len(parts) == 1 and isinstance(parts[0], bytes)):
    raise ValueError("bytes made from something else")
  return parts[0] if parts else b""


def _dict(_, *arguments):
  if any(isinstance(one, (list, dict)) for one in arguments):
    raise ValueError("an ordered dict of Python 2; write a plain dict")
  return {}


def _mode(_, value):
  if type(value) is not int:
    raise ValueError("a mode of boxes that is not a number")
  return value


# Each is called with the interpreter and the arguments in the file.
_FUNCTIONS = {
    ("numpy", "ndarray"): None,  # Occurs only as an argument.
    ("numpy", "dtype"): lambda _, name, *flags: _Type(name),
    # The arguments are always (ndarray, (0,), b"b"); `_build` has the shape.
    ("numpy.core.multiarray", "_reconstruct"): lambda *arguments: _Array(),
    ("numpy.core.multiarray", "scalar"): (
        lambda interpreter, kind, raw: interpreter.array(
            raw, kind, [], "C").item()),
    ("numpy.core.numeric", "_frombuffer"): (
        lambda interpreter, *arguments: interpreter.array(*arguments)),
    ("_codecs", "encode"): _encode,
    ("collections", "OrderedDict"): _dict,
    ("collections", "defaultdict"): _dict,
    # An enumeration; 0 for x, y, x, y and 1 for x, y, width, height.
    ("detectron2.structures.boxes", "BoxMode"): _mode,
}
for _module in ("builtins", "__builtin__"):
  _FUNCTIONS[_module, "bytes"] = _FUNCTIONS[_module, "bytearray"] = _bytes
  _FUNCTIONS[_module, "list"] = lambda _: []  # Of a defaultdict.
