"""Tests of kdwsd.training.config."""

import dataclasses
import json

import pytest

from kdwsd import errors
from kdwsd.training import config as config_lib
from tests.training import fake_config


def test_read_gives_back_what_was_written(tmp_path):
  config = fake_config.make(train_sizes=(32, 48), schedule_boundaries=(5,))
  config_lib.write(config, str(tmp_path))
  assert config_lib.read(str(tmp_path)) == config


def test_empty_directory_is_no_run(tmp_path):
  with pytest.raises(errors.InputError, match="no config.json there"):
    config_lib.read(str(tmp_path))


def test_config_of_another_version_names_the_field(tmp_path):
  content = dataclasses.asdict(fake_config.make())
  content["warp"] = content.pop("seed")
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump(content, file)
  with pytest.raises(errors.InputError, match="differs in 'seed', 'warp'."):
    config_lib.read(str(tmp_path))


@pytest.mark.parametrize("field, value", [
    ("learning_rate", float("nan")), ("teacher_temperature", float("inf")),
    ("asymmetric_gammas", (0.0, float("inf")))])
def test_numbers_that_are_not_finite_are_refused(field, value):
  with pytest.raises(errors.InputError, match=f"^--{field}: expected finite"):
    fake_config.make(**{field: value})


@pytest.mark.parametrize("field, value, expected", [
    ("fc_units", -1, "0 or more"), ("ema_decay", 1.5, "1 or less"),
    ("train_sizes", (32, 31), "32 or more"), ("train_sizes", (), "1 to 100"),
    ("asymmetric_gammas", (0.0,), "2 values"), ("stage", "all", "one of wsd,"),
    ("feature_layers", ("fc7", "fc9"), "one of fc7, fc6, pool"),
    ("clip_norm", -1.0, "0 or more"), ("steps_per_loop", 0, "1 or more"),
    ("jit_compile", "yes", "one of auto, on, off"),
    ("profile_steps", (0, 2), "1 or more"),
    ("profile_steps", (5,), "a first and a last step"),
    ("profile_steps", (5, 4), "a first and a last step"),
    ("profile_steps", (5, 11), "a first and a last step"),
    ("test_split", "test", "another split than --eval_split"),
    ("test_split", "trainval", "another split than --train_split")])
def test_what_the_flag_refuses_is_refused_in_a_config(
    tmp_path, field, value, expected):
  with pytest.raises(errors.InputError,
                     match=f"^--{field}: expected {expected}"):
    fake_config.make(**{field: value})
  content = {**dataclasses.asdict(fake_config.make()), field: value}
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump(content, file)
  with pytest.raises(errors.InputError,
                     match=f"config.json: --{field}: expected {expected}"):
    config_lib.read(str(tmp_path))


def test_foreign_config_is_refused_in_few_words(tmp_path):
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump({"9" * 5000: 1}, file)
  with pytest.raises(errors.InputError, match="and [0-9]+ more") as caught:
    config_lib.read(str(tmp_path))
  assert len(str(caught.value)) < 600


def test_config_of_before_a_field_came_is_read(tmp_path):
  content = dataclasses.asdict(fake_config.make())
  for name in ("init_from", "frozen_cache", "rate_batch", "student_factor",
               "feature_scale"):
    del content[name]
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump(content, file)
  assert config_lib.read(str(tmp_path)) == fake_config.make()


def test_a_chain_is_no_run_and_its_runs_are_named(tmp_path):
  with pytest.raises(errors.InputError, match="no config.json there"):
    config_lib.read(str(tmp_path))
  for stage in ("cls", "wsd"):
    config_lib.write(fake_config.make(stage=stage), str(tmp_path / stage))
  with pytest.raises(errors.InputError, match="one of its runs, as .*/wsd"):
    config_lib.read(str(tmp_path))


def test_longer_run_may_go_on():
  before, after = fake_config.make(), fake_config.make(train_steps=20)
  assert config_lib.check_resumable(before, after, "w") == {
      "train_steps": (10, 20)}


@pytest.mark.parametrize("field, value, reason", [
    ("fc_units", 5, "scale of the weights"),
    ("classes", ("a",), "scale of the weights"),
    ("optimizer", "adam", "variables of the optimizer"),
    ("roi_pooling", "max", "weights were trained for them")])
def test_other_variables_may_not(field, value, reason):
  with pytest.raises(errors.InputError,
                     match=f"{reason}.* Received: --{field} was"):
    config_lib.check_resumable(
        fake_config.make(), fake_config.make(**{field: value}), "w")


def test_settings_that_a_stage_does_not_read_may_change():
  before = fake_config.make(stage="wsd", student_size=32)
  after = fake_config.make(stage="wsd", student_size=64)
  assert config_lib.check_resumable(before, after, "w") == {
      "student_size": (32, 64)}
  with pytest.raises(errors.InputError, match="--student_size was 32, is 64"):
    config_lib.check_resumable(
        dataclasses.replace(before, stage="cls"),
        dataclasses.replace(after, stage="cls"), "w")


def test_weights_depend_on_the_same_settings_as_ever():
  shared = {"classes", "backbone", "backbone_width", "fc_units"}
  assert set(config_lib.model_fields("wsd")) == (
      shared | {"refinement_branches"})
  assert set(config_lib.model_fields("cls")) == (
      shared | {"student_size", "feature_scale"})


@pytest.mark.parametrize("content", [
    "", "{", '{"a": 1', "[]", "null", "\xff", "[" * 100000])
def test_damaged_config_is_told(tmp_path, content):
  with open(config_lib.path(str(tmp_path)), "wb") as file:
    file.write(content.encode("latin-1"))
  with pytest.raises(errors.InputError, match="config.json: expected "):
    config_lib.read(str(tmp_path))


@pytest.mark.parametrize("field, value, expected", [
    ("fc_units", "4", "int"), ("fc_units", 4.5, "int"),
    ("fc_units", True, "int"), ("mirror", 1, "bool"),
    ("learning_rate", "1e-3", "float"), ("classes", "abc", "tuple"),
    ("train_sizes", ["32"], "tuple"), ("stage", None, "str"),
    ("eval_split", 3, "Optional")])
def test_value_of_another_type_is_named(tmp_path, field, value, expected):
  content = dataclasses.asdict(fake_config.make())
  content[field] = value
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump(content, file)
  with pytest.raises(errors.InputError, match=(
      f"config.json: expected {expected}.* under '{field}'. Received: ")):
    config_lib.read(str(tmp_path))


@pytest.mark.parametrize("field, value", [
    ("learning_rate", 1), ("clip_norm", None), ("eval_split", None),
    ("schedule_boundaries", []), ("steps_per_loop", 1)])
def test_what_json_may_make_of_a_value_is_read(tmp_path, field, value):
  content = dataclasses.asdict(fake_config.make())
  content[field] = value
  with open(config_lib.path(str(tmp_path)), "w", encoding="utf-8") as file:
    json.dump(content, file)
  read = getattr(config_lib.read(str(tmp_path)), field)
  assert read == (tuple(value) if isinstance(value, list) else value)
