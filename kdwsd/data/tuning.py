"""Parallel calls of `tf.data` in a fixed number, instead of a tuned one.

TensorFlow tunes the number in a thread of each iterator, which sleeps for up to
a minute at a time. Whoever destroys the iterator waits for this thread, and
wakes it before it can see that it is to end. Where the thread is fast, as on a
busy machine, it sleeps again, and the program with it, Python's lock in hand.
"""

import os

import tensorflow as tf


def num_calls():
  """The number of processors that this process may use."""
  return len(os.sched_getaffinity(0))


def untuned(dataset):
  """A dataset whose iterators have no such thread.

  Args:
    dataset: `tf.data.Dataset`; where it says `tf.data.AUTOTUNE`, TensorFlow
      makes as many calls as there are processors, 16 at most.

  Returns:
    `tf.data.Dataset` of the same elements.
  """
  options = tf.data.Options()
  options.autotune.enabled = False
  return dataset.with_options(options)
