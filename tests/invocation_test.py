"""Commands in messages are those that the user can type."""

import pytest

from kdwsd import invocation


@pytest.fixture(autouse=True)
def _start_anew(monkeypatch):
  monkeypatch.setattr(invocation, "_by_command", False)


_TEXT = "`python -m kdwsd.make_records --x=1`, then python -m kdwsd.train."


def test_python_m_stays_for_its_users():
  assert invocation.adapt(_TEXT) == _TEXT


def test_the_command_is_named_to_its_users():
  invocation.use_command()
  assert invocation.adapt(_TEXT) == (
      "`kdwsd make-records --x=1`, then kdwsd train.")


@pytest.mark.parametrize("text", [
    "cpython -m kdwsd.train", "python -m pytest", "kdwsd.train", ""])
def test_other_words_stay(text):
  invocation.use_command()
  assert invocation.adapt(text) == text
