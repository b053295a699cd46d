"""What `--classes` takes: files of several layouts, or names and commas."""

import os

from hypothesis import strategies as st

from kdwsd.data import sources
from tests.fuzz import grammar as g
from tests.fuzz import oracle
from tests.fuzz.targets import sourced

PLACES = r"^classes\.txt|^card\.json|^--classes|^data\.yaml|^map\.pbtxt"

_CARD = {"format_version": 1, "classes": ["cat", "dog"], "num_images": 3}


def examples():
  """Sound lists."""
  return [{"classes.txt": b"cat\ndog\n\npotted plant\n"},
          {"classes.txt": b"1: dog\n0: cat\n"},
          {"classes.txt": b"dog,1\ncat,0\n"},
          {"classes.txt": b"# label:color_rgb:parts:actions\n"
                          b"background:0,0,0::\ncat:1,2,3::\n"},
          {"data.yaml": b"path: .\nnc: 2\nnames: [cat, dog]\n"},
          {"data.yaml": b"names:\n  0: &a cat\n  1: dog\nmore: *a\n"},
          {"map.pbtxt": b"item {\n  id: 1\n  name: 'cat'\n}\n"},
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
  numbered = st.builds(
      lambda names, first, between: "".join(
          f"{number}{between}{name}\n"
          for number, name in enumerate(names, first)),
      rows, st.integers(0, 2), st.sampled_from([" ", ": ", ",", "\t", ""]))
  value = g.mostly(g.names("cat", "dog"), st.sampled_from(
      ["*a", "&a x", "[a]", "{a: b}", "!!x y", "|", "<<", "? a", "- b", "~"]))
  in_yaml = st.builds(
      lambda count, names: f"nc: {count}\nnames:\n" + "".join(
          f"  {number}: {name}\n" for number, name in enumerate(names)),
      g.numbers(0, 3), st.lists(value, max_size=4))
  field = st.builds(lambda key, one: f" {key}: {one}", st.sampled_from(
      ["id", "name", "display_name"]), st.one_of(g.numbers(0, 3), g.names(
          "'cat'", '"dog"')))
  in_pbtxt = st.lists(st.lists(field, max_size=3).map(
      lambda fields: "item {" + "".join(fields) + " }\n"), max_size=3).map(
          "".join)
  return st.one_of(
      text.map(lambda content: {"classes.txt": content}),
      g.files(numbered).map(lambda content: {"classes.txt": content}),
      g.files(in_yaml).map(lambda content: {"data.yaml": content}),
      g.files(in_pbtxt).map(lambda content: {"map.pbtxt": content}),
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
    of_cvat = any(":" in line for line in listed)
    oracle.demand(len(found) == len(listed) or of_cvat,
                  f"classes lost: {len(found)} of {len(listed)} lines")
  elif os.path.exists(card):
    found = sources.read_classes([card])
  elif os.path.exists(os.path.join(folder, "data.yaml")):
    found = sources.read_classes([os.path.join(folder, "data.yaml")])
  elif os.path.exists(os.path.join(folder, "map.pbtxt")):
    found = sources.read_classes([os.path.join(folder, "map.pbtxt")])
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
