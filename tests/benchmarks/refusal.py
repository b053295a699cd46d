"""A function to measure that fails; its process need not load TensorFlow."""

from kdwsd import errors


def refuse():
  raise errors.InputError("x: expected a. Received: b.")
