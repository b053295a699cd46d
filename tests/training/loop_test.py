"""A run that is told to stop, at every kind of moment, and goes on."""

import shutil
import signal

import numpy as np
import pytest
import tensorflow as tf

from kdwsd import errors
from kdwsd import interruption
from kdwsd.training import checkpoints
from kdwsd.training import loop
from kdwsd.training import loop_log
from kdwsd.training import run_folder
from tests.training import fake_loop

_run, _stop = fake_loop.run, fake_loop.stop
_BATCH, _STEPS = fake_loop.BATCH, fake_loop.STEPS


@pytest.fixture(autouse=True, name="reset")
def fixture_reset():
  """Signals interrupt, and what one test was told the next does not hear."""
  before = signal.signal(signal.SIGTERM, interruption._handle)
  yield _forget
  signal.signal(signal.SIGTERM, before)
  _forget()


def _forget():
  interruption._pending, interruption._raised = None, False


class _Plateau:
  """Keeps what it is told."""

  def __init__(self):
    self.told = []

  def update(self, figure):
    self.told.append(figure)
    return False


def _saved(workdir, name="checkpoints"):
  """Steps of the checkpoints."""
  state = tf.train.get_checkpoint_state(str(workdir / name))
  return [int(path.rsplit("-", 1)[1])
          for path in state.all_model_checkpoint_paths] if state else []


def _logged(workdir, kind="loss"):
  return [e["step"] for e in run_folder.RunFolder(workdir).read_history()
          if kind in e]


@pytest.mark.parametrize("step, logged, saved", [
    (2, [2, 4, 8, 12], [0, 2, 4, 8, 12]),
    (7, [4, 7, 8, 12], [0, 4, 7, 8, 12]),
    (8, [4, 8, 12], [0, 4, 8, 12])])
def test_stops_after_the_step_and_goes_on_in_the_old_rhythm(
    step, logged, saved, tmp_path, reset):
  expected = _run(tmp_path / "undisturbed")
  with pytest.raises(interruption.Interrupted) as stopped:
    _run(tmp_path / "stopped", stop_in_step=step)
  assert stopped.value.code == 143
  assert stopped.value.message == (
      f"Stopped at step {step} by SIGTERM; the same command resumes the "
      "run.")
  assert _saved(tmp_path / "stopped")[-1] == step
  reset()
  np.testing.assert_array_equal(_run(tmp_path / "stopped"), expected)
  assert _logged(tmp_path / "undisturbed") == [4, 8, 12]
  assert _logged(tmp_path / "stopped") == logged
  assert _saved(tmp_path / "stopped") == saved


def test_slow_steps_are_saved_at_every_log_line(tmp_path, monkeypatch, reset):
  _run(tmp_path / "fast", checkpoint_interval=12)
  assert _saved(tmp_path / "fast") == [0, 12]
  reset()
  monkeypatch.setattr(loop, "_LONGEST_UNSAVED", 0.0)
  _run(tmp_path / "slow", checkpoint_interval=12)
  assert _saved(tmp_path / "slow") == [0, 4, 8, 12]


def test_a_signal_during_a_save_is_noticed_before_the_next_step(
    tmp_path, monkeypatch):
  save = checkpoints._Manager.save

  def interrupted(manager, checkpoint_number=None, **rest):
    path = save(manager, checkpoint_number, **rest)
    if checkpoint_number == 4:
      _stop()
    return path

  monkeypatch.setattr(checkpoints._Manager, "save", interrupted)
  with pytest.raises(interruption.Interrupted, match="143") as stopped:
    _run(tmp_path)
  assert stopped.value.message.startswith("Stopped at step 4 by SIGTERM;")
  assert _saved(tmp_path) == [0, 4]


def test_a_killed_validation_has_lost_nothing(tmp_path, reset):
  def killed(step):
    assert _saved(tmp_path / "killed", "unvalidated") == [step]
    if step == 6:
      raise KeyboardInterrupt  # Which nothing handles.
    return {"figure": 0.0}

  expected = _run(tmp_path / "undisturbed", eval_interval=6)
  with pytest.raises(KeyboardInterrupt):
    _run(tmp_path / "killed", eval_interval=6, figures=killed)
  reset()
  np.testing.assert_array_equal(
      _run(tmp_path / "killed", eval_interval=6), expected)
  assert _logged(tmp_path / "killed") == [4, 6, 8, 12]


def test_the_first_step_is_not_waited_for(tmp_path):
  with pytest.raises(interruption.Interrupted):
    _run(tmp_path, stop_in_step=1)
  assert _saved(tmp_path) == [0]
  assert not _logged(tmp_path)


@pytest.mark.parametrize("moment", [
    {"stop_in_step": 6}, {"stop_in_validation": 6}, {"stop_in_step": 12},
    {"stop_in_validation": 12}])
def test_a_validation_that_is_due_is_made_on_resuming(moment, tmp_path, reset):
  step = max(moment.values())
  plateau = _Plateau()
  expected = _run(tmp_path / "undisturbed", eval_interval=6, plateau=plateau)
  assert len(plateau.told) == 2
  workdir, heard = tmp_path / "stopped", _Plateau()
  with pytest.raises(interruption.Interrupted) as stopped:
    _run(workdir, eval_interval=6, plateau=heard, **moment)
  assert f"Stopped at step {step}, before it was" in stopped.value.message
  assert step not in _saved(workdir)
  assert _saved(workdir, "unvalidated") == [step]
  reset()
  np.testing.assert_array_equal(
      _run(workdir, eval_interval=6, plateau=heard), expected)
  assert heard.told == plateau.told
  assert _logged(workdir, "figures") == [6, 12]
  assert _logged(workdir) == [4, 6, 8, 12]
  assert not (workdir / "unvalidated").exists()


def _weight(workdir, name):
  """The weight in the only checkpoint, or the last, of a directory."""
  reader = tf.train.load_checkpoint(str(workdir / name))
  return reader.get_tensor("model/weight/.ATTRIBUTES/VARIABLE_VALUE")[0]


@pytest.mark.parametrize("course, best", [
    ((0.2, 0.9, 0.5), 8), ((0.9, 0.5, 0.2), 4), ((0.2, 0.5, 0.9), 12),
    ((0.5, 0.5, 0.5), 4)])
def test_best_checkpoint_is_that_of_the_highest_metric(
    course, best, tmp_path):
  course, plateau = dict(zip((4, 8, 12), course)), _Plateau()
  _run(tmp_path, eval_interval=4, plateau=plateau,
       figures=lambda step: {"figure": course[step]})
  assert _saved(tmp_path, "best") == [best]
  # The schedule hears each metric as it is: it knows which way is better.
  assert plateau.told == list(course.values())


def _by_hand(steps):
  """(weight, its average with a decay of 0.5) after so many steps."""
  weight, velocity, average = 1.0, 0.0, 1.0
  for step in range(steps):
    numbers = np.cos(np.arange(step * _BATCH, (step + 1) * _BATCH))
    velocity = 0.9 * velocity - 0.1 * np.mean(2 * (weight - numbers))
    weight += velocity
    average = 0.5 * average + 0.5 * weight
  assert abs(weight - average) > 0.01
  return weight, average


def test_averages_are_validated_and_kept_as_the_best(tmp_path):
  _run(tmp_path, eval_interval=_STEPS, ema_decay=0.5)
  weight, average = _by_hand(_STEPS)
  [entry] = [e for e in run_folder.RunFolder(tmp_path).read_history()
             if "figures" in e]
  assert entry["figures"]["figure"] == pytest.approx(average, abs=1e-5)
  assert _weight(tmp_path, "best") == pytest.approx(average, abs=1e-5)
  assert _weight(tmp_path, "checkpoints") == pytest.approx(weight, abs=1e-5)


def test_without_validation_the_last_averages_are_the_best(tmp_path, reset):
  with pytest.raises(interruption.Interrupted):
    _run(tmp_path, validated=False, ema_decay=0.5, stop_in_step=7)
  assert _saved(tmp_path, "best") == []
  reset()
  for steps in (_STEPS, _STEPS + 4):  # Resumed, then with more steps.
    _run(tmp_path, validated=False, ema_decay=0.5, train_steps=steps)
    weight, average = _by_hand(steps)
    assert _saved(tmp_path, "best") == [steps]
    assert _weight(tmp_path, "best") == pytest.approx(average, abs=1e-5)
    assert _weight(tmp_path, "checkpoints") == pytest.approx(weight, abs=1e-5)
  assert not (tmp_path / "best" / "figure.json").exists()


def test_averages_that_are_missing_are_saved_when_the_run_resumes(tmp_path):
  _run(tmp_path, validated=False, ema_decay=0.5)
  shutil.rmtree(tmp_path / "best")
  _run(tmp_path, validated=False, ema_decay=0.5)
  assert _weight(tmp_path, "best") == pytest.approx(_by_hand(_STEPS)[1],
                                                    abs=1e-5)


def test_a_validation_chooses_before_the_last_averages(tmp_path):
  metrics = {4: 0.9, 8: 0.5, 12: 0.2}
  _run(tmp_path / "first", eval_interval=4, ema_decay=0.5,
       figures=lambda step: {"figure": metrics[step]})
  _run(tmp_path / "first", validated=False, ema_decay=0.5, train_steps=16)
  assert _saved(tmp_path / "first", "best") == [4]
  _run(tmp_path / "later", validated=False, ema_decay=0.5)
  _run(tmp_path / "later", eval_interval=4, ema_decay=0.5, train_steps=16,
       figures={"figure": 0.1})
  assert _saved(tmp_path / "later", "best") == [16]


def test_without_averages_an_unvalidated_run_has_no_best(tmp_path):
  _run(tmp_path, validated=False)
  assert _saved(tmp_path, "best") == []


def test_without_validation_the_last_step_is_saved(tmp_path, reset):
  with pytest.raises(interruption.Interrupted):
    _run(tmp_path, stop_in_step=12, validated=False)
  assert _saved(tmp_path)[-1] == 12
  reset()
  _run(tmp_path, validated=False)
  assert _logged(tmp_path) == [4, 8, 12]


def test_an_unreadable_checkpoint_of_a_stop_is_passed_over(tmp_path, reset):
  expected = _run(tmp_path / "undisturbed", eval_interval=6)
  workdir = tmp_path / "stopped"
  with pytest.raises(interruption.Interrupted):
    _run(workdir, eval_interval=6, stop_in_validation=6)
  for path in (workdir / "unvalidated").glob("*.data-*"):
    path.write_bytes(b"")
  reset()
  np.testing.assert_array_equal(_run(workdir, eval_interval=6), expected)


def test_gradient_of_zero_is_told_once(caplog):
  tell = loop_log.Progress(tf.Variable(4, dtype=tf.int64), 12, 2, None)
  figures = {"loss": 4.6052, "learning_rate": 0.1, "images_per_second": 1.0}
  for norm in (0.5, 0.0, 0.0, float("nan")):
    tell({**figures, "gradient_norm": norm})
  told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
  assert len(told) == 1
  assert "step 4: the gradient was 0 in every step" in told[0]


@pytest.mark.parametrize("figures, there", [
    ({}, "none, because it has no labels"), ({"b": 1.0, "a": 1.0}, "a, b")])
def test_figure_that_is_not_measured_is_told(tmp_path, figures, there):
  with pytest.raises(errors.InputError, match=(
      f"expected a metric of the validation: {there}. Received: 'fig")):
    _run(tmp_path, eval_interval=4, figures=figures)
