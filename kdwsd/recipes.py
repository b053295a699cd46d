"""Lists the recipes that come with kdwsd: `python -m kdwsd.recipes`.

    python -m kdwsd.recipes --copy
    python -m kdwsd.train --stage=all --recipe=flags/voc07 --workdir=runs/voc07

A recipe is a flagfile of kdwsd.train for one stage. kdwsd.train finds those of
the package by the names listed here, also where there is no folder flags/;
copy them to change them.
"""

from kdwsd import command_line
from kdwsd import invocation
from kdwsd import shipped

_COPY = shipped.define_copy("flags", "recipes")


def main(_):
  """Lists or copies them."""
  if _COPY.value:
    path, written = shipped.copy("flags", _COPY.value)
    print(f"{path}: {written} files written. Run kdwsd in the folder above it.")
    return
  print(shipped.table("flags", without=["common"]))
  print(invocation.adapt(
      "\nAll four stages of one: python -m kdwsd.train --stage=all "
      "--recipe=flags/voc07 ...\n"
      "One flagfile: python -m kdwsd.train --flagfile=flags/demo/all.flags\n"
      "To change them: python -m kdwsd.recipes --copy"))


if __name__ == "__main__":
  command_line.run(main)
