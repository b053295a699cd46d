"""Inference cost of models: parameters, and throughput at batch size 1."""

import platform
import statistics
import time

import tensorflow as tf

_WARM_UP, _ROUNDS, _MOST_SECONDS = 2, 20, 60.0


def measure(models):
  """Measures the models at batch size 1, as they are served.

  The models take turns, so that other load on the machine affects all alike.

  Args:
    models: {name: (built Keras model, its inputs for one image)}.

  Returns:
    {name: dict with `parameters`, `images_per_second` (from the median time)
    and `device`}.
  """
  functions = {name: _function(model) for name, (model, _) in models.items()}
  seconds = {name: [] for name in models}
  started = time.perf_counter()
  for index in range(_WARM_UP + _ROUNDS):
    for name, (_, inputs) in models.items():
      before = time.perf_counter()
      for output in tf.nest.flatten(functions[name](inputs)):
        output.numpy()
      if index >= _WARM_UP:
        seconds[name].append(time.perf_counter() - before)
    if index > _WARM_UP and time.perf_counter() - started > _MOST_SECONDS:
      break
  return {name: {
      "parameters": int(model.count_params()),
      "images_per_second": 1.0 / statistics.median(seconds[name]),
      "device": _device(),
  } for name, (model, _) in models.items()}


def _function(model):
  @tf.function(autograph=False)
  def forward(inputs):
    return tf.nest.map_structure(tf.identity, model(inputs))
  return forward


def _device():
  gpus = tf.config.get_visible_devices("GPU")
  if gpus:
    details = tf.config.experimental.get_device_details(gpus[0])
    return details.get("device_name", "GPU")
  return f"CPU, {platform.machine()}"
