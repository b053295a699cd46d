"""A limit on the size of files, which fails a write as a full disk does."""

import contextlib
import resource
import signal


@contextlib.contextmanager
def none():
  """Yields a function that limits files to some bytes until the block ends."""
  limits = resource.getrlimit(resource.RLIMIT_FSIZE)
  handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
  try:
    yield lambda size: resource.setrlimit(
        resource.RLIMIT_FSIZE, (size, limits[1]))
  finally:
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    signal.signal(signal.SIGXFSZ, handler)
