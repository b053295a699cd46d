"""Engines that write the shards of a conversion; one module for each.

A runner is a function `run(job, bar)`. It writes those shards of a `Job` that
are missing, and stores the counts of each by `job.notes`. `conversion` plans
the job before and writes the card afterwards, so that shards, card and list of
skipped images do not depend on the runner.
"""

import dataclasses

from kdwsd.data import progress_notes
from kdwsd.data import proposals
from kdwsd.data import sources


@dataclasses.dataclass(frozen=True)
class Job:
  """A conversion that is planned.

  Attributes:
    notes: its `progress_notes.Notes`, entered.
    shards: for each shard the list of its `sources.Item`s, in order.
    todo: numbers of the shards that are missing, ascending.
    num_classes: of the data set.
    problems: the `sources.Problems` that decides what happens to bad images.
    proposal_settings: a `proposals.Settings`.
    max_pixels: larger images are refused.
  """
  notes: progress_notes.Notes
  shards: list
  todo: list
  num_classes: int
  problems: sources.Problems
  proposal_settings: proposals.Settings
  max_pixels: int
