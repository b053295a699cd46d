"""Data sets as TensorFlow Datasets prepares them, made on the spot."""

import os

import tensorflow as tf
import tensorflow_datasets as library


def prepare(root, name, features, examples):
  """Writes a data set with the splits train and test, as TFDS lays it out."""
  folder = os.path.join(root, name, "1.0.0")
  os.makedirs(folder, exist_ok=True)
  features = library.features.FeaturesDict(features)
  template = library.core.ShardedFileTemplate(
      data_dir=folder, template="{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
      dataset_name=name, filetype_suffix="tfrecord")
  infos = []
  for split, shards in (("train", [examples[:2], examples[2:]]),
                        ("test", [examples[:1]])):
    for number, shard in enumerate(shards):
      path = os.path.join(
          folder, f"{name}-{split}.tfrecord-{number:05d}-of-{len(shards):05d}")
      with tf.io.TFRecordWriter(path) as writer:
        for example in shard:
          writer.write(features.serialize_example(
              features.encode_example(example)))
    infos.append(library.core.SplitInfo(
        name=split, shard_lengths=[len(shard) for shard in shards],
        num_bytes=0, filename_template=template))
  library.folder_dataset.write_metadata(
      data_dir=folder, features=features, split_infos=infos,
      filename_template=template, check_data=False)
