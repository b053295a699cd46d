"""TensorFlow's C API, from the libraries in its wheel, without its Python.

Sources: tensorflow/c/c_api.h, tf_status.h, tf_tensor.h and tf_tstring.h.
"""

import ctypes
import importlib.util
import os

_library = None


class NativeError(RuntimeError):
  """What the C++ loader or session answers instead of a result.

  Attributes:
    code: of tensorflow/c/tf_status.h, for example 3, invalid argument.
  """

  def __init__(self, message, code):
    super().__init__(message)
    self.code = code

  def __reduce__(self):
    return NativeError, (str(self), self.code)


class Output(ctypes.Structure):
  """A TF_Output: one end of an operation."""
  _fields_ = (("operation", ctypes.c_void_p), ("index", ctypes.c_int))


class Buffer(ctypes.Structure):
  """A TF_Buffer."""
  _fields_ = (("data", ctypes.c_void_p), ("length", ctypes.c_size_t),
              ("deallocator", ctypes.c_void_p))


class Status:
  """A TF_Status that raises when the block ends."""

  def __init__(self, c):
    self._c = c

  def __enter__(self):
    self._pointer = self._c.TF_NewStatus()
    return self._pointer

  def __exit__(self, kind, *_):
    code = self._c.TF_GetCode(self._pointer)
    message = self._c.TF_Message(self._pointer).decode(errors="replace")
    self._c.TF_DeleteStatus(self._pointer)
    if code and kind is None:
      raise NativeError(message, code)


def load():
  """The C API with its argument types; loaded once."""
  global _library
  if _library is None:
    # Found, not imported.
    folder = os.path.dirname(importlib.util.find_spec("tensorflow").origin)
    framework = ctypes.CDLL(os.path.join(
        folder, "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(
        os.path.join(folder, "libtensorflow_cc.so.2"), ctypes.RTLD_GLOBAL)
    _declare(library, framework)
    _library = library
  return _library


def _declare(library, framework):
  pointer, text = ctypes.c_void_p, ctypes.c_char_p
  integer, size = ctypes.c_int, ctypes.c_size_t
  buffer = ctypes.POINTER(Buffer)
  for name, result, arguments in (
      ("TF_NewStatus", pointer, []), ("TF_DeleteStatus", None, [pointer]),
      ("TF_GetCode", integer, [pointer]), ("TF_Message", text, [pointer]),
      ("TF_NewGraph", pointer, []), ("TF_DeleteGraph", None, [pointer]),
      ("TF_NewSessionOptions", pointer, []),
      ("TF_DeleteSessionOptions", None, [pointer]),
      ("TF_NewBuffer", buffer, []), ("TF_DeleteBuffer", None, [buffer]),
      ("TF_LoadSessionFromSavedModel", pointer,
       [pointer, buffer, text, ctypes.POINTER(text), integer, pointer, buffer,
        pointer]),
      ("TF_CloseSession", None, [pointer] * 2),
      ("TF_DeleteSession", None, [pointer] * 2),
      ("TF_GraphOperationByName", pointer, [pointer, text]),
      ("TF_SessionRun", None,
       [pointer, buffer, pointer, pointer, integer, pointer, pointer, integer,
        pointer, integer, buffer, pointer]),
      ("TF_AllocateTensor", pointer, [integer, pointer, integer, size]),
      ("TF_DeleteTensor", None, [pointer]),
      ("TF_TensorData", pointer, [pointer]),
      ("TF_TensorType", integer, [pointer]),
      ("TF_TensorElementCount", ctypes.c_int64, [pointer]),
      ("TF_NumDims", integer, [pointer]),
      ("TF_Dim", ctypes.c_int64, [pointer, integer]),
      ("TF_StringInit", None, [pointer]),
      ("TF_StringCopy", None, [pointer, text, size]),
      ("TF_StringDealloc", None, [pointer]),
      ("TF_StringGetDataPointer", pointer, [pointer]),
      ("TF_StringGetSize", size, [pointer])):
    try:
      function = getattr(library, name)
    except AttributeError:  # It depends on the version which has what.
      function = getattr(framework, name)
      setattr(library, name, function)
    function.restype, function.argtypes = result, arguments
