"""Names tell groups, and parts have their share of every class."""

from absl.testing import absltest
from absl.testing import parameterized
import numpy as np

from kdwsd.data import dealing


class GroupsTest(parameterized.TestCase):

  @parameterized.parameters(
      (["a_jpg.rf.0123456789abcdef0123.jpg", "a_jpg.rf.ff23456789abcdef01.jpg"],
       True),
      (["x/a.jpg", "x/a (1).jpg", "x/a_flip_rot90.jpg", "x/a - Copy.png"],
       True),
      (["v1_frame0001.jpg", "v1_frame0002.jpg"], True),
      # Nothing says that these are copies: there is no wheat.jpg.
      (["wheat_crop_001.jpg", "wheat_crop_002.jpg"], False),
      (["2008_000001", "2008_000002"], False),
      (["frame_1.jpg", "frame_2.jpg"], False),
      (["x/a.jpg", "y/a.jpg", "y/a_b.jpg"], False))
  def test_names_tell_versions_of_a_photograph_and_frames_of_a_video(
      self, ids, together):
    self.assertLen(set(dealing.groups_of(ids)), 1 if together else len(ids))


class DealTest(absltest.TestCase):

  def test_each_of_several_parts_has_its_share_of_every_class(self):
    random = np.random.RandomState(0)
    frequencies = [0.5, 0.2, 0.05, 0.02]
    labels = [np.flatnonzero(random.uniform(size=4) < frequencies).tolist()
              for _ in range(900)]
    parts = dealing.deal([str(i) for i in range(900)], labels, 4, [1 / 3] * 3)
    self.assertTrue(np.all(np.abs(np.bincount(parts) - 300) <= 3))
    for label in range(4):
      there = np.array([label in one for one in labels])
      counts = np.bincount(parts[there], minlength=3)
      self.assertLessEqual(counts.max() - counts.min(), 3)

  def test_groups_stay_together_and_larger_parts_get_more(self):
    names = [f"group{i // 4}" for i in range(200)]
    parts = dealing.deal(names, [(i % 2,) for i in range(200)], 2, [.6, .4])
    for first in range(0, 200, 4):
      self.assertLen(set(parts[first:first + 4]), 1)
    self.assertEqual(np.bincount(parts).tolist(), [120, 80])


if __name__ == "__main__":
  absltest.main()
