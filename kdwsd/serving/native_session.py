"""An export in TensorFlow's C++ session, without TensorFlow's Python.

TensorFlow Serving loads a SavedModel with the C++ loader and runs it in a C++
session. Python's `tf.saved_model.load` restores objects instead of looking up
names, and may succeed where a server fails. The libraries in TensorFlow's wheel
have the C++ loader behind the C API, which is called here.

`run_apart` does so in a process that never imports TensorFlow: there an
operation implemented in Python or in an add-on's library fails, as it would on
a server. `Session` is also safe in a process with Python's TensorFlow (both
share the libraries, which are loaded once), but proves less. The local server
runs it: it takes less time per request than Python's session.

Sources: tensorflow/c/c_api.h, tf_status.h, tf_tensor.h and tf_tstring.h.
"""

import contextlib
import ctypes
import functools
import importlib.util
import os
import pickle
import subprocess
import sys
import types
import weakref

import numpy as np

from kdwsd import literal_paths
from kdwsd.serving import meta_graph

# Of tensorflow/c/tf_status.h.
_INVALID_ARGUMENT = 3
_UNIMPLEMENTED = 12
_STRING = 7
_STRING_SIZE = 24  # bytes of a TF_TString

_SERVE = (
    "from kdwsd.serving import native_session; native_session.serve_pipe()")


class NativeError(RuntimeError):
  """An error of the C++ loader or session.

  Attributes:
    code: TF_Code of tensorflow/c/tf_status.h, for example 3, invalid argument.
  """

  def __init__(self, message, code):
    super().__init__(message)
    self.code = code

  def __reduce__(self):
    return NativeError, (str(self), self.code)


class _Types(dict):
  """Types by their numbers in tensorflow/core/framework/types.proto."""

  def __missing__(self, kind):
    raise NativeError(
        "expected tensors of strings, booleans, integers and floats. Received: "
        f"DataType {kind}.", _UNIMPLEMENTED)


_TYPES = _Types({
    1: np.float32, 2: np.float64, 3: np.int32, 4: np.uint8, 5: np.int16,
    6: np.int8, 9: np.int64, 10: np.bool_, 17: np.uint16, 19: np.float16,
    22: np.uint32, 23: np.uint64})


class Session:
  """A loaded SavedModel; a context manager. Threads may share it.

  Attributes:
    signatures: {name: `meta_graph.Signature`}.
    meta_graph: bytes of the MetaGraphDef.
    close: function that frees the model; also called with the last reference.
  """

  def __init__(self, directory, *, tag="serve"):
    """Loads a SavedModel.

    Args:
      directory: directory of a version, which contains saved_model.pb.
      tag: tag of the graph to load.

    Raises:
      NativeError: the loader failed, or a signature names no tensor.
    """
    self._c = c = _library()
    with contextlib.ExitStack() as owned, contextlib.ExitStack() as passing:
      self._graph = c.TF_NewGraph()
      owned.callback(c.TF_DeleteGraph, self._graph)
      options, buffer = c.TF_NewSessionOptions(), c.TF_NewBuffer()
      passing.callback(c.TF_DeleteSessionOptions, options)
      passing.callback(c.TF_DeleteBuffer, buffer)
      with _status(c) as status:
        self._session = c.TF_LoadSessionFromSavedModel(
            options, None, os.fsencode(literal_paths.literal(directory)),
            (ctypes.c_char_p * 1)(tag.encode()), 1, self._graph, buffer, status)
      owned.callback(_end_session, c, self._session)
      content = buffer.contents
      self.meta_graph = ctypes.string_at(content.data, content.length)
      self.signatures = meta_graph.read_signatures(self.meta_graph)
      self._ends = {
          name: self._end(name) for signature in self.signatures.values()
          for ends in (signature.inputs, signature.outputs)
          for name, _ in ends.values()}
      self.close = weakref.finalize(self, owned.pop_all().close)
      self.close.atexit = False  # A thread may still run it.

  def __enter__(self):
    return self

  def __exit__(self, *_):
    self.close()

  def run(self, signature_name, inputs):
    """Runs a signature.

    Args:
      signature_name: one of `signatures`.
      inputs: {key: array}; strings as an array or nested lists of bytes.

    Returns:
      {key: array}; strings as object arrays of bytes.

    Raises:
      NativeError: the session failed, for example due to invalid inputs.
    """
    signature = self.signatures[signature_name]
    keys, values = list(inputs), []
    output_keys = list(signature.outputs)
    outputs = (ctypes.c_void_p * len(output_keys))()
    try:
      for key in keys:
        values.append(self._tensor(inputs[key], signature.inputs[key][1]))
      with _status(self._c) as status:
        self._c.TF_SessionRun(
            self._session, None,
            self._array_of_ends(signature.inputs[key] for key in keys),
            (ctypes.c_void_p * len(keys))(*values), len(keys),
            self._array_of_ends(signature.outputs.values()),
            outputs, len(output_keys), None, 0, None, status)
      return {key: self._array(output)
              for key, output in zip(output_keys, outputs)}
    finally:
      for value in values:
        self._delete(value, strings=True)
      for output in outputs:
        if output:
          self._delete(output)

  def _end(self, name):
    """The TF_Output of a tensor named `operation:index`."""
    operation, _, index = name.rpartition(":")
    found = self._c.TF_GraphOperationByName(self._graph, operation.encode())
    if not (found and index.isdecimal()):  # TF_SessionRun would crash.
      raise NativeError(
          "expected signatures of tensors in the graph. Received: "
          f"{name!r}.", _INVALID_ARGUMENT)
    return _Output(found, int(index))

  def _array_of_ends(self, tensors):
    """TF_Outputs of (tensor name, type)s."""
    ends = [self._ends[name] for name, _ in tensors]
    return (_Output * len(ends))(*ends)

  def _tensor(self, value, kind):
    value = np.asarray(value, object if kind == _STRING else _TYPES[kind])
    size = value.size * _STRING_SIZE if kind == _STRING else value.nbytes
    shape = (ctypes.c_int64 * value.ndim)(*value.shape)
    tensor = self._c.TF_AllocateTensor(kind, shape, value.ndim, size)
    data = self._c.TF_TensorData(tensor)
    if kind == _STRING:
      for index, text in enumerate(value.reshape(-1)):
        text = text.encode() if isinstance(text, str) else bytes(text)
        place = data + index * _STRING_SIZE
        self._c.TF_StringInit(place)
        self._c.TF_StringCopy(place, text, len(text))
    elif size:
      ctypes.memmove(data, np.ascontiguousarray(value).ctypes.data, size)
    return tensor

  def _array(self, tensor):
    c, kind = self._c, self._c.TF_TensorType(tensor)
    shape = [c.TF_Dim(tensor, i) for i in range(c.TF_NumDims(tensor))]
    data, count = c.TF_TensorData(tensor), int(np.prod(shape, dtype=np.int64))
    if kind == _STRING:
      array = np.empty([count], object)
      for index in range(count):
        place = data + index * _STRING_SIZE
        array[index] = ctypes.string_at(
            c.TF_StringGetDataPointer(place), c.TF_StringGetSize(place))
      return array.reshape(shape)
    array = np.empty(shape, _TYPES[kind])
    if array.nbytes:
      ctypes.memmove(array.ctypes.data, data, array.nbytes)
    return array

  def _delete(self, tensor, *, strings=False):
    """Frees a tensor, and its strings if the tensor was made here."""
    if strings and self._c.TF_TensorType(tensor) == _STRING:
      data = self._c.TF_TensorData(tensor)
      for index in range(self._c.TF_TensorElementCount(tensor)):
        self._c.TF_StringDealloc(data + index * _STRING_SIZE)
    self._c.TF_DeleteTensor(tensor)


def run_apart(directory, requests):
  """Loads a SavedModel and runs requests in a process without TensorFlow.

  Args:
    directory: directory of a version, which contains saved_model.pb.
    requests: list of (signature name, {input: array}), see `Session.run`.

  Returns:
    (signatures, list of outputs), see `Session`.

  Raises:
    NativeError: the loader or a request failed, or the process died.
  """
  environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
      path or os.getcwd() for path in sys.path)}
  environment.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
  done = subprocess.run(
      [sys.executable, "-c", _SERVE],
      input=pickle.dumps((directory, requests)), capture_output=True,
      env=environment, check=False)
  if done.returncode:
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    raise NativeError(
        f"the process that loads {directory} exited with {done.returncode}: "
        f"{lines[-1] if lines else 'no output'}", 2)
  answer = pickle.loads(done.stdout)
  if isinstance(answer, NativeError):
    raise answer
  return answer


def serve_pipe():
  """The child process of `run_apart`."""
  directory, requests = pickle.load(sys.stdin.buffer)
  try:
    with Session(directory) as session:
      answer = session.signatures, [
          session.run(name, inputs) for name, inputs in requests]
  except NativeError as error:
    answer = error
  if "tensorflow" in sys.modules:
    raise RuntimeError("TensorFlow's Python was imported: nothing is proven")
  sys.stdout.buffer.write(pickle.dumps(answer))


@contextlib.contextmanager
def _status(c):
  """A TF_Status for a call; raises NativeError where the call failed."""
  status = c.TF_NewStatus()
  try:
    yield status
    if c.TF_GetCode(status):
      raise NativeError(c.TF_Message(status).decode(errors="replace"),
                        c.TF_GetCode(status))
  finally:
    c.TF_DeleteStatus(status)


def _end_session(c, session):
  with _status(c) as status:
    c.TF_CloseSession(session, status)
  with _status(c) as status:
    c.TF_DeleteSession(session, status)


class _Output(ctypes.Structure):
  """A TF_Output: an output of an operation."""
  _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class _Buffer(ctypes.Structure):
  """A TF_Buffer."""
  _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t),
              ("deallocator", ctypes.c_void_p))


_LETTERS = {
    "-": None, "b": ctypes.POINTER(_Buffer), "i": ctypes.c_int,
    "l": ctypes.c_int64, "p": ctypes.c_void_p, "t": ctypes.c_char_p,
    "z": ctypes.c_size_t}
# Types of the result and of the arguments, one letter each.
_FUNCTIONS = {
    "TF_NewStatus": "p", "TF_DeleteStatus": "-p", "TF_GetCode": "ip",
    "TF_Message": "tp", "TF_NewGraph": "p", "TF_DeleteGraph": "-p",
    "TF_NewSessionOptions": "p", "TF_DeleteSessionOptions": "-p",
    "TF_NewBuffer": "b", "TF_DeleteBuffer": "-b",
    "TF_LoadSessionFromSavedModel": "ppbtpipbp", "TF_CloseSession": "-pp",
    "TF_DeleteSession": "-pp", "TF_GraphOperationByName": "ppt",
    "TF_SessionRun": "-pbppippipibp", "TF_AllocateTensor": "pipiz",
    "TF_DeleteTensor": "-p", "TF_TensorData": "pp", "TF_TensorType": "ip",
    "TF_TensorElementCount": "lp", "TF_NumDims": "ip", "TF_Dim": "lpi",
    "TF_StringInit": "-p", "TF_StringCopy": "-ptz", "TF_StringDealloc": "-p",
    "TF_StringGetDataPointer": "pp", "TF_StringGetSize": "zp"}


# Functions that may take long: only they release the GIL. To get it back from
# another thread costs more than all the other calls.
_LONG = ("TF_LoadSessionFromSavedModel", "TF_SessionRun", "TF_CloseSession",
         "TF_DeleteSession")


@functools.cache
def _library():
  """The C API with its argument types, from the libraries in the wheel."""
  # `find_spec` does not import TensorFlow.
  folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
  libraries = {
      load: [load(os.path.join(folder, name), ctypes.RTLD_GLOBAL) for name in (
          "libtensorflow_framework.so.2", "libtensorflow_cc.so.2")]
      for load in (ctypes.CDLL, ctypes.PyDLL)}
  found = types.SimpleNamespace()
  for name, (result, *arguments) in _FUNCTIONS.items():
    load = ctypes.CDLL if name in _LONG else ctypes.PyDLL
    # Versions differ in which library has it.
    function = next(getattr(library, name) for library in libraries[load]
                    if hasattr(library, name))
    function.restype = _LETTERS[result]
    function.argtypes = [_LETTERS[letter] for letter in arguments]
    setattr(found, name, function)
  return found
