"""Expands command-line arguments to image files."""

import collections
import dataclasses
import glob
import os

from kdwsd.data import image_names
from kdwsd.data import texts

_KINDS_SHOWN = 6  # Kinds of skipped files that a message names.


@dataclasses.dataclass(frozen=True)
class ImageFile:
  """One file to predict.

  Attributes:
    path: the file's path.
    name: its path relative to the folder that was given, or its file name.
    problem: why there is no such file, or None.
  """
  path: str
  name: str
  problem: str = None


def expand(arguments, lines=(), leave_out=None, passed_over=None):
  """Lists the files that the arguments name, in the order of the arguments.

  Args:
    arguments: each a file, a folder (searched recursively for files with an
      image extension, without hidden folders), a glob pattern (`**` matches
      any subfolders), or `-` for `lines`.
    lines: of standard input, a path each; blank lines are skipped.
    leave_out: an output folder that is not searched, or None.
    passed_over: a `collections.Counter`, incremented for every file that is
      skipped in a folder, by extension; or None.

  Returns:
    List of `ImageFile`. An argument without a matching file yields one with a
    `problem`, so that its message appears in place of its predictions.
  """
  found = []
  passed_over = collections.Counter() if passed_over is None else passed_over
  for argument in arguments:
    if argument == "-":
      given = [line.rstrip("\r\n") for line in lines]
      found += [_single(line) for line in given if line.strip()]
    elif os.path.isdir(argument):
      of_folder = collections.Counter()
      found += _of_folder(argument, leave_out, of_folder)
      passed_over.update(of_folder)
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


def _of_folder(folder, leave_out, passed_over):
  left_out = leave_out and os.path.realpath(leave_out)
  problems, found = [], []
  for directory, folders, names in os.walk(folder, onerror=problems.append):
    searched = []
    for name in sorted(folders):
      path = os.path.join(directory, name)
      if name.startswith("."):
        passed_over["hidden folder"] += 1
      elif os.path.islink(path):  # It may lead back up.
        passed_over["linked folder"] += 1
      elif os.path.realpath(path) != left_out:
        searched.append(name)
    folders[:] = searched
    for name in sorted(names):
      if name.startswith("."):
        passed_over["hidden file"] += 1
      elif image_names.is_image(name):
        path = os.path.join(directory, name)
        found.append(ImageFile(path, os.path.relpath(path, folder)))
      else:
        ending = os.path.splitext(name)[1].lower()
        passed_over[ending or "file without an ending"] += 1
  found += [ImageFile(
      problem.filename, "",
      f"expected a folder that can be read. Received: {problem.strerror}.")
            for problem in problems]
  return found or [ImageFile(
      folder, "", "expected images in the folder "
      f"({' '.join(image_names.EXTENSIONS)}). Received: "
      f"{describe(passed_over) or 'none'}.")]


def describe(passed_over):
  """Summarizes skipped files in one line, the most frequent kind first."""
  counted = sorted(passed_over.items(), key=lambda item: (-item[1], item[0]))
  shown = []
  for kind, count in counted[:_KINDS_SHOWN]:
    if count > 1 and not kind.startswith("."):
      kind = kind.replace("file", "files").replace("folder", "folders")
    shown.append(f"{count} {texts.shown(kind)}")
  rest = sum(count for _, count in counted[_KINDS_SHOWN:])
  return ", ".join(shown + ([f"{rest} others"] if rest else []))


def _of_pattern(pattern):
  paths = sorted(path for path in glob.glob(pattern, recursive=True)
                 if not os.path.isdir(path))
  return [_single(path) for path in paths] or [ImageFile(
      pattern, "", "expected a pattern of files. Received: no match.")]
