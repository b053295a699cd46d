"""The command `kdwsd`, also `python -m kdwsd`: runs a program of the package.

`kdwsd make-records ...` runs the module as `python -m kdwsd.make_records ...`
does, in the same process.
"""

import difflib
import os
import platform
import re
import runpy
import sys

import kdwsd
from kdwsd import invocation
from kdwsd import legacy_keras
from kdwsd import standard_output

# In the order of use.
PROGRAMS = ("make-records", "show-records", "train", "evaluate", "report",
            "export", "predict", "serve", "recipes", "serving-kit", "docs")

_BAD_COMMAND = 2


def command():
  """The entry point of the command `kdwsd`."""
  invocation.use_command()
  main(sys.argv[1:], "kdwsd")


def main(arguments, name):
  """Runs a program, or prints help or version.

  Args:
    arguments: the command line without the name of the program.
    name: how the user started it, `kdwsd` or `python -m kdwsd`.
  """
  first, *rest = arguments or [""]
  if first == "help" and rest:
    first, rest = rest[0], ["--help"]
  if first in ("help", "-h", "-help", "--help", "--helpshort", "--helpfull"):
    _print(_help(name))
  elif first in ("version", "-version", "--version"):
    _print(_version())
  elif first.replace("_", "-") in PROGRAMS:
    # runpy replaces the first one by the path of the module.
    sys.argv = [name, *rest]
    runpy.run_module(f"kdwsd.{first.replace('-', '_')}",
                     run_name="__main__", alter_sys=True)
  elif not first:
    print(_help(name), file=sys.stderr)
    sys.exit(_BAD_COMMAND)
  else:
    close = difflib.get_close_matches(first, PROGRAMS, n=1)
    hint = f"do you mean {close[0]}?" if close else (
        f"{name} --help lists them.")
    print(f"error: expected a command of kdwsd first. Received: {first!r}; "
          f"{hint}", file=sys.stderr)
    sys.exit(_BAD_COMMAND)


def _print(text):
  with standard_output.may_be_unread():
    print(text)


def _help(name):
  width = max(map(len, PROGRAMS))
  listed = "\n".join(f"  {program:{width}}  {_summary(program)}"
                     for program in PROGRAMS)
  return (f"{kdwsd.__doc__.splitlines()[0]}\n\n"
          f"usage: {name} COMMAND [--flag=value ...]\n\n"
          f"Commands:\n{listed}\n\n"
          f"{name} COMMAND --help lists the flags of a command, and\n"
          f"{name} --version the versions of kdwsd, TensorFlow and Python.\n\n"
          "To try it without any data, in about a minute:\n"
          f"  {name} train --flagfile=flags/demo/quick.flags")


def _summary(program):
  """The first line of a program's docstring, without the command in it.

  The file is read, because an import would define the program's flags.
  """
  path = os.path.join(os.path.dirname(os.path.abspath(__file__)),
                      f"{program.replace('-', '_')}.py")
  with open(path, encoding="utf-8") as file:
    return re.sub(r'^r?"""|: `.*|\.?$', "", file.readline().rstrip())


def _version():
  found = legacy_keras.tensorflow_version()  # Does not import it.
  lane = "classic" if (found or "").startswith("2.15.") else "modern"
  tensorflow = f"{found} ({lane} lane)" if found else "not installed"
  return (f"kdwsd {kdwsd.__version__}, TensorFlow {tensorflow}, "
          f"Python {platform.python_version()}")


if __name__ == "__main__":
  main(sys.argv[1:], "python -m kdwsd")
