"""The one error class for input a user can mend."""


class InputError(ValueError):
  """Something the user gave is wrong; the message alone must suffice.

  A message says where (`train.txt:17`), what was expected, and after
  `Received:` what came. Binaries print it without a traceback and exit with
  status 2 (`command_line.run`).
  """
