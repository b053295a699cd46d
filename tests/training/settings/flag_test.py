"""Tests of kdwsd.training.settings.flag."""

from absl import flags
import pytest

from kdwsd import errors
from kdwsd.data import input_pipeline
from kdwsd.modeling import backbones
from kdwsd.modeling import roi_pooling
from kdwsd.modeling import student_losses
from kdwsd.training import config as config_lib
from kdwsd.training import optimizers
from kdwsd.training import run
from kdwsd.training import schedules
from kdwsd.training import strategies
from kdwsd.training.settings import flag
from kdwsd.training.settings import setting
from kdwsd.training.settings import topics
from tests.training import fake_config


def _parse(*arguments):
  values = flags.FlagValues()
  flag.define(values)
  values(["train", *arguments])
  return values


def test_every_default_is_that_of_a_config():
  values = _parse().flag_values_dict()
  assert list(values) == list(topics.SETTINGS)
  config = config_lib.Config(classes=("a",))
  assert {name: values[name] for name in topics.CONFIG_SETTINGS} == {
      name: getattr(config, name) for name in topics.CONFIG_SETTINGS}


def test_lists_are_tuples_of_their_type():
  values = _parse("--train_sizes= 32,48", "--asymmetric_gammas=1,2",
                  "--schedule_boundaries=", "--feature_layers=pool, fc7")
  assert values["train_sizes"].value == (32, 48)
  assert values["asymmetric_gammas"].value == (1.0, 2.0)
  assert all(isinstance(one, float)
             for one in values["asymmetric_gammas"].value)
  assert values["schedule_boundaries"].value == ()
  assert values["feature_layers"].value == ("pool", "fc7")


@pytest.mark.parametrize("argument, expected", [
    ("--train_sizes=", "expected 1 to 100 values"),
    ("--train_sizes=32,x", "expected whole numbers"),
    ("--train_sizes=32,31", "expected 32 or more"),
    ("--train_sizes=\u00b232", "expected whole numbers"),
    ("--train_sizes=9999999999", "expected whole numbers"),
    ("--schedule_boundaries=0", "expected 1 or more"),
    ("--asymmetric_gammas=1", "expected 2 values"),
    ("--asymmetric_gammas=1,inf", "expected finite"),
    ("--asymmetric_gammas=1,b", "expected numbers"),
    ("--feature_layers=fc9", "expected one of fc7, fc6, pool"),
    ("--fc_units=-1", "fc_units"), ("--ema_decay=2", "ema_decay"),
    ("--backbone=vgg19", "backbone"), ("--data=x", "needs a --workdir"),
    ("--recipe=flags/voc07", "--recipe needs --stage=all")])
def test_bad_values_are_refused(argument, expected):
  with pytest.raises(flags.Error, match=expected):
    _parse(argument)


def test_recipe_has_a_value_for_each_setting(tmp_path):
  path = tmp_path / "wsd.flags"
  path.write_text("--fc_units=8\n--nomirror\n--deterministic=on\n", "utf-8")
  values = flag.read_recipe(str(path))
  assert (values["fc_units"], values["mirror"]) == (8, False)
  assert set(values) == set(topics.SETTINGS)
  path.write_text("--fc_unit=8\n", "utf-8")
  with pytest.raises(errors.InputError, match="expected flags of kdwsd.train"):
    flag.read_recipe(str(path))


def test_choices_are_those_of_the_modules_that_take_them():
  for name, choices in (
      ("backbone", backbones.NAMES), ("roi_pooling", roi_pooling.NAMES),
      ("hard_loss", student_losses.HARD_LOSSES),
      ("cache", input_pipeline.CACHES), ("optimizer", optimizers.NAMES),
      ("schedule", schedules.KINDS), ("stage", tuple(run.STAGES)),
      ("distribution_strategy", strategies.NAMES)):
    assert topics.SETTINGS[name].choices == choices, name


@pytest.mark.parametrize("name, declared", topics.SETTINGS.items())
def test_declarations_fit_together(name, declared):
  assert declared.text.rstrip().endswith((".", ".)"))
  assert "%" not in declared.text  # absl would format it.
  assert declared.expected(declared.default) is None or declared.flag_choices
  assert set(declared.stages) <= set(setting.STAGES)
  if declared.caffe is not setting.UNSET:
    fake_config.make(**{name: declared.caffe})


@pytest.mark.parametrize("files, recipe, expected", [
    (["r/cls.flags"], "r", "without a teacher needs --teacher=RUN.$"),
    (["r/all.flags"], "r", "use --flagfile=.*r/all.flags.$"),
    (["r/wsd.flags"], "r/wsd.flags", "use --flagfile=.*r/wsd.flags.$"),
    (["r/other"], "r", "`python -m kdwsd.recipes` lists"),
    ([], "r", "`python -m kdwsd.recipes` lists")])
def test_a_recipe_without_the_file_of_a_stage_has_a_way_out(
    files, recipe, expected, tmp_path):
  for name in files:
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).touch()
  with pytest.raises(errors.InputError, match=expected):
    flag.read_recipe(str(tmp_path / recipe / "wsd.flags"))
