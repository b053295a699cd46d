"""What the targets of all sources have in common."""

from kdwsd import errors
from kdwsd.data import images
from kdwsd.data import sources
from tests.fuzz import oracle


def check(read, folder, places):
  """Reads a source, skipping what is bad, and checks what comes of it.

  Args:
    read: function of a `sources.Problems`; returns a `sources.Source`.
    folder: of the case.
    places: see `oracle.refusal`; of the refusals of single items.

  Returns:
    The source and the messages.
  """
  problems = sources.Problems("skip")
  found = read(problems)
  oracle.source(found)
  for message in problems.messages:
    oracle.refusal(errors.InputError(message), folder, places)
    message.encode("utf-8")  # It goes into a file.
  for item in found.items:
    images.missing(item.image_path)  # The converter's first question.
  return found, problems.messages


def stop(read, messages):
  """Reads a source again, to stop at the first bad item: a refusal.

  Raises:
    errors.InputError: as it should, where there were messages.
  """
  if not messages:
    return
  try:
    read(sources.Problems("stop"))
  except errors.InputError as error:
    oracle.demand(" ".join(str(error).split()) == messages[0],
                  f"stops with {error}: but skips with {messages[0]}")
    raise
  raise oracle.Broken("skips items: but does not stop at them")


def lines(content):
  """Lines of UTF-8 as editors count them, without the last line's end."""
  text = content.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
  listed = text.split("\n")
  return listed[:-1] if listed and not listed[-1] else listed


def read(path):
  """Bytes of a file; none if it is not there."""
  try:
    with open(path, "rb") as file:
      return file.read()
  except OSError:
    return b""
