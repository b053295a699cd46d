"""All topics combined: the fields of a config, and the settings by name."""

import dataclasses

from kdwsd.training.settings import learning
from kdwsd.training.settings import model
from kdwsd.training.settings import run
from kdwsd.training.settings import setting


# A dataclass has the fields of its last base first.
@dataclasses.dataclass(frozen=True)
class Fields(run.Devices, run.Progress, learning.Optimisation,
             learning.Distillation, model.Student, model.Teacher, model.Model,
             run.Data, run.Run):
  """The content of a run's config.json: the classes and all settings."""


TOPICS = (run.Command, *Fields.__mro__[-2:0:-1])

SETTINGS = setting.declared(*TOPICS)

# Settings that are part of a config; the others are flags only.
CONFIG_SETTINGS = setting.declared(*TOPICS[1:])
