"""Computes the throughput of many GPUs: python -m benchmarks.scaling.

    python -m benchmarks.scaling --rates=4:223.2,8:265.6

Nothing is measured here. From the images/s of one GPU, for each number of
images in its step, it computes those of 8 and of 64 in machines of 8; docs/
scale.md explains the arithmetic.
"""

import dataclasses

from absl import flags

from kdwsd import command_line

GPUS_PER_MACHINE = 8

# Of T-WDet with VGG16 and fc 4096: float32, in mixed precision, too.
GRADIENT_BYTES = 134e6 * 4

# Bytes/s in each direction, as a ring of all-reduce uses them: between the GPUs
# of a machine, and between machines in all.
NVLINK = 200e9
NETWORKS = {"100 Gbit/s": 12.5e9, "400 Gbit/s": 50e9, "8 x 400 Gbit/s": 400e9}


@dataclasses.dataclass(frozen=True)
class Throughput:
  """What a number of GPUs reaches.

  Attributes:
    all_reduce: seconds of a step.
    step: seconds, with it.
    images: per second, of all GPUs.
    efficiency: share of the rates of as many single GPUs.
    cores: of each machine, to decode the images.
  """
  all_reduce: float
  step: float
  images: float
  efficiency: float
  cores: float


def all_reduce_seconds(num_gpus, network=None):
  """Seconds of a ring: each GPU sends 2 (n - 1) / n times the gradients.

  Args:
    num_gpus: n.
    network: bytes/s between machines; None within one.
  """
  sent = 2 * (num_gpus - 1) / num_gpus * GRADIENT_BYTES
  return sent / min(NVLINK, network or NVLINK)


def throughput(rate, batch_size, num_gpus, network=None, *, core_rate):
  """Computes a row of the table.

  Args:
    rate: images/s of one GPU.
    batch_size: images per step of one GPU.
    num_gpus: in all.
    network: bytes/s between machines of `GPUS_PER_MACHINE`; None for one.
    core_rate: images/s that a core decodes.

  Returns:
    `Throughput`. The sum of the gradients does not overlap with the step, which
    XLA compiles as a whole.
  """
  alone = batch_size / rate
  all_reduce = all_reduce_seconds(num_gpus, network)
  step = alone + all_reduce
  images = num_gpus * batch_size / step
  machines = max(1, num_gpus / GPUS_PER_MACHINE)
  return Throughput(all_reduce, step, images, alone / step,
                    images / machines / core_rate)


def _define_flags():
  flags.DEFINE_list("rates", ["4:223.2", "8:265.6"], "Images per step of a GPU "
                    "and its images/s.")
  flags.DEFINE_float("core_rate", 225, "Images/s that a core decodes.",
                     lower_bound=1)
  flags.DEFINE_integer("images", 82081, "Images of an epoch.", lower_bound=1)


def main(_):
  """Prints a table."""
  values = flags.FLAGS
  print("| images per GPU | images/s of one | GPUs | between machines | "
        "all-reduce, ms | step, ms | images/s | efficiency | cores a machine | "
        f"epoch, min |\n|{'---|' * 10}")
  for text in values.rates:
    batch_size, rate = int(text.split(":")[0]), float(text.split(":")[1])
    for num_gpus, networks in ((8, {"": None}), (64, NETWORKS)):
      for name, network in networks.items():
        row = throughput(rate, batch_size, num_gpus, network,
                         core_rate=values.core_rate)
        print(f"| {batch_size} | {rate:g} | {num_gpus} | {name} | "
              f"{1e3 * row.all_reduce:.1f} | {1e3 * row.step:.1f} | "
              f"{row.images:,.0f} | {100 * row.efficiency:.0f} % | "
              f"{row.cores:.1f} | {values.images / row.images / 60:.1f} |")


if __name__ == "__main__":
  _define_flags()
  command_line.run(main)
