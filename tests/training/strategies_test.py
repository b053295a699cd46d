"""Which strategies are refused, and how batches come to their replicas."""

import json
from unittest import mock

import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd.training import strategies
from tests import environment

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


def _begin(strategy):
  """Batches of a strategy on CPUs: (first and second, contexts)."""
  contexts = []

  def batches(context):
    contexts.append((context.num_replicas_in_sync,
                     context.num_input_pipelines, context.input_pipeline_id))
    return tf.data.Dataset.range(100).map(
        lambda one: one, tf.data.AUTOTUNE).batch(2).shard(
            context.num_input_pipelines, context.input_pipeline_id)

  with mock.patch.object(
      tf.data.Dataset, "__iter__", autospec=True,
      side_effect=tf.data.Dataset.__iter__) as iterate:
    iterator = iter(strategies.distribute(strategy, batches))
  # Whoever destroys a tuned iterator may wait for a minute.
  assert iterate.call_count == strategy.num_replicas_in_sync
  for call in iterate.call_args_list:
    assert call.args[0].options().autotune.enabled is False
  taken = [[value.numpy().tolist()
            for value in strategy.experimental_local_results(next(iterator))]
           for _ in range(2)]
  return taken, contexts


def test_one_replica_on_a_cpu_takes_batches_from_an_untuned_iterator():
  assert _begin(tf.distribute.MirroredStrategy(["CPU:0"])) == (
      [[[0, 1]], [[2, 3]]], [(1, 1, 0)])


def test_each_replica_on_a_cpu_has_an_untuned_iterator():
  assert _begin(environment.two_replicas()) == (
      [[[0, 1], [2, 3]], [[4, 5], [6, 7]]], [(2, 2, 0), (2, 2, 1)])
