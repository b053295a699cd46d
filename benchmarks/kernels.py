"""Lists what a profile says a GPU did: python -m benchmarks.kernels FOLDER.

    python -m kdwsd.train --profile_steps=10,13 --workdir=run ...
    python -m benchmarks.kernels --steps=4 run/summaries

For each stream of a GPU: its kernels and copies a step, the milliseconds in
which it was busy, those from its first event to its last, and the kernels that
take longest, with the operations that they are of. `python -m benchmarks
--profile=FOLDER` writes such profiles, and so does the flag of training above.
"""

import collections
import glob
import os

from absl import flags

from kdwsd import command_line
from kdwsd import errors

# Lines of a device that are not streams: they repeat what these hold.
_SUMMARIES = ("Steps", "XLA", "TensorFlow", "Source")

FLAGS = flags.FLAGS


def _define_flags():
  """Not when imported: those of `python -m benchmarks` have such names."""
  flags.DEFINE_integer("steps", 1, "Steps in the profile.", lower_bound=1)
  flags.DEFINE_integer("most", 30, "Kernels to list for each stream.",
                       lower_bound=0)


def main(arguments):
  """Prints the tables of a folder."""
  if len(arguments) != 2:
    raise errors.InputError(
        f"expected one folder. Received: {len(arguments) - 1} arguments.")
  print(table(arguments[1], steps=FLAGS.steps, most=FLAGS.most))


def table(folder, *, steps, most=30):
  """What the streams of the GPUs did in a step.

  Args:
    folder: with a file `.xplane.pb`, at any depth.
    steps: how many steps the profile holds.
    most: kernels to list for each stream.

  Returns:
    Text.

  Raises:
    errors.InputError: the folder holds no profile.
  """
  # pylint: disable=import-outside-toplevel
  # Has no public name; TensorBoard's plugin reads the same file.
  from tensorflow.tsl.profiler.protobuf import xplane_pb2
  # pylint: enable=import-outside-toplevel
  paths = sorted(glob.glob(
      os.path.join(glob.escape(folder), "**", "*.xplane.pb"), recursive=True))
  if not paths:
    raise errors.InputError(
        f"{folder}: expected a profile, a file .xplane.pb. Received: none.")
  lines = []
  for path in paths:
    space = xplane_pb2.XSpace()
    with open(path, "rb") as file:
      space.ParseFromString(file.read())
    for plane in space.planes:
      if plane.name.startswith("/device:GPU"):
        for stream in plane.lines:
          if stream.events and not stream.name.startswith(_SUMMARIES):
            lines += _of_stream(plane, stream, steps, most)
  return "\n".join(lines or ["no GPU in this profile"])


def _of_stream(plane, stream, steps, most):
  """Lines of text about a stream."""
  taken, count = collections.Counter(), collections.Counter()
  for event in stream.events:
    what = _name(plane, event)
    taken[what] += event.duration_ps
    count[what] += 1
  start = min(event.offset_ps for event in stream.events)
  end = max(event.offset_ps + event.duration_ps for event in stream.events)
  milliseconds = 1e9 * steps  # Picoseconds of all steps.
  yield (f"{plane.name} {stream.name}: {len(stream.events) / steps:.0f} events "
         f"a step, busy {sum(taken.values()) / milliseconds:.2f} of "
         f"{(end - start) / milliseconds:.2f} ms")
  for what, duration in taken.most_common(most):
    yield (f"{duration / milliseconds:9.4f} ms {count[what] / steps:6.1f} x  "
           f"{what}")


def _name(plane, event):
  """Name of a kernel, and of the operation that it is of, if it is known."""
  found = {plane.stat_metadata[stat.metadata_id].name:
           stat.str_value or plane.stat_metadata[stat.ref_value].name
           for stat in event.stats}
  operation = found.get("hlo_op") or found.get("tf_op") or ""
  return f"{plane.event_metadata[event.metadata_id].name[:60]} {operation[:70]}"


if __name__ == "__main__":
  _define_flags()
  command_line.run(main)
