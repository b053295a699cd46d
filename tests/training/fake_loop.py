"""The outer loop on one weight, trained by momentum on numbers."""

import os
import signal

import numpy as np
import tensorflow as tf

from kdwsd.data import tuning
from kdwsd.training import inner_loop
from kdwsd.training import loop
from kdwsd.training import optimizers
from kdwsd.training import run_folder

BATCH = 2
STEPS = 12


def stop():
  """Tells this process to stop."""
  os.kill(os.getpid(), signal.SIGTERM)


def run(workdir, *, stop_in_step=None, stop_in_validation=None,
         eval_interval=0, validated=True, plateau=None, figures=None,
         ema_decay=None, train_steps=STEPS, checkpoint_interval=4):
  """Trains one weight, by momentum, on numbers; returns it.

  `figures` are those of every validation, or a function of the step to them;
  by default the figure is the weight.
  """
  global_step = tf.Variable(0, dtype=tf.int64)
  weight = tf.Variable([1.0], name="fc/kernel")
  averaging = {"use_ema": True, "ema_momentum": ema_decay} if ema_decay else {}
  optimizer = optimizers.make(
      "sgd", learning_rate=0.1, weight_decay=0.0, **averaging)

  def number(index):
    if stop_in_step and index[0] == (stop_in_step - 1) * BATCH:
      stop()
    return np.cos(index).astype(np.float32)

  def step(batch, unused_seeds):
    # Not in the data set, which runs ahead.
    numbers = tf.ensure_shape(tf.numpy_function(
        number, [batch["example_index"]], tf.float32), [BATCH])
    return {"loss": (weight - numbers) ** 2}

  def make_trainer(start_step):
    return inner_loop.Trainer(
        strategy=tf.distribute.get_strategy(), variables=[weight],
        optimizer=optimizer, loss_names=("loss",), step=step,
        dataset=tuning.untuned(tf.data.Dataset.range(
            start_step * BATCH, tf.int64.max).batch(
                BATCH, drop_remainder=True).map(
                    lambda index: {"example_index": index})),
        global_batch_size=BATCH, seed=0, global_step=global_step)

  def evaluate():
    if int(global_step.numpy()) == stop_in_validation:
      stop()
    if figures is not None:
      return figures(int(global_step.numpy())) if callable(figures) else figures
    return {"figure": float(weight.numpy()[0])}

  loop.OuterLoop(
      make_trainer=make_trainer, strategy=tf.distribute.get_strategy(),
      model=tf.train.Checkpoint(weight=weight), variables=[weight],
      optimizer=optimizer, global_step=global_step,
      folder=run_folder.RunFolder(workdir),
      train_steps=train_steps, steps_per_loop=4,
      checkpoint_interval=checkpoint_interval, eval_interval=eval_interval,
      keep_checkpoints=10, best_figure="figure", global_batch_size=BATCH,
      initialize=lambda: None,
      evaluate=evaluate if validated else None, plateau=plateau).run()
  return weight.numpy()
