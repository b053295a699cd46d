"""Settings of the models: the network, the teacher, the student."""

import dataclasses

from kdwsd.training.settings import setting


@dataclasses.dataclass(frozen=True)
class Model:
  """The network that is trained"""
  backbone: str = setting.declare(
      "vgg16", "Convolutional network. small is a net of four stages for tests "
      "and demos, without pretrained weights. Default: the paper's.",
      choices=("vgg16", "small", "mobilenet_v2", "resnet50",
               "efficientnet_b0"), fixed=setting.WEIGHTS)
  backbone_width: float = setting.declare(
      1.0, "Channel multiplier of mobilenet_v2, such as 0.35; other backbones "
      "take only 1.", fixed=setting.WEIGHTS)
  backbone_weights: str = setting.declare(
      "imagenet", "Weights that the backbone starts from: imagenet, which "
      "Keras downloads; none, random ones; the path of a Keras .h5 file; or a "
      "folder of such files under the names that keras.applications gives "
      "them.")
  init_from: str = setting.declare(
      "", "Work directory of another run of the same model: start from its "
      "best checkpoint, not from --backbone_weights. For other data, to "
      "continue with other stages frozen, or to add refinement branches to a "
      "teacher.", older="")
  frozen_stages: int = setting.declare(
      0, "How many leading stages of the backbone are not trained (vgg16 has "
      "5). Freezing saves time and memory, and reduces overfitting on small "
      "data.", lower=0)
  frozen_cache: bool = setting.declare(
      False, "Compute the output of the frozen stages once for each image and "
      "keep it beside the records. Much faster on small data; needs "
      "--frozen_stages and a single image side, and disk space for two "
      "feature maps per image.", older=False)
  fc_units: int = setting.declare(
      4096, "Units in each of the fully connected layers fc6 and fc7. 0, for a "
      "student only: no such layers, but the mean over the feature map and "
      "one classifier. Lower it to save memory and on small data. Default: "
      "the paper's.", lower=0, fixed=setting.WEIGHTS)
  dropout_rate: float = setting.declare(
      0.5, "Probability with which a unit after fc6 and fc7 is dropped in "
      "training, at least 0 and below 1. Default: the release's.")
  roi_pooling: str = setting.declare(
      "crop_and_resize", "How the features of a region are pooled to 7 x 7: "
      "crop_and_resize interpolates; max is the exact max pooling of Fast "
      "R-CNN, with the rounding of the release.",
      stages=("wsd", "kd_feature"), choices=("crop_and_resize", "max"),
      fixed=setting.TRAINED_FOR, caffe="max")


@dataclasses.dataclass(frozen=True)
class Teacher:
  """The teacher"""
  score_scale: float = setting.declare(
      1.0, "The pooled features of a region are multiplied by score_scale * "
      "objectness + score_bias, where objectness is the score of the proposal "
      "in the records. Use 0 and a --score_bias of 1 if the proposals have no "
      "meaningful scores. Default: the release's; WSDDN has 10.",
      stages=setting.TEACHER, fixed=setting.TRAINED_FOR, caffe=1.0)
  score_bias: float = setting.declare(
      0.0, "See --score_scale. Default: the release's; WSDDN has 1.",
      stages=setting.TEACHER, fixed=setting.TRAINED_FOR, caffe=0.0)
  class_temperature: float = setting.declare(
      1.0, "Divides the logits of the classification stream, above 0. Less "
      "than 1 makes its softmax over classes sharper. Default: the release's.",
      stages=setting.TEACHER, fixed=setting.TRAINED_FOR, caffe=1.0)
  detection_temperature: float = setting.declare(
      1.0, "Divides the logits of the detection stream, above 0. More than 1 "
      "spreads the softmax over regions. Default: the release's; WSDDN has 2.",
      stages=setting.TEACHER, fixed=setting.TRAINED_FOR, caffe=1.0)
  spatial_weight: float = setting.declare(
      0.0, "Weight of the spatial regularizer, a loss that pulls the features "
      "of regions that overlap the best-scored one towards its features. "
      "Default: off, as in the release; WSDDN has 1e-4.",
      stages=setting.TEACHER, lower=0, caffe=0.0)
  refinement_branches: int = setting.declare(
      0, "How many branches refine the scores of regions towards whole "
      "objects, each by those of the one before; 3 is usual. Their mean "
      "scores the regions, for detections and CorLoc; scores of images stay "
      "those of WSDDN. Default: none, as in the paper.",
      stages=setting.TEACHER, lower=0, fixed=setting.WEIGHTS, caffe=0, older=0)
  refinement_seeds: str = setting.declare(
      "mist", "Regions around which a refinement branch learns a class of an "
      "image: top, the best one; mist, up to 20 of the best that hardly "
      "overlap.", stages=setting.TEACHER, choices=("mist", "top"),
      older="mist")
  refinement_weight: float = setting.declare(
      1.0, "Weight of the losses of the refinement branches.",
      stages=setting.TEACHER, lower=0, older=1.0)


@dataclasses.dataclass(frozen=True)
class Student:
  """The student"""
  student_size: int = setting.declare(
      224, "Side in pixels of the student's images, resized from those of "
      "--eval_size. With fc6 and fc7 a multiple of 7 cells of the backbone, "
      "112 for vgg16. Default: the paper's.",
      stages=setting.STUDENTS, lower=32, fixed=setting.WEIGHTS)
  feature_scale: float = setting.declare(
      1.0, "The student's pooled features of a whole image are multiplied by "
      "this, above 0. Features of regions are multiplied by their objectness; "
      "if that is small, kd_prediction sees far larger features than "
      "kd_feature has trained: then use about --score_scale times the mean "
      "objectness. Default: the release's.",
      stages=setting.STUDENTS, fixed=setting.WEIGHTS, caffe=1.0, older=1.0)
  randaugment_layers: int = setting.declare(
      0, "How many random operations of RandAugment to apply to each of the "
      "student's training images; 0 for none. Regularizes.",
      stages=setting.LABELLED_STUDENTS, lower=0)
  randaugment_magnitude: int = setting.declare(
      10, "Strength of the operations of RandAugment, 0 to 10.",
      stages=setting.LABELLED_STUDENTS, lower=0)
  cutout_size: int = setting.declare(
      0, "Side in pixels of a grey square drawn at a random place onto each of "
      "the student's training images; 0 for none. Regularizes.",
      stages=setting.LABELLED_STUDENTS, lower=0)
  hard_loss: str = setting.declare(
      "sigmoid", "Loss between the student's logits and the labels: sigmoid "
      "cross-entropy; focal, which weights easy labels less; or asymmetric, "
      "which weights easy absent labels less. Try the last two where most "
      "labels are absent. Default: the release's.",
      stages=setting.LABELLED_STUDENTS,
      choices=("sigmoid", "focal", "asymmetric"), caffe="sigmoid")
  focal_alpha: float = setting.declare(
      0.25, "--hard_loss=focal: weight of present labels, 1 minus it that of "
      "absent ones; at least 0 and below 1, 0 for no weights. Default: Lin et "
      "al., ICCV 2017.", stages=setting.LABELLED_STUDENTS)
  focal_gamma: float = setting.declare(
      2.0, "--hard_loss=focal: exponent, 0 or 1 and more; the larger, the less "
      "easy labels count. Default: Lin et al., ICCV 2017.",
      stages=setting.LABELLED_STUDENTS)
  asymmetric_gammas: tuple[float, ...] = setting.declare(
      (0.0, 4.0), "--hard_loss=asymmetric: two exponents, for present and for "
      "absent labels; the larger, the less easy labels count. Default: "
      "Ben-Baruch et al., ICCV 2021.", stages=setting.LABELLED_STUDENTS,
      lower=0, lengths=(2, 2))
  asymmetric_clip: float = setting.declare(
      0.05, "--hard_loss=asymmetric: absent labels with a probability below "
      "this cost nothing; at least 0 and below 1. Default: Ben-Baruch et al., "
      "ICCV 2021.", stages=setting.LABELLED_STUDENTS)
