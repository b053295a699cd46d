"""A config for tests: the smallest run."""

from kdwsd.training import config as config_lib
from tests.data import fake_records

# What differs from the defaults of the flags.
_VALUES = {
    "classes": fake_records.CLASSES, "data": "records", "train_sizes": (32,),
    "eval_size": 32, "num_proposals": 8, "shuffle_buffer": 16,
    "backbone": "small", "backbone_weights": "none", "fc_units": 4,
    "student_size": 32, "global_batch_size": 2, "learning_rate": 1e-3,
    "train_steps": 10, "steps_per_loop": 1, "checkpoint_interval": 1,
    "eval_interval": 0, "deterministic": False,
}


def make(**changes):
  """A `config.Config` with some fields changed."""
  return config_lib.Config(**{**_VALUES, **changes})
