"""Caffe's SGD in float64 NumPy, transcribed loop by loop.

Source: src/caffe/solvers/sgd_solver.cpp: `SGDSolver::ApplyUpdate` calls, in
this order, `ClipGradients`, and for each parameter `Normalize` (by iter_size,
1 here), `Regularize` and `ComputeUpdateValue`; `Net::Update` then subtracts.
"""

import math

import numpy as np


class CaffeSGD:

  def __init__(self, weights, multipliers, *, momentum, weight_decay,
               clip_gradients=-1.0):
    """`multipliers`: (lr_mult, decay_mult) of each of `weights`."""
    self.data = [np.array(w, np.float64) for w in weights]
    self.history = [np.zeros_like(w) for w in self.data]
    self.multipliers = multipliers
    self.momentum = momentum
    self.weight_decay = weight_decay
    self.clip_gradients = clip_gradients

  def apply_update(self, rate, gradients):
    diff = [np.array(g, np.float64) for g in gradients]
    if self.clip_gradients >= 0:                            # ClipGradients
      sumsq_diff = sum(float(np.sum(d * d)) for d in diff)
      l2norm_diff = math.sqrt(sumsq_diff)
      if l2norm_diff > self.clip_gradients:
        scale_factor = self.clip_gradients / l2norm_diff
        for d in diff:
          d *= scale_factor
    for param_id, d in enumerate(diff):
      lr_mult, decay_mult = self.multipliers[param_id]
      local_decay = self.weight_decay * decay_mult          # Regularize, "L2"
      if local_decay:
        d += local_decay * self.data[param_id]              # caffe_axpy
      local_rate = rate * lr_mult                           # ComputeUpdateValue
      history = self.history[param_id]
      history[...] = local_rate * d + self.momentum * history  # caffe_cpu_axpby
      d[...] = history                                      # caffe_copy
      self.data[param_id] -= d                              # Net::Update
