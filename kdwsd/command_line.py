"""What every binary does before and after its own work.

Keeps TensorFlow's start-up noise off the terminal, turns an `InputError` into
one line and exit status 2, and SIGTERM or SIGINT into one line and status 143
or 130, see `interruption`. Import it before TensorFlow.
"""

import logging as python_logging
import os
import sys
import warnings

from absl import app
from absl import logging

from kdwsd import errors
from kdwsd import interruption

EXIT_BAD_INPUT = 2


def run(main):
  """Runs `main(argv)` under absl; never returns.

  Args:
    main: function of the remaining command-line arguments, of which only the
      program's name is accepted unless `main` has an attribute
      `takes_arguments` that is true.
  """
  _survive_any_encoding()
  os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
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
    try:
      return main(argv)
    except interruption.Interrupted as interrupted:
      return _end(interrupted)
    except errors.InputError as error:
      return _fail(str(error))

  interruption.install()
  app.run(guarded, flags_parser=_parse)


def _survive_any_encoding():
  """Lets output show as an escape what its encoding has no code for.

  Python would end the program, after hours of training, at the first class
  name in another script.
  """
  for stream in (sys.stdout, sys.stderr):
    if hasattr(stream, "reconfigure"):  # None, or another's, has not.
      stream.reconfigure(errors="backslashreplace")


def _parse(argv):
  """Parses flags; what absl does not refuse itself becomes one line, too.

  A flagfile that is no text, a number after --noflag, a name without end.
  """
  try:
    return app.parse_flags_with_usage(argv)
  except (ValueError, RecursionError) as error:
    return _fail("expected flags. Received: "
                 f"{' '.join(str(error).split())[:200]}.")


def _end(interrupted):
  """Ends the program; TensorFlow's threads and other workers are not awaited.
  """
  logging.info("%s", interrupted.message)
  logging.flush()
  sys.stdout.flush()
  sys.stderr.flush()
  os._exit(interrupted.code)


def _fail(message):
  print(f"error: {message}", file=sys.stderr)
  sys.exit(EXIT_BAD_INPUT)
