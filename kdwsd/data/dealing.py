"""Deals images out to parts that each have their share of every class.

Groups of images are dealt out label by label, the rarest first (iterative
stratification; Sechidis et al., "On the Stratification of Multi-Label Data",
ECML PKDD 2011). Nothing is random: the order within a label is that of a hash
of the group's name.

A group is one photograph in several versions or the frames of one video, as far
as names tell. It is not divided, or one part would ask for what another has
shown.
"""

import collections
import hashlib
import os
import re

import numpy as np

from kdwsd.data import image_names

# Of a name without extension. Roboflow adds a hash to each version of an image.
_VERSION = re.compile(r"\.rf\.[0-9a-zA-Z]{16,}$")
_FRAME = re.compile(r"[-_ ]?frames?[-_ ]?\d+$", re.IGNORECASE)
_COPY = re.compile(
    r"(?:[-_ ]?\(\d{1,3}\)| - Copy|[-_ ](?:copy|aug(?:mented)?|mirror(?:ed)?|"
    r"h?v?flip(?:ped)?|rot(?:ated)?|crop(?:ped)?)[-_ ]?\d{0,4})$",
    re.IGNORECASE)


def groups_of(image_ids):
  """Names shared by the versions of a photograph, or the frames of a video.

  Args:
    image_ids: list of text.

  Returns:
    List of names, one for each image: mostly its id without extension. That of
    `clip3/frame_0001.jpg` is `clip3/`, of `a_jpg.rf.HASH.jpg` it is `a_jpg`,
    and of `a_flip.jpg` it is `a` if there is an image of this name.
  """
  stems = [without_extension(image_id) for image_id in image_ids]
  known = set(stems)
  return [_group_of(stem, known) for stem in stems]


def without_extension(name):
  """The name without the extension of an image, if it has one."""
  return os.path.splitext(name)[0] if image_names.is_image(name) else name


def deal(group_names, label_ids, num_classes, shares):
  """Deals images out.

  Args:
    group_names: list of N names, see `groups_of`.
    label_ids: list of N tuples, the classes present in each image.
    num_classes: C.
    shares: [K], of the images for each part; their sum is 1.

  Returns:
    [N] int64, the part of each image.
  """
  groups = collections.defaultdict(list)
  for image, name in enumerate(group_names):
    groups[name].append(image)
  labels = {name: collections.Counter(
      label for image in images for label in label_ids[image])
            for name, images in groups.items()}
  holders = collections.defaultdict(list)  # Groups by label.
  for name in sorted(groups, key=_hash):
    for label in labels[name] or (None,):
      holders[label].append(name)
  left = np.zeros([num_classes], np.int64)  # Images not dealt yet, by label.
  for counts in labels.values():
    for label, count in counts.items():
      left[label] += count
  lacking = np.outer(shares, left)                                # [K, C]
  room = np.array(shares) * len(group_names)                      # [K]
  parts = np.full([len(group_names)], -1, np.int64)

  def deal_group(name, needs):
    # To the part that lacks most; then to the one with more room.
    part = max(range(len(room)), key=lambda k: (needs[k], room[k]))
    parts[groups[name]] = part
    room[part] -= len(groups[name])
    for label, count in labels[name].items():
      left[label] -= count
      lacking[part, label] -= count

  while left.any():
    label = int(np.where(left > 0, left, np.iinfo(left.dtype).max).argmin())
    for name in holders[label]:
      if parts[groups[name][0]] < 0:
        deal_group(name, lacking[:, label])
  for name in holders[None]:
    deal_group(name, room)
  return parts


def _group_of(stem, known):
  name = _VERSION.sub("", stem)
  if name != stem:
    return name
  while match := _COPY.search(name):
    name = name[:match.start()]
    if name in known:
      stem = name
  return _FRAME.sub("", stem) or stem


def _hash(name):
  return hashlib.sha256(name.encode("utf-8", "surrogatepass")).digest()
