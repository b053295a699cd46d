"""Which image files are meant by folders, patterns, paths and lists."""

import dataclasses
import glob
import os

from kdwsd.data import image_names


@dataclasses.dataclass(frozen=True)
class ImageFile:
  """One file to predict.

  Attributes:
    path: to open it by.
    name: path below the folder that was given, or the file's own name.
    problem: why there is no such file; None where there may be one.
  """
  path: str
  name: str
  problem: str = None


def expand(arguments, lines=(), leave_out=None):
  """Finds the files that arguments mean, in the order of the arguments.

  Args:
    arguments: each a file, a folder (searched with its subfolders, hidden ones
      left out, for files named like images), a pattern of `glob` (`**` for any
      subfolders), or `-` for `lines`.
    lines: of standard input: a path each; blank ones are passed over.
    leave_out: a folder of results, which is not searched; None for none.

  Returns:
    List of `ImageFile`. An argument that means no file gives one with a
    `problem`, for its message to come where its predictions would.
  """
  found = []
  for argument in arguments:
    if argument == "-":
      given = [line.rstrip("\r\n") for line in lines]
      found += [_single(line) for line in given if line.strip()]
    elif os.path.isdir(argument):
      found += _of_folder(argument, leave_out)
    elif not os.path.lexists(argument) and glob.has_magic(argument):
      found += _of_pattern(argument)
    else:
      found.append(_single(argument))
  return found


def _single(path):
  if not os.path.exists(path):
    return ImageFile(
        path, "", "expected an image file. Received: no such file.")
  if not os.path.isfile(path):
    return ImageFile(path, "", "expected an image file. Received: "
                     f"{'a folder' if os.path.isdir(path) else 'no file'}.")
  return ImageFile(path, os.path.basename(path))


def _of_folder(folder, leave_out):
  left_out = leave_out and os.path.realpath(leave_out)
  problems, found = [], []
  for directory, folders, names in os.walk(folder, onerror=problems.append):
    folders[:] = sorted(
        name for name in folders if not name.startswith(".")
        and os.path.realpath(os.path.join(directory, name)) != left_out)
    for name in sorted(names):
      if image_names.is_image(name) and not name.startswith("."):
        path = os.path.join(directory, name)
        found.append(ImageFile(path, os.path.relpath(path, folder)))
  found += [ImageFile(
      problem.filename, "",
      f"expected a folder that can be read. Received: {problem.strerror}.")
            for problem in problems]
  return found or [ImageFile(
      folder, "", "expected images in the folder "
      f"({' '.join(image_names.EXTENSIONS)}). Received: none.")]


def _of_pattern(pattern):
  paths = sorted(path for path in glob.glob(pattern, recursive=True)
                 if not os.path.isdir(path))
  return [_single(path) for path in paths] or [ImageFile(
      pattern, "", "expected a pattern of files. Received: no file fits.")]
