"""What `--classes` takes: a file of names, a card, or names and commas."""

import os

from hypothesis import strategies as st

from kdwsd.data import sources
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^classes\.txt|^card\.json|^--classes"

_CARD = {"format_version": 1, "classes": ["cat", "dog"], "num_images": 3}


def examples():
  """Sound lists."""
  return [{"classes.txt": b"cat\ndog\n\npotted plant\n"},
          {"classes.txt": "\ufeffcat\r\nhund é\r\n".encode("utf-8")},
          {"card.json": b'{"classes": ["cat", "dog"]}'},
          {"flag": b"cat,dog,yak"}]


def grammar():
  """One of the three, with odd names; a long one now and then."""
  rows = st.one_of(
      st.lists(g.names("cat", "dog", "yak"), max_size=6),
      st.integers(0, 5).map(lambda n: [f"c{i}" for i in range(10 ** n)]))
  text = g.files(rows.map(lambda names: "".join(
      name + "\n" for name in names)))
  return st.one_of(
      text.map(lambda content: {"classes.txt": content}),
      g.altered_json(_CARD).map(lambda content: {"card.json": content}),
      rows.map(lambda names: {"flag": ",".join(names).encode("utf-8")}))


def check(folder):
  """As many classes as lines, entries or fields, each a name."""
  text = os.path.join(folder, "classes.txt")
  card = os.path.join(folder, "card.json")
  flag = os.path.join(folder, "flag")
  if os.path.exists(text):
    found = sources.read_classes([text])
    listed = [line for line in sourced.lines(sourced.read(text))
              if line.strip()]
    oracle.demand(len(found) == len(listed),
                  f"classes lost: {len(found)} of {len(listed)} lines")
  elif os.path.exists(card):
    found = sources.read_classes([card])
  elif os.path.exists(flag):
    # As the shell gives it: no NUL, and bytes that are no text escaped.
    value = sourced.read(flag).replace(b"\0", b"").decode(
        "utf-8", "surrogateescape")
    found = sources.read_classes(value.split(","))
    if found is None:
      return
  else:
    return
  oracle.demand(found and len(set(found)) == len(found), f"classes {found}")
  for name in found:
    oracle.demand(name and name == name.strip(), f"class {name!r}")
    name.encode("utf-8")
