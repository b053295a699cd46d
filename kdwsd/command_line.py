"""The entry point that all programs share.

It silences TensorFlow's start-up messages, reports an `InputError` in one line
with exit status 2, and SIGTERM or SIGINT in one line with status 143 or 130
(see `interruption`). Import it before TensorFlow.
"""

import logging as python_logging
import os
import sys
import warnings

from absl import app
from absl import flags
from absl import logging

from kdwsd import errors
from kdwsd import interruption
from kdwsd import invocation
from kdwsd import native_logs
from kdwsd import shipped
from kdwsd import standard_output

EXIT_BAD_INPUT = 2

# Packages whose notes are not shown; their warnings are.
_NOTING = ("tensorflow", "keras", "tf_keras")


def run(main):
  """Runs `main(argv)` under absl; never returns.

  Args:
    main: function of the remaining command-line arguments. Only the program's
      name is accepted, unless `main.takes_arguments` is true.
  """
  _survive_any_encoding()
  os.environ.setdefault(native_logs.VARIABLE, "3")
  native_logs.follow()
  warnings.filterwarnings("ignore", category=FutureWarning)
  warnings.filterwarnings("ignore", module="tensorflow_addons")

  def guarded(argv):
    if len(argv) > 1 and not getattr(main, "takes_arguments", False):
      _fail(f"expected flags only. Received: {' '.join(argv[1:])!r}.")
    logging.use_python_logging(quiet=True)
    logging.set_verbosity(logging.INFO)
    logging.set_stderrthreshold(logging.INFO)
    logging.get_absl_handler().setFormatter(
        python_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    # Of the handler, which gets what is logged by any name.
    logging.get_absl_handler().addFilter(_means_something)
    shipped.log_use()
    try:
      return main(argv)
    except interruption.Interrupted as interrupted:
      return _end(interrupted)
    except errors.InputError as error:
      return _fail(str(error))

  interruption.install()
  program = sys.modules["__main__"]
  if program.__doc__:  # absl prints it for --help.
    program.__doc__ = invocation.adapt(program.__doc__)
  shipped.find_flagfiles(flags.FLAGS)
  with standard_output.may_be_unread():
    app.run(guarded, flags_parser=_parse)


def _means_something(record):
  """False for what TensorFlow and Keras note of their own.

  Such as what was saved, and that 16 bits suit the GPU.
  """
  return record.levelno > python_logging.INFO or not any(
      record.pathname.startswith(os.path.dirname(sys.modules[name].__file__)
                                 + os.sep)
      for name in _NOTING if getattr(sys.modules.get(name), "__file__", None))


def _survive_any_encoding():
  """Escapes characters that the terminal's encoding lacks.

  Otherwise Python would raise at the first such class name, perhaps after
  hours of training.
  """
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # Streams may be None or replaced.
      stream.reconfigure(errors="backslashreplace")


def _parse(argv):
  """Parses flags; reports in one line the errors that absl lets through.

  For example a binary flagfile, or a value after --noflag.
  """
  try:
    return app.parse_flags_with_usage(argv)
  except (ValueError, RecursionError) as error:
    return _fail("expected flags. Received: "
                 f"{' '.join(str(error).split())[:200]}.")


def _end(interrupted):
  """Exits without waiting for TensorFlow's threads or other workers."""
  logging.info("%s", interrupted.message)
  logging.flush()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(interrupted.code)


def _fail(message):
  print(f"error: {invocation.adapt(message)}", file=sys.stderr)
  sys.exit(EXIT_BAD_INPUT)
