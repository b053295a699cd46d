"""Flagfiles of `kdwsd.train`, as its command line and --recipe take them."""

import contextlib
import io
import os

from absl import flags
from hypothesis import strategies as st

from kdwsd import errors
from kdwsd.training import config as config_lib
from kdwsd.training.settings import flag
from kdwsd.training.settings import topics
from tests.fuzz import grammar as g
from tests.fuzz import oracle

PLACES = r"--\w+|\.flags"
# absl prints its own and exits with status 1, naming the flag.
REFUSALS = (errors.InputError, flags.Error)

_FIELDS = [name for name in topics.CONFIG_SETTINGS if name != "deterministic"]
_SOUND = """# A recipe.
--data=records
--workdir=run
--stage=cls
--train_sizes=64,96
--schedule_boundaries=
--asymmetric_gammas=0,4
--learning_rate=1e-3
--nomirror
--eval_split=test
"""


def examples():
  """Sound flagfiles, nested too."""
  return [{"x.flags": _SOUND.encode()},
          {"x.flags": b"--flagfile=y.flags\n--seed=3\n",
           "y.flags": _SOUND.encode()}]


def grammar():
  """Lines of flags with odd values, of flags that are none, and of neither."""
  name = g.mostly(st.sampled_from(_FIELDS), st.sampled_from(
      ["no_such", "stage", "recipe", "flagfile", "undefok", "helpfull", "data",
       "workdir", "deterministic", "train_size", "nomirror", "mirror", ""]))
  value = st.one_of(
      g.odd_numbers(), g.texts(), st.sampled_from(
          ["1", "64", "64,96", "0", "0,4", "²,3", "64,,", ",", "x.flags",
           "y.flags", "/dev/null", "/", "true", "cls", "all", "mirrored"]))
  line = st.builds(lambda dash, name, sign, value: dash + name + sign + value,
                   g.mostly(st.just("--"), st.sampled_from(["-", "", "---"])),
                   name, g.mostly(st.just("="), st.sampled_from(["", " "])),
                   value)
  text = g.files(st.lists(line, max_size=5).map(
      lambda rows: "".join(row + "\n" for row in rows)))
  return st.builds(
      lambda first, second: {"x.flags": first, "y.flags": second},
      text, g.mostly(st.just(b"--seed=1\n"), text))


def check(folder):
  """Flags of their types, from which a run could be set up."""
  before = os.getcwd()
  os.chdir(folder)
  try:
    # absl warns of flagfiles that read themselves.
    with contextlib.redirect_stderr(io.StringIO()):
      _check()
  finally:
    os.chdir(before)


def _check():
  try:
    recipe = flag.read_recipe("x.flags")
    values = {name: recipe[name] for name in _FIELDS}
    values["stage"] = "cls" if values["stage"] == "all" else values["stage"]
    config_lib.Config(classes=("cat",), deterministic=False, **values)
  except SystemExit as error:
    raise oracle.Broken(f"exits with {error.code}: in place of a message"
                        ) from error
  for side in values["train_sizes"]:
    oracle.demand(side > 0, f"a side of {side}: among --train_sizes")
  oracle.demand(values["train_sizes"], "no --train_sizes: at all")
  for name, value in values.items():
    numbers = value if isinstance(value, tuple) else (value,)
    for number in numbers:
      oracle.demand(
          not isinstance(number, float) or abs(number) < float("inf"),
          f"--{name} not finite: {value}")


def refusal(error, folder):
  """Our own words, or absl's, which name the flag or the file."""
  if isinstance(error, errors.InputError):
    oracle.refusal(error, folder, PLACES)
  else:
    oracle.demand(str(error), "a refusal without words")
