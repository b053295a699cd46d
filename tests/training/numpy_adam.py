"""Adam and AdamW in NumPy."""

import numpy as np


class Adam:
  """float64; decay as `torch.optim.Adam` (coupled) and `AdamW` do it."""

  def __init__(self, weights, multipliers, weight_decay, coupled):
    self.data = [np.array(w, np.float64) for w in weights]
    self.first = [np.zeros_like(w) for w in self.data]
    self.second = [np.zeros_like(w) for w in self.data]
    self.multipliers = multipliers
    self.weight_decay = weight_decay
    self.coupled = coupled
    self.steps = 0

  def apply_update(self, rate, gradients):
    self.steps += 1
    for i, gradient in enumerate(gradients):
      lr, decay = self.multipliers[i]
      lr, decay = lr * rate, decay * self.weight_decay
      if self.coupled:
        gradient = gradient + decay * self.data[i]
      else:
        self.data[i] = self.data[i] * (1 - lr * decay)
      self.first[i] = 0.9 * self.first[i] + 0.1 * gradient
      self.second[i] = 0.999 * self.second[i] + 0.001 * gradient ** 2
      first = self.first[i] / (1 - 0.9 ** self.steps)
      second = self.second[i] / (1 - 0.999 ** self.steps)
      self.data[i] = self.data[i] - lr * first / (np.sqrt(second) + 1e-8)
