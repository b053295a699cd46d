"""Which strategies are refused before they are made."""

import json

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import strategies

_TWO = json.dumps({"cluster": {"worker": ["127.0.0.1:1", "127.0.0.1:2"]},
                   "task": {"type": "worker", "index": 1}})


def test_several_workers_need_tf_config(monkeypatch):
  monkeypatch.delenv("TF_CONFIG", raising=False)
  with pytest.raises(errors.InputError, match="expected TF_CONFIG to list"):
    strategies.make("multi_worker_mirrored")


@pytest.mark.parametrize("name", ["mirrored", "one_device"])
def test_workers_that_would_train_each_on_its_own_are_refused(
    name, monkeypatch):
  monkeypatch.setenv("TF_CONFIG", _TWO)
  with pytest.raises(errors.InputError, match="for 2 workers. Received: "):
    strategies.make(name)


def test_one_process_does_all_the_work():
  assert strategies.is_chief(tf.distribute.get_strategy())
  assert strategies.sharing() == (1, 0)
