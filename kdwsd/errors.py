"""The error class for input that the user can correct."""


class InputError(ValueError):
  """Invalid input; the message alone must tell the user what to do.

  It names the place (`train.txt:17`), what was expected and, after
  `Received:`, what was found. Programs print it without a traceback and exit
  with status 2 (`command_line.run`).
  """
