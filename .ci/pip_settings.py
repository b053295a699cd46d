"""Prints pip's settings as settings of uv, for a shell: export NAME='value'.

    eval "$(python3 .ci/pip_settings.py)"

uv does not read pip's configuration: where packages come from, certificates,
proxies and constraints. A setting that uv has been given already is left as it
is. Runs on any Python that has pip.
"""

import ast
import os
import shlex
import subprocess
import sys

# {pip's option: (uv's variable, what separates several values)}.
NAMES = {
    "index-url": ("UV_DEFAULT_INDEX", None),
    "extra-index-url": ("UV_INDEX", " "),
    "find-links": ("UV_FIND_LINKS", ","),
    "no-index": ("UV_OFFLINE", None),
    "trusted-host": ("UV_INSECURE_HOST", " "),
    "constraint": ("UV_CONSTRAINT", " "),
    "timeout": ("UV_HTTP_TIMEOUT", None),
    "default-timeout": ("UV_HTTP_TIMEOUT", None),
    "cert": ("SSL_CERT_FILE", None),
    "proxy": ("ALL_PROXY", None),
}
# uv's older name of the same setting.
OLDER = {"UV_DEFAULT_INDEX": "UV_INDEX_URL", "UV_INDEX": "UV_EXTRA_INDEX_URL"}


def settings(listing, environment):
  """Translates pip's settings.

  Args:
    listing: output of `pip config list`: lines of section.option='value'.
    environment: {name: value}, whose settings of uv are kept.

  Returns:
    {name: value} of the variables to add.
  """
  options = {}
  # What concerns one command overrides what is global, and variables both.
  for section in ("global", "install", ":env:"):
    for line in listing.splitlines():
      name, _, value = line.partition("=")
      where, _, option = name.rpartition(".")
      if where == section and option in NAMES:
        options[option] = str(ast.literal_eval(value))
  found = {}
  for option, value in options.items():
    name, separator = NAMES[option]
    words = value.split()
    if words and not {name, OLDER.get(name, name)} & set(environment):
      found[name] = separator.join(words) if separator else value.strip()
  if "UV_INDEX" in found and "UV_INDEX_STRATEGY" not in environment:
    # pip takes the best version of all indices, uv that of the first.
    found["UV_INDEX_STRATEGY"] = "unsafe-best-match"
  return found


def main():
  """Prints the settings of the pip of this Python."""
  listing = subprocess.run(
      [sys.executable, "-m", "pip", "config", "list"], stdout=subprocess.PIPE,
      stderr=subprocess.DEVNULL, text=True, check=False).stdout
  for name, value in settings(listing, os.environ).items():
    print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
  main()
