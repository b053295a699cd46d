"""A config for tests: the smallest run."""

from kdwsd.training import config as config_lib
from tests.data import fake_records

_VALUES = {
    "stage": "wsd", "classes": fake_records.CLASSES, "data": "records",
    "train_split": "trainval", "eval_split": "test", "train_sizes": (32,),
    "eval_size": 32, "num_proposals": 8, "mirror": True, "cache": "none",
    "shuffle_buffer": 16, "backbone": "small", "backbone_width": 1.0,
    "backbone_weights": "none", "frozen_stages": 0, "fc_units": 4,
    "dropout_rate": 0.5, "roi_pooling": "crop_and_resize",
    "score_scale": 1.0, "score_bias": 0.0, "class_temperature": 1.0,
    "detection_temperature": 1.0, "spatial_weight": 0.0,
    "student_size": 32, "randaugment_layers": 0, "randaugment_magnitude": 10,
    "cutout_size": 0, "hard_loss": "sigmoid", "focal_alpha": 0.25,
    "focal_gamma": 2.0, "asymmetric_gammas": (0.0, 4.0),
    "asymmetric_clip": 0.05, "ema_decay": 0.0, "teacher": "",
    "teacher_checkpoint": "best", "teacher_dropout": False,
    "teacher_cache": "auto", "feature_layers": ("fc7",),
    "feature_adapter": "none", "roi_weight": "uniform", "top_k_rois": 0,
    "feature_student": "", "teacher_temperature": 0.5,
    "student_temperature": 5.0, "hard_weight": 1.0, "soft_weight": 1.0,
    "global_batch_size": 2, "optimizer": "sgd", "learning_rate": 1e-3,
    "backbone_rate": 1.0, "classifier_rate": 1.0, "momentum": 0.9,
    "weight_decay": 5e-4,
    "schedule": "constant", "warmup_steps": 0, "schedule_boundaries": (),
    "schedule_factor": 0.1, "plateau_patience": 3, "clip_norm": 0.0,
    "train_steps": 10, "steps_per_loop": 1, "checkpoint_interval": 1,
    "eval_interval": 0, "keep_checkpoints": 3,
    "best_figure": "classification/map",
    "distribution_strategy": "mirrored", "num_replicas": 0,
    "mixed_precision": "float32", "deterministic": True, "seed": 0,
}


def make(**changes):
  """A `config.Config` with some fields changed."""
  return config_lib.Config(**{**_VALUES, **changes})
