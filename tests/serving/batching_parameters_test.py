"""Warm-up requests are held to the limit of the server's batching file."""

import pytest

from kdwsd import errors
from kdwsd.serving import batching_parameters


@pytest.mark.parametrize("text, size", [
    ("max_batch_size { value: 12 }", 12),
    ("batch_timeout_micros { value: 5 }\nmax_batch_size:{value:7}", 7),
    ("max_batch_size <\n  value: 64,\n>\n", 64),
    ("# max_batch_size { value: 2 }\nmax_batch_size { value: 3 }  # few", 3),
    ("# max_batch_size { value: 2 }\n", 1000),
    ("", 1000),
])
def test_the_limit_is_read(tmp_path, text, size):
  path = tmp_path / "batching.txt"
  path.write_text(text, encoding="utf-8")
  assert batching_parameters.max_batch_size(str(path)) == size


def test_a_larger_warmup_than_the_server_takes_is_refused(tmp_path):
  batching_parameters.check_warmup([1, 32], None, detector=False)
  with pytest.raises(errors.InputError) as caught:
    batching_parameters.check_warmup([33, 1], None, detector=False)
  message = str(caught.value)
  assert message.startswith("--warmup: expected at most 32 images a request")
  assert "export/batching_parameters.txt" in message
  assert "Received: 33." in message
  assert "--batching_parameters_file" in message
  with pytest.raises(errors.InputError, match="at most 8 .*teacher_batching"):
    batching_parameters.check_warmup([9], None, detector=True)
  path = tmp_path / "mine.txt"
  path.write_text("max_batch_size { value: 64 }", encoding="utf-8")
  batching_parameters.check_warmup([64], str(path), detector=False)
  with pytest.raises(errors.InputError, match="at most 64 .*mine.txt"):
    batching_parameters.check_warmup([65], str(path), detector=False)


def test_a_server_without_batching_has_no_limit():
  batching_parameters.check_warmup([5000], "", detector=False)


def test_files_that_cannot_be_read_are_told(tmp_path):
  with pytest.raises(errors.InputError, match="No such file"):
    batching_parameters.max_batch_size(str(tmp_path / "none.txt"))
  path = tmp_path / "batching.txt"
  path.write_text("max_batch_size: 32", encoding="utf-8")
  with pytest.raises(errors.InputError, match="expected max_batch_size {"):
    batching_parameters.max_batch_size(str(path))
  path.write_bytes(b"\xff\xfe\x00")
  with pytest.raises(errors.InputError, match="expected a text file"):
    batching_parameters.max_batch_size(str(path))
