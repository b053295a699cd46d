"""Programs that get SIGTERM end in time, and go on where they were."""

import pytest

from tests.preemption import cases
from tests.preemption import clusters
from tests.preemption import notices


@pytest.mark.slow
def test_every_program_ends_in_time_and_leaves_nothing_half_written(tmp_path):
  made = cases.Cases(str(tmp_path / "work"), cases.QUICK)
  made.prepare()
  for case in made.all():
    made.clean()
    outcome = notices.give(case, made.folder)
    what = case.name, case.moment, outcome
    assert outcome.seconds + outcome.orphans < 30, what
    assert outcome.status in (143, -15) or case.name == "serve", what
    assert not outcome.left, what


@pytest.mark.slow
def test_notice_to_one_of_two_workers_ends_both(tmp_path):
  folder = str(tmp_path / "work")
  clusters.prepare(folder)
  case = next(case for case in clusters.cases() if case.moment == "a step")
  outcome = clusters.give(case, folder)
  assert [status for _, status in outcome.ends] == [143, 143]
  assert all(seconds < 30 for seconds, _ in outcome.ends)
  assert outcome.resumed.startswith("ckpt-")


def test_a_program_is_given_notice_and_started_again(tmp_path):
  folder = tmp_path / "work"
  folder.mkdir()
  script = tmp_path / "program.py"
  script.write_text(
      "import os, signal, sys, time\n"
      "print('resumed' if os.path.exists('kept') else 'fresh', flush=True)\n"
      "def stop(*_):\n"
      "  os.rename('.partial-kept', 'kept')\n"
      "  print('Stopped.', flush=True)\n"
      "  print('bye', flush=True)\n"
      "  sys.exit(143)\n"
      "signal.signal(signal.SIGTERM, stop)\n"
      "open('.partial-kept', 'w').close()\n"
      "open('.partial-left', 'w').close()\n"
      "time.sleep(60)\n", encoding="utf-8")
  outcome = notices.give(notices.Case(
      "program", "sleeps", (str(script),),
      notices.appears(str(folder), r"\.partial-left"), again="(resumed)"),
                         str(folder))
  assert (outcome.status, outcome.last, outcome.resumed) == (
      143, "Stopped.", "resumed")
  assert outcome.left == 1
  assert 0 <= outcome.seconds < 30
