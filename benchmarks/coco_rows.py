"""The table of `coco_size`: what was measured, and what is computed from it."""

import dataclasses

_WHAT = {
    "convert_npz": "conversion, proposals of an .npz file, 2 workers",
    "convert_pkl": "conversion, proposals of a .pkl file, 2 workers",
    "open": "opening a split",
    "input": "input pipeline",
    "resume": "first batch of a resumed run",
    "cache": "teacher cache",
    "maps": "kept maps",
    "refusal": "kept maps that do not fit",
    "train": "a resumed run of one step, the whole program",
    "evaluate": "evaluation with detection, COCO and CorLoc",
    "report": "evaluation of a classifier, and the report",
}

# Parts whose memory grows with the images; that of others grows with the
# shards, of which the converter writes 256 at most.
_GROWING = ("convert_npz", "convert_pkl", "evaluate", "report")


@dataclasses.dataclass(frozen=True)
class Row:
  """A row of the table; `computed` instead of measured."""
  part: str
  images: int
  seconds: float
  core_seconds: float
  peak_mib: float
  disk_bytes: int
  remark: str = ""
  computed: bool = False


def table(rows, beyond):
  """Rows as a Markdown table, with computed ones for `beyond` images."""
  lines = ["| part | images | seconds | core seconds | ms of a core an image | "
           "peak MiB | disk GB | |", "|" + 8 * "---|"]
  for part in dict.fromkeys(row.part for row in rows):
    of_part = [row for row in rows if row.part == part]
    for row in of_part + _computed(of_part, beyond):
      one = ("" if not row.images
             else f"{1e3 * row.core_seconds / row.images:.2f}")
      lines.append(
          f"| {_WHAT[part]} | {row.images:,} | {row.seconds:,.1f} | "
          f"{row.core_seconds:,.1f} | {one} | {row.peak_mib:,.0f} | "
          f"{row.disk_bytes / 1e9:,.2f} | "
          f"{'computed' if row.computed else row.remark} |")
  return "\n".join(lines)


def _computed(rows, images):
  """The row along the line through the last two, where there are two."""
  if len(rows) < 2 or rows[-1].part == "input" or (
      rows[-1].images <= rows[-2].images):
    return []
  first, last = rows[-2:]

  def along(name):
    one, other = getattr(first, name), getattr(last, name)
    slope = (other - one) / (last.images - first.images)
    return max(0.0, other + slope * (images - last.images))

  peak = along("peak_mib") if last.part in _GROWING else last.peak_mib
  return [Row(last.part, images, along("seconds"), along("core_seconds"),
              peak, along("disk_bytes"), computed=True)]
