"""The list of what a GPU did, from a profile made by hand."""

import pytest
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import kernels
from kdwsd import errors


def _profile():
  """Two steps: a kernel of 2 and 4 ms, one without an operation, a copy."""
  space = xplane_pb2.XSpace()
  space.planes.add(name="/host:CPU").lines.add(name="a thread").events.add(
      duration_ps=1)
  plane = space.planes.add(name="/device:GPU:0")
  plane.stat_metadata[1].name = "hlo_op"
  plane.stat_metadata[2].name = "fusion.7"
  for number, name in ((1, "gemm"), (2, "relu"), (3, "MemcpyH2D")):
    plane.event_metadata[number].name = name
  stream = plane.lines.add(name="Stream #13(Compute)")
  for offset, number, milliseconds in ((0, 1, 2), (5, 1, 4), (9, 2, 1)):
    event = stream.events.add(
        metadata_id=number, offset_ps=offset * 10 ** 9,
        duration_ps=milliseconds * 10 ** 9)
    if number == 1:
      event.stats.add(metadata_id=1, ref_value=2)
  plane.lines.add(name="Stream #14(MemcpyH2D)").events.add(
      metadata_id=3, duration_ps=10 ** 9)
  plane.lines.add(name="XLA Ops").events.add(metadata_id=1, duration_ps=1)
  return space


def test_streams_are_listed_with_their_longest_kernels(tmp_path):
  (tmp_path / "plugins").mkdir()
  (tmp_path / "plugins" / "host.xplane.pb").write_bytes(
      _profile().SerializeToString())
  lines = kernels.table(str(tmp_path), steps=2, most=1).splitlines()
  # 2 + 4 + 1 ms of the 10 ms from the first start to the last end.
  assert lines[0] == ("/device:GPU:0 Stream #13(Compute): 2 events a step, "
                      "busy 3.50 of 5.00 ms")
  assert lines[1].split() == ["3.0000", "ms", "1.0", "x", "gemm", "fusion.7"]
  assert lines[2].startswith("/device:GPU:0 Stream #14(MemcpyH2D): 0 events")
  assert lines[3].split() == ["0.5000", "ms", "0.5", "x", "MemcpyH2D"]
  assert len(lines) == 4


def test_a_folder_without_a_profile(tmp_path):
  with pytest.raises(errors.InputError, match="a file .xplane.pb"):
    kernels.table(str(tmp_path), steps=1)
