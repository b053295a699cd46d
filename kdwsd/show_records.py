"""Draws converted records on a contact sheet, to check them before training.

Example: python -m kdwsd.show_records --data=records/voc --split=trainval
"""

import os

from absl import flags

from kdwsd import command_line

_DATA = flags.DEFINE_string(
    "data", None, "Directory of records, as written by kdwsd.make_records.",
    required=True)
_SPLIT = flags.DEFINE_string(
    "split", "train", "Split to show.")
_OUTPUT = flags.DEFINE_string(
    "output", None, "PNG file to write. Default: DATA/SPLIT.png.")
_NUM_IMAGES = flags.DEFINE_integer(
    "num_images", 12, "Number of images on the sheet.", lower_bound=1,
    upper_bound=200)
_FIRST = flags.DEFINE_integer(
    "first", 0, "Position in the split of the first image to show, counted "
    "from 0.", lower_bound=0)
_NUM_PROPOSALS = flags.DEFINE_integer(
    "num_proposals", 20, "Proposals to draw per image, those with the highest "
    "objectness.", lower_bound=0)
_TILE = flags.DEFINE_integer(
    "tile_pixels", 320, "Longer side of each image on the sheet, in pixels.",
    lower_bound=32, upper_bound=2000)


def main(_):
  """Draws the sheet."""
  # Imported here: --help and bad flags need no TensorFlow.
  from kdwsd import devices
  from kdwsd import errors
  from kdwsd.data import record_files
  from kdwsd.evaluation import contact_sheets
  from kdwsd.evaluation import pictures
  devices.hide_gpus()
  record_set = record_files.open_split(_DATA.value, _SPLIT.value)
  if _FIRST.value >= record_set.num_images:
    raise errors.InputError(
        f"--first: expected less than {record_set.num_images}, the number of "
        f"images. Received: {_FIRST.value}.")
  sheet = pictures.record_sheet(
      record_set, num_images=_NUM_IMAGES.value, first=_FIRST.value,
      num_proposals=_NUM_PROPOSALS.value, tile_pixels=_TILE.value)
  output = _OUTPUT.value or os.path.join(_DATA.value, f"{_SPLIT.value}.png")
  contact_sheets.write_png(output, sheet)
  print(f"{output}: {sheet.shape[1]} x {sheet.shape[0]} pixels. Dashed white: "
        "annotated objects; orange (best) to blue: proposals.")


if __name__ == "__main__":
  command_line.run(main)
