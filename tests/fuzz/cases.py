"""A case: the files a user might bring, as {path within a folder: bytes}."""

import os
import shutil


def write(case, folder):
  """Makes `folder` hold the files of a case and nothing else."""
  shutil.rmtree(folder, ignore_errors=True)
  os.makedirs(folder)
  for name, content in case.items():
    path = os.path.join(folder, name)
    directory = os.path.dirname(path)
    if directory != folder:
      os.makedirs(directory, exist_ok=True)
    with open(path, "wb") as file:
      file.write(content)


def read(folder):
  """The case that a folder holds."""
  case = {}
  for directory, _, names in os.walk(folder):
    for name in names:
      path = os.path.join(directory, name)
      with open(path, "rb") as file:
        case[os.path.relpath(path, folder)] = file.read()
  return case


def size(case):
  """Bytes in all."""
  return sum(map(len, case.values()))
