"""Tests of the binary that shows records."""

import os
import tempfile

from absl.testing import absltest
from PIL import Image

from tests import programs
from tests.data import fake_records


def _show(*arguments):
  return programs.run("kdwsd.show_records", *arguments)


class ShowRecordsTest(absltest.TestCase):

  def test_draws_beside_the_records(self):
    with tempfile.TemporaryDirectory() as directory:
      fake_records.write(directory, "train", 3)
      shown = _show(f"--data={directory}", "--num_images=2",
                    "--num_proposals=1", "--tile_pixels=64")
      self.assertEqual(shown.returncode, 0, shown.stderr)
      path = os.path.join(directory, "train.png")
      self.assertIn(path, shown.stdout)
      with Image.open(path) as image:
        self.assertEqual(image.width, 8 + 2 * 72)

  def test_odd_paths(self):
    with tempfile.TemporaryDirectory() as directory:
      data = os.path.join(directory, "a [v1] * 50% #1 é?")
      os.mkdir(data)
      fake_records.write(data, "train", 3)
      link = os.path.join(directory, "link")
      os.symlink(data, link)
      output = os.path.join(directory, "new [*]", "sheet é.png")
      for arguments in ([f"--data={link}/"],
                        [f"--data={data}", f"--output={output}"]):
        shown = _show(*arguments, "--num_images=2", "--tile_pixels=64")
        self.assertEqual(shown.returncode, 0, shown.stderr)
      for path in (os.path.join(data, "train.png"), output):
        with Image.open(path) as image:
          self.assertEqual(image.width, 8 + 2 * 72)

  def test_what_is_not_there_is_named(self):
    with tempfile.TemporaryDirectory() as directory:
      shown = _show(f"--data={directory}", "--split=val")
    self.assertEqual(shown.returncode, 2)
    self.assertIn("val.json", shown.stderr)
    self.assertNotIn("Traceback", shown.stderr)


if __name__ == "__main__":
  absltest.main()
