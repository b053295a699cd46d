"""How the user starts programs: `python -m kdwsd.NAME`, or `kdwsd NAME`.

Messages name programs in the first form. `adapt` turns it into the second for
users of the command `kdwsd`, whose `python` may be one without the package.
"""

import re

_MODULE = re.compile(r"\bpython -m kdwsd\.([a-z_]+)")

_by_command = False


def use_command():
  """Notes that this process was started by the command `kdwsd`."""
  global _by_command
  _by_command = True


def adapt(text):
  """Names programs in a text in the way that the user started this one."""
  if not _by_command:
    return text
  return _MODULE.sub(
      lambda found: f"kdwsd {found[1].replace('_', '-')}", text)
