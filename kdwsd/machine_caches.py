"""Where this machine keeps what belongs to a folder of an object store.

Caches are mapped into memory or read at random, which takes a local disk. They
lie beside local records and runs; for remote ones they lie in
`~/.cache/kdwsd`, or in `kdwsd` below `XDG_CACHE_HOME`, until someone removes
them.
"""

import hashlib
import os

from kdwsd import places


def folder(directory):
  """The local folder of the caches of a directory, existing or not.

  Args:
    directory: path of records or of a run.

  Returns:
    `directory` itself if it is local.
  """
  if not places.is_remote(directory):
    return directory
  home = os.environ.get("XDG_CACHE_HOME") or os.path.join(
      os.path.expanduser("~"), ".cache")
  path = places.normpath(directory)
  digest = hashlib.sha256(path.encode()).hexdigest()[:12]
  return os.path.join(home, "kdwsd", f"{os.path.basename(path)}-{digest}")
