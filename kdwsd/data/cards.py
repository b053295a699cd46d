"""The data set card: a JSON file that describes a converted split.

| key | what |
|---|---|
| format_version | of the records, `records.FORMAT_VERSION` |
| tool_version, libraries | versions that it was written with |
| name, split | of the data set and of this part of it |
| classes | names; their order gives the label ids |
| images_per_class | images in which the class is present, by name |
| unknown_per_class | images in which presence is unknown, by name; above 0 |
| num_images, num_shards | numbers of records and shards |
| shard_bytes | size of each shard, to detect one of another conversion |
| num_objects | annotated objects; null where the source has no boxes |
| objects_per_class | by name; null likewise |
| num_images_with_boxes_known | images whose objects are known, even if none |
| boxes_clipped | boxes that extended beyond their image |
| boxes_scaled | boxes annotated at another size of their image |
| boxes_dropped | boxes that are invalid, empty or outside their image |
| first_box_fault | message on the first of these three, or null |
| dark_images | count and first ids of images with all samples below 20 |
| samples_taken_for | images by the range that samples were scaled from |
| proposals | method, settings, per_image {mean, min, max}, recall |
| proposals.recall | by IoU, share of the objects that a proposal covers |
| source | format and arguments |
| skipped, skipped_list | number of items; the file that lists them, or null |
| shuffle_seed, max_pixels | as given; a negative seed keeps the order |
| fingerprint | hash of all that decides the shards' bytes, except the pixels |

Recall is over the objects that are neither difficult nor a crowd; it is null
where the source has no boxes.
"""

import collections
import dataclasses

import numpy as np
import PIL

import kdwsd
from kdwsd.data import class_counts
from kdwsd.data import images
from kdwsd.data import preparation
from kdwsd.data import records

_DARK_NAMED = 5  # Dark images named in the card and on the terminal.


@dataclasses.dataclass
class Counts:
  """Sums over the images of one or more shards.

  Attributes: all sums, but `proposals_min` and `proposals_max`;
    `num_with_truth` counts images whose objects are known; `first_box_fault`
    is a text; `first_dark` are the first few image ids, `taken_for` is
    {range: images}.
  """
  images_per_class: np.ndarray   # [C]
  unknown_per_class: np.ndarray  # [C]
  objects_per_class: np.ndarray  # [C]
  num_images: int = 0
  num_with_truth: int = 0
  boxes_clipped: int = 0
  boxes_scaled: int = 0
  boxes_dropped: int = 0
  first_box_fault: str = ""
  num_dark: int = 0
  first_dark: tuple = ()
  taken_for: dict = dataclasses.field(default_factory=dict)
  num_judged: int = 0
  num_matched: tuple = (0,) * len(preparation.RECALL_IOUS)
  proposals_sum: int = 0
  proposals_min: int = None
  proposals_max: int = None

  @classmethod
  def zeros(cls, num_classes):
    """The sums over an empty set of images."""
    return cls(*(np.zeros([num_classes], np.int64) for _ in range(3)))

  def add_image(self, item, prepared):
    """Counts a `sources.Item` and its `preparation.Prepared`."""
    num = len(prepared.boxes)
    other = Counts.zeros(len(self.images_per_class))
    other.images_per_class[list(item.label_ids)] = 1
    other.unknown_per_class[list(item.unknown_label_ids)] = 1
    other.num_images = 1
    other.proposals_sum = other.proposals_min = other.proposals_max = num
    if prepared.is_dark:
      other.num_dark, other.first_dark = 1, (item.image_id,)
    if prepared.taken_for:
      other.taken_for = {prepared.taken_for: 1}
    truth = prepared.truth
    if truth is not None:
      other.boxes_clipped, other.boxes_dropped = truth.clipped, truth.dropped
      other.boxes_scaled, other.first_box_fault = truth.scaled, truth.fault
      other.num_judged = prepared.num_judged
      other.num_matched = prepared.num_matched
    if truth is not None and truth.boxes is not None:
      other.num_with_truth = 1
      np.add.at(other.objects_per_class, item.objects.class_ids[truth.kept], 1)
    self.add(other)

  def add(self, other):
    """Adds the sums of another `Counts`."""
    for name in ("images_per_class", "unknown_per_class", "objects_per_class",
                 "num_images", "num_with_truth", "num_judged", "boxes_clipped",
                 "boxes_scaled", "boxes_dropped", "num_dark", "proposals_sum"):
      setattr(self, name, getattr(self, name) + getattr(other, name))
    self.first_dark = (self.first_dark + other.first_dark)[:_DARK_NAMED]
    self.taken_for = dict(sorted((
        collections.Counter(self.taken_for)
        + collections.Counter(other.taken_for)).items()))
    self.first_box_fault = self.first_box_fault or other.first_box_fault
    self.num_matched = tuple(
        a + b for a, b in zip(self.num_matched, other.num_matched))
    for name, choose in (("proposals_min", min), ("proposals_max", max)):
      both = [value for value in (getattr(self, name), getattr(other, name))
              if value is not None]
      setattr(self, name, choose(both) if both else None)

  def to_json(self):
    """A dict that JSON can hold."""
    return {key: value.tolist() if isinstance(value, np.ndarray) else value
            for key, value in dataclasses.asdict(self).items()}

  @classmethod
  def from_json(cls, content):
    """The inverse of `to_json`."""
    return cls(**{
        key: np.array(value, np.int64) if key.endswith("per_class")
             else tuple(value) if key in ("num_matched", "first_dark")
             else value
        for key, value in content.items()})


def versions():
  """Versions of tool and libraries, which the shards' bytes depend on."""
  import cv2  # pylint: disable=import-outside-toplevel
  return {
      "tool_version": kdwsd.__version__,
      "libraries": {"numpy": np.__version__, "opencv": cv2.__version__,
                    "pillow": PIL.__version__}}


def make(source, *, split, counts, num_shards, proposal_settings, skipped,
         skipped_list, shuffle_seed, max_pixels, fingerprint, shard_bytes=None):
  """Makes the card of a finished split.

  Args:
    source: the `sources.Source`.
    split: name of the split.
    counts: a `Counts` over all shards.
    num_shards: number of shards.
    proposal_settings: a `proposals.Settings`.
    skipped: number of skipped items.
    skipped_list: name of the file that lists them, or None.
    shuffle_seed: argument of `conversion.convert`.
    max_pixels: argument of `conversion.convert`.
    fingerprint: fingerprint of the settings, see `conversion`.
    shard_bytes: sizes of the shards, in order; None where not known.

  Returns:
    A dict with the keys of the module's docstring.
  """
  known = counts.num_with_truth > 0
  settings = dict(proposal_settings.as_dict())
  method = settings.pop("method", proposal_settings.method)

  def by_class(sums):
    return {name: int(n) for name, n in zip(source.classes, sums)}

  return {
      "format_version": records.FORMAT_VERSION,
      **versions(),
      "name": source.description.get("name", source.description["format"]),
      "split": split,
      "classes": list(source.classes),
      "num_images": counts.num_images,
      "num_shards": num_shards,
      "shard_bytes": shard_bytes,
      "num_objects": int(counts.objects_per_class.sum()) if known else None,
      "images_per_class": by_class(counts.images_per_class),
      "unknown_per_class": {
          name: n for name, n in by_class(counts.unknown_per_class).items()
          if n},
      "objects_per_class": (
          by_class(counts.objects_per_class) if known else None),
      "num_images_with_boxes_known": counts.num_with_truth,
      "boxes_clipped": counts.boxes_clipped,
      "boxes_scaled": counts.boxes_scaled,
      "boxes_dropped": counts.boxes_dropped,
      "first_box_fault": counts.first_box_fault or None,
      "dark_images": {"count": counts.num_dark,
                      "first": list(counts.first_dark)},
      "samples_taken_for": counts.taken_for,
      "proposals": {
          "method": method,
          "settings": settings,
          "per_image": {
              "mean": round(counts.proposals_sum / counts.num_images, 2),
              "min": counts.proposals_min, "max": counts.proposals_max},
          "recall": {
              str(iou): round(matched / counts.num_judged, 4)
              for iou, matched in zip(preparation.RECALL_IOUS,
                                      counts.num_matched)
          } if counts.num_judged else None},
      "source": source.description,
      "skipped": skipped,
      "skipped_list": skipped_list,
      "shuffle_seed": shuffle_seed,
      "max_pixels": max_pixels,
      "fingerprint": fingerprint,
  }


def summary(card, path):
  """A few lines about a converted split for the terminal."""
  per_image = card["proposals"]["per_image"]
  found = card["proposals"]["recall"]
  objects = card["num_objects"]
  labels = sum(card["images_per_class"].values())
  lines = [
      ("images", f"{card['num_images']} in {card['num_shards']} shards"),
      ("labels", f"{labels} of {len(card['classes'])} classes"),
      *class_counts.lines(card["images_per_class"], card["unknown_per_class"]),
      ("objects", "no boxes in the source" if objects is None else objects),
      *_boxes_lines(card),
      *_pixel_lines(card),
      ("proposals", f"{card['proposals']['method']}, an image "
                    f"{per_image['mean']:.1f} "
                    f"({per_image['min']} to {per_image['max']})"),
      ("recall", "no boxes to measure it" if found is None else ", ".join(
          f"{value:.3f} at IoU {iou}" for iou, value in found.items())),
      ("skipped", f"{card['skipped']}" + (
          f", listed in {card['skipped_list']}" if card["skipped_list"]
          else "")),
      ("card", path),
  ]
  return "\n".join(f"  {name:<10} {value}" for name, value in lines)


def _boxes_lines(card):
  """Yields lines on boxes that were clipped, scaled or dropped."""
  counts = [(card[key], words) for key, words in (
      ("boxes_clipped", "clipped to their image"),
      ("boxes_scaled", "scaled with their image"),
      ("boxes_dropped", "dropped")) if card.get(key)]
  if counts:
    yield "boxes", ", ".join(f"{count} {words}" for count, words in counts) + (
        f"; first: {card['first_box_fault']}")
  known = card.get("num_images_with_boxes_known")
  if known and known < card["num_images"]:
    yield "", (f"known in {known} of {card['num_images']} images; the others "
               "give labels only")


def _pixel_lines(card):
  """Yields lines on dark images, and on inferred ranges of samples."""
  # Cards of earlier versions have neither.
  dark = card.get("dark_images") or {"count": 0}
  if dark["count"]:
    more = "" if dark["count"] == len(dark["first"]) else ", ..."
    yield "dark", (f"{_images(dark['count'])} without a pixel of {images.DARK} "
                   f"or more of 255: {', '.join(dark['first'])}{more}")
  taken_for = card.get("samples_taken_for")
  if taken_for:
    yield "samples", "scaled to 0..255: " + ", ".join(
        f"{_images(count)} from {name}" for name, count in taken_for.items()
    ) + ("; images of one origin need one scale: docs/data.md, Images"
         if len(taken_for) > 1 else "")


def _images(count):
  return "1 image" if count == 1 else f"{count} images"
