"""What a server's batching file says of an export's warm-up requests.

TensorFlow Serving joins requests as its --batching_parameters_file tells, and
refuses a request of more rows than `max_batch_size`. If that is a warm-up
request, the version does not load, and a server that waits for its first
version never opens its ports.
"""

import re

from kdwsd import errors

# `max_batch_size` of the serving kit's files in export/, where the package may
# be installed without them: of a student, of a teacher.
KIT_FILES = {False: "export/batching_parameters.txt",
             True: "export/teacher_batching_parameters.txt"}
KIT_MAX_BATCH_SIZES = {False: 32, True: 8}

# Source: TensorFlow 2.15, core/kernels/batching_util/basic_batch_scheduler.h.
_DEFAULT_MAX_BATCH_SIZE = 1000


def max_batch_size(path):
  """Reads how many rows a server takes in a request.

  Args:
    path: of a --batching_parameters_file.

  Returns:
    Its `max_batch_size`, or what TensorFlow Serving takes if there is none.

  Raises:
    errors.InputError: it cannot be read, or has a field that is no number.
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
  """Checks that a server will take the warm-up requests.

  Args:
    batch_sizes: of the requests.
    path: of the server's batching file; None for the serving kit's; empty for
      a server that joins no requests.
    detector: whether the kit's file for a teacher is meant.

  Raises:
    errors.InputError: a size is above the limit; or see `max_batch_size`.
  """
  if path == "" or not batch_sizes:
    return
  most = (KIT_MAX_BATCH_SIZES[detector] if path is None
          else max_batch_size(path))
  if max(batch_sizes) > most:
    raise errors.InputError(
        f"--warmup: expected at most {most} images a request, max_batch_size "
        f"of {path or KIT_FILES[detector]}; TensorFlow Serving does not start "
        f"with a larger one. Received: {max(batch_sizes)}. If your server has "
        "another batching file, give it by --batching_parameters_file; if it "
        "has none, leave that flag empty.")
