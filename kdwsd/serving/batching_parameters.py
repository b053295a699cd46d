"""Checks warm-up requests against a server's --batching_parameters_file.

TensorFlow Serving rejects a request with more rows than `max_batch_size`. If
that is a warm-up request, the version fails to load, and a server that waits
for its first version never opens its ports.
"""

import re

from kdwsd import errors
from kdwsd import shipped

# The serving kit's files, by whether the model is a detector.
KIT_FILES = {False: "export/batching_parameters.txt",
             True: "export/teacher_batching_parameters.txt"}

# Source: TensorFlow 2.15, core/kernels/batching_util/basic_batch_scheduler.h.
_DEFAULT_MAX_BATCH_SIZE = 1000


def max_batch_size(path):
  """Reads the largest number of rows that a server accepts in a request.

  Args:
    path: a --batching_parameters_file.

  Returns:
    Its `max_batch_size`, or TensorFlow Serving's default.

  Raises:
    errors.InputError: the file cannot be read, or the field is not a number.
  """
  try:
    with open(path, encoding="utf-8") as file:
      text = file.read()
  except (OSError, UnicodeDecodeError) as error:
    raise errors.InputError(
        f"--batching_parameters_file: {path}: expected a text file. Received: "
        f"{getattr(error, 'strerror', None) or error}.") from error
  text = re.sub(r"#.*", "", text)
  if not re.search(r"\bmax_batch_size\b", text):
    return _DEFAULT_MAX_BATCH_SIZE
  found = re.search(
      r"\bmax_batch_size\s*:?\s*[{<]\s*value\s*:\s*(\d+)\s*[,;]?\s*[}>]", text)
  if not found:
    raise errors.InputError(
        f"--batching_parameters_file: {path}: expected max_batch_size {{ "
        "value: N }. Received: another field of that name.")
  return int(found.group(1))


def check_warmup(batch_sizes, path, *, detector):
  """Checks that a server will accept the warm-up requests.

  Args:
    batch_sizes: rows of each request.
    path: the server's batching file; None for the serving kit's, empty for a
      server without batching.
    detector: whether None means the kit's file for a teacher.

  Raises:
    errors.InputError: a size is above the limit; see also `max_batch_size`.
  """
  if path == "" or not batch_sizes:
    return
  most = max_batch_size(
      shipped.path(KIT_FILES[detector]) if path is None else path)
  if max(batch_sizes) > most:
    raise errors.InputError(
        f"--warmup: expected at most {most} images a request, max_batch_size "
        f"of {path or KIT_FILES[detector]}; TensorFlow Serving does not start "
        f"with a larger one. Received: {max(batch_sizes)}. If your server has "
        "another batching file, give it by --batching_parameters_file; if it "
        "has none, leave that flag empty.")
