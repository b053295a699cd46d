"""The Beam runner: a pipeline of Apache Beam whose elements are shards.

The pipeline carries only the names of `tasks`, each of which a worker can do at
any time and more than once. So it does not matter how an engine bundles,
retries or repeats them. Launcher and workers share the folder of the records
and see the images under the same paths.
"""

import contextlib
import logging
import re
import threading

from kdwsd import errors
from kdwsd.data.runners import tasks

_NAMED = re.compile(r"kdwsd\.errors\.InputError: (.*)")
_WHILE = re.compile(r"\s*\[while running '.*?'\]")
_DEFAULTS = {"runner": "DirectRunner",
             "default_sdk_harness_log_level": "ERROR"}
_POLL_SECONDS = 1.0


def check(arguments):
  """Checks that Beam is installed and takes the options.

  Args:
    arguments: options of the pipeline, such as `direct_num_workers=4`, with or
      without leading dashes.

  Returns:
    Beam's `PipelineOptions`.

  Raises:
    errors.InputError: it is not, or does not.
  """
  _import()
  from apache_beam.options import pipeline_options  # pylint: disable=import-outside-toplevel
  given = ["--" + text.strip().lstrip("-") for text in arguments]
  named = {text[2:].split("=")[0] for text in given}
  options = pipeline_options.PipelineOptions(given + [
      f"--{name}={value}" for name, value in _DEFAULTS.items()
      if name not in named])
  try:
    with _quiet(logging.ERROR):
      known = options.get_all_options()
      taken = options.get_all_options(retain_unknown_options=True)
  except SystemExit as error:  # argparse has printed what is wrong.
    raise errors.InputError(
        "--beam_options: expected options of Apache Beam, NAME=VALUE, "
        f"separated by commas. Received: {','.join(arguments)}.") from error
  unknown = sorted(set(taken) - set(known))
  # Other engines may take options that only their job server knows.
  if unknown and "direct" in (known["runner"] or "direct").lower():
    raise errors.InputError(
        "--beam_options: expected options of Apache Beam. Received: "
        f"{', '.join(unknown)}.")
  return options


def run(job, bar, *, options):
  """Writes the missing shards of a job by a Beam pipeline.

  Args:
    job: a `runners.Job`.
    bar: progress bar of images; `update(n)` counts n.
    options: returned by `check`.

  Raises:
    errors.InputError: a bad image that is not to be skipped, or a pipeline that
      failed or left shards out.
  """
  beam = _import()
  staged = tasks.stage(job)
  pipeline = beam.Pipeline(options=options)
  _ = (pipeline | "Shards" >> beam.Create(staged, reshuffle=False)
       # Without it, the engine would do all shards in the step that lists them.
       | "Spread" >> beam.Reshuffle()
       | "Write" >> beam.Map(tasks.do))
  failure = None
  try:
    with _progress(job, staged, bar), _quiet(logging.WARNING):
      try:
        pipeline.run().wait_until_finish()
      except Exception as error:  # The engines raise of any kind.
        failure = error
    missing = len(staged) - len(tasks.done(staged))
    fault = tasks.first_fault(staged)
  finally:
    tasks.clear(staged[0].folder)  # Ends workers that are left, too.
  if fault:
    raise errors.InputError(fault)
  if failure:
    raise errors.InputError(
        f"{job.notes.output}: expected the pipeline of Apache Beam to run to "
        f"its end. Received: {_reason(failure)}; {missing} of "
        f"{len(job.shards)} shards are missing, and the same command resumes."
    ) from failure
  if missing:
    raise errors.InputError(
        f"{job.notes.output}: expected a folder that launcher and workers "
        f"share. Received: a pipeline that ended without {missing} of "
        f"{len(job.shards)} shards.")


@contextlib.contextmanager
def _progress(job, staged, bar):
  """Counts the images of shards that get into place, in a thread."""
  ended, counted = threading.Event(), set()

  def count():
    new = tasks.done(staged) - counted
    counted.update(new)
    bar.update(sum(len(job.shards[index]) for index in new))

  def watch():
    while not ended.wait(_POLL_SECONDS):
      with contextlib.suppress(OSError, errors.InputError):
        count()

  thread = threading.Thread(target=watch, daemon=True)
  thread.start()
  try:
    yield
  finally:
    ended.set()
    thread.join()
    count()


def _reason(failure):
  """The message of a task that failed, or else the engine's last line."""
  text = str(failure)
  found = _NAMED.search(text)
  lines = [line.strip() for line in text.splitlines() if line.strip()]
  reason = found.group(1) if found else (lines or [repr(failure)])[-1]
  return _WHILE.sub("", reason).rstrip(".")


@contextlib.contextmanager
def _quiet(level):
  """Keeps Beam's notes below a level out of the log."""
  logger = logging.getLogger("apache_beam")
  before = logger.level
  logger.setLevel(level)
  try:
    yield
  finally:
    logger.setLevel(before)


def _import():
  """Imports Beam, without its warnings about packages for other clouds."""
  before = logging.root.manager.disable
  logging.disable(logging.WARNING)
  try:
    import apache_beam  # pylint: disable=import-outside-toplevel
    return apache_beam
  except ImportError as error:
    raise errors.InputError(
        "--runner=beam: expected Apache Beam. Received: none (" + " ".join(
            str(error).split()) + "); pip install 'kdwsd[beam]'") from error
  finally:
    logging.disable(before)
