"""When a program is killed."""

from tests.soak import moments


def test_the_clock():
  has_come = moments.AtTime(2.0).watch("")
  assert not has_come(1.9)
  assert has_come(2.0)


def test_a_file_that_appears(tmp_path):
  aim = moments.Aim("a shard", "records", r"\.partial-.*")
  has_come = aim.watch(str(tmp_path))
  assert not has_come(0.0)
  (tmp_path / "records").mkdir()
  (tmp_path / "records" / "whole").write_text("", encoding="utf-8")
  assert not has_come(0.1)
  (tmp_path / "records" / ".partial-x").write_text("", encoding="utf-8")
  assert has_come(0.2)


def test_a_folder_that_appears_below(tmp_path):
  has_come = moments.Aim("", ".", r"a/ckpt-\d+_temp").watch(str(tmp_path))
  (tmp_path / "a").mkdir()
  assert not has_come(0.0)
  (tmp_path / "a" / "ckpt-4_temp").mkdir()
  assert has_come(0.1)


def test_what_was_there_must_grow_or_come_again(tmp_path):
  path = tmp_path / "events"
  path.write_text("a", encoding="utf-8")
  has_come = moments.Aim("", ".", "events").watch(str(tmp_path))
  assert not has_come(0.0)
  path.write_text("ab", encoding="utf-8")
  assert has_come(0.1)
  has_come = moments.Aim("", ".", "events").watch(str(tmp_path))
  path.unlink()
  assert not has_come(0.2)
  path.write_text("ab", encoding="utf-8")
  assert has_come(0.3)


def test_a_text_that_comes_into_a_file(tmp_path):
  path = tmp_path / "log"
  path.write_text("step 4, before this start\n", encoding="utf-8")
  has_come = moments.Aim("", ".", "log", "step 4").watch(str(tmp_path))
  with open(path, "a", encoding="utf-8") as file:
    print("step 2", file=file, flush=True)
    assert not has_come(0.0)
    print("step 4", file=file, flush=True)
    assert has_come(0.1)


def test_a_delay_counts_from_the_sight(tmp_path):
  has_come = moments.Aim("", ".", "x", delay=0.5).watch(str(tmp_path))
  path = tmp_path / "x"
  path.write_text("", encoding="utf-8")
  assert not has_come(7.0)
  path.unlink()  # Gone meanwhile: it has been seen.
  assert not has_come(7.4)
  assert has_come(7.5)
