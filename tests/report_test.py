"""The binary, in processes of its own."""

import os
import tempfile

from absl.testing import absltest

from tests import programs
from tests.training import fake_chain


def _report(*arguments):
  return programs.run("kdwsd.report", *arguments)


class ReportTest(absltest.TestCase):

  def test_prints_the_table_and_writes_where_told(self):
    with tempfile.TemporaryDirectory() as directory:
      fake_chain.write(directory)
      output = os.path.join(directory, "new", "page.html")
      done = _report(
          f"file://{directory}", "--split=test", f"--output={output}")
      self.assertEqual(done.returncode, 0, done.stderr)
      for words in ("S-Cls without KD", "T-WDet", "S-Cls with KD", output):
        self.assertIn(words, done.stdout)
      self.assertEqual(os.listdir(os.path.dirname(output)), ["page.html"])

  def test_no_chain_is_one_line(self):
    with tempfile.TemporaryDirectory() as directory:
      done = _report(directory)
    self.assertEqual(done.returncode, 2)
    self.assertIn("error: ", done.stderr)
    self.assertIn("Received: none of them", done.stderr)
    self.assertNotIn("Traceback", done.stderr)

  def test_one_work_directory_is_wanted(self):
    for arguments in ((), ("a", "b")):
      done = _report(*arguments)
      self.assertEqual(done.returncode, 2)
      self.assertIn("kdwsd.report WORKDIR", done.stderr)


if __name__ == "__main__":
  absltest.main()
