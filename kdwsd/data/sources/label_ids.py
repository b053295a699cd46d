"""A compact sequence of label ids that are most of a long list."""

import collections.abc


class AllBut(collections.abc.Sequence):
  """All ids below a number except some, ascending; equals the tuple of them.

  In Open Images people have verified a dozen of 20,000 classes for each image.
  The others are unknown, and a tuple of them would take 160 KB an image.
  """

  __slots__ = ("_count", "_without")

  def __init__(self, count, without):
    """Takes the number of ids, and the ids below it that are left out."""
    self._count = count
    self._without = tuple(sorted(set(without)))

  @property
  def arguments(self):
    """The two that make an equal one."""
    return self._count, self._without

  def __len__(self):
    return self._count - len(self._without)

  def __iter__(self):
    without = set(self._without)
    return (i for i in range(self._count) if i not in without)

  def __getitem__(self, place):
    return tuple(self)[place]

  def __eq__(self, other):
    return (isinstance(other, (tuple, AllBut)) and len(self) == len(other)
            and all(one == two for one, two in zip(self, other)))

  def __hash__(self):
    return hash((self._count, self._without))

  def __repr__(self):
    return f"AllBut({self._count}, {self._without})"
