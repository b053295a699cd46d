"""Lists the kit for TensorFlow Serving: `python -m kdwsd.serving_kit`.

    python -m kdwsd.serving_kit --copy
    python export/client.py photos/

It has configurations for TensorFlow Serving and a client in plain Python;
export/README.md in it says how to use them.
"""

from kdwsd import command_line
from kdwsd import invocation
from kdwsd import shipped

_COPY = shipped.define_copy("export", "kit")


def main(_):
  """Lists or copies it."""
  if _COPY.value:
    path, written = shipped.copy("export", _COPY.value)
    print(f"{path}: {written} files written. Start with {path}/README.md.")
    return
  print(shipped.table("export"))
  print(invocation.adapt("\nTo use it: python -m kdwsd.serving_kit --copy"))


if __name__ == "__main__":
  command_line.run(main)
