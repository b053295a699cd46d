"""Lists the pages of documentation: `python -m kdwsd.docs`.

    python -m kdwsd.docs --copy

Help and messages name these pages, such as docs/data.md.
"""

from kdwsd import command_line
from kdwsd import invocation
from kdwsd import shipped

_COPY = shipped.define_copy("docs", "pages")


def main(_):
  """Lists or copies them."""
  if _COPY.value:
    path, written = shipped.copy("docs", _COPY.value)
    print(f"{path}: {written} files written.")
    return
  print(shipped.table("docs", without=["images"]))
  print(invocation.adapt("\nTo read them: python -m kdwsd.docs --copy"))


if __name__ == "__main__":
  command_line.run(main)
