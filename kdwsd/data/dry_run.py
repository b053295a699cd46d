"""A dry run of a conversion: checks all but the pixels and writes nothing.

It needs neither TensorFlow nor disk space; a million images take seconds.
"""

import collections

from kdwsd import errors
from kdwsd.data import class_counts
from kdwsd.data import image_listing

_SHOWN = 5  # Faults.


def report(source, problems):
  """Checks the items of a source.

  Args:
    source: a `sources.Source`.
    problems: the `sources.Problems` it was read with; it must skip bad items,
      so that all faults are counted.

  Returns:
    (text, number of faults): lines for the terminal.
  """
  try:
    items = image_listing.present(source, problems)
  except errors.InputError:  # No image is left.
    items = []
  faults = problems.messages
  present, unknown = collections.Counter(), collections.Counter()
  for item in items:
    present.update(item.label_ids)
    unknown.update(item.unknown_label_ids)
  lines = [("images", f"{len(items)}, files that are there"),
           ("labels", f"{sum(present.values())} of {len(source.classes)} "
                      "classes")]
  lines += class_counts.lines(*(
      {name: counts[i] for i, name in enumerate(source.classes)}
      for counts in (present, unknown)))
  lines.append(("objects", _objects(items)))
  lines.append(("faults", f"{len(faults)}" + (
      f", the first {_SHOWN}" if len(faults) > _SHOWN else "")))
  lines += [("", message) for message in faults[:_SHOWN]]
  return ("\n".join(f"  {name:<10} {value}" for name, value in lines)
          + "\nNothing was written, no image was opened."), len(faults)


def _objects(items):
  known = [item.objects for item in items if item.objects is not None]
  if not known:
    return "no boxes in the source"
  dropped = sum(objects.dropped for objects in known)
  first = next((objects.fault for objects in known if objects.fault), "")
  return f"{sum(len(objects.class_ids) for objects in known)}" + (
      f"; {dropped} boxes dropped, first: {first}" if dropped else "")
