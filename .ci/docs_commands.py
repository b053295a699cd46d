"""Runs the commands of README.md, docs/*.md and export/README.md.

    .venv/bin/python .ci/docs_commands.py runs/demo_quick

Commands are the fenced blocks of `bash`. The blocks of a page run one after the
other in a separate folder, on small data, and training takes two steps. A block
that cannot run has a reason in the line above it, and is listed at the end:

    <!-- not run by CI: needs a GPU -->

A server is started by `<!-- run by CI in the background -->` above a block of
one command; the following blocks wait until it listens. Commands elsewhere, in
blocks of another kind or indented, are an error. The argument is the work
directory of the shortened demo.

`python -m kdwsd.PROGRAM` is forked from a process that has loaded TensorFlow,
by tests/programs.py. The server in the background, `kdwsd` and scripts are
processes of their own.
"""

import concurrent.futures
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

import docs_data

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PAGES = ("README.md", "docs/*.md", "export/README.md")

_MARK = re.compile(r"<!-- not run by CI(?: again)?: (.+) -->")
_BACKGROUND = "<!-- run by CI in the background -->"
_FENCE = re.compile(r"^( *)```(\w*)$")
_SHELLS = ("sh", "shell", "console", "zsh")
_COMMAND = re.compile(
    r"^ {4,}\$? ?(python|pip|make|git|curl|docker|export) ", re.MULTILINE)

# Trainings take hours and download weights, so they are cut to two steps.
_FUNCTIONS = """
trap 'kill $(jobs -p) 2>/dev/null || true' EXIT
wait_for_server() {
  until (exec 3<>/dev/tcp/localhost/8501) 2>/dev/null; do
    kill -0 $!
    sleep 0.5
  done
}
python() {
  case "$*" in
    "-m kdwsd.train "*) fork "${@:2}" --backbone_weights=none \\
      --train_steps=2 --steps_per_loop=1 --checkpoint_interval=2 \\
      --eval_interval=0 --warmup_steps=0 --global_batch_size=2 \\
      --num_proposals=16 --train_sizes=64 --eval_size=64 --student_size=64 ;;
    "-m kdwsd."*) fork "${@:2}" ;;
    *kdwsd.train*) echo "expected python -m kdwsd.train" >&2; return 1 ;;
    *) command python "$@" ;;
  esac
}
fork() { command python -S -m tests.programs "$PROGRAMS" "$@"; }
"""


def pages():
  """Paths of the pages whose commands run, relative to the project."""
  return sorted(path.relative_to(_ROOT).as_posix() for pattern in _PAGES
                for path in _ROOT.glob(pattern))


def blocks(text, name):
  """Finds the commands of a page.

  Args:
    text: text of the page.
    name: name of the page, for messages.

  Returns:
    List of (line number of the fence, commands, None or why they do not run).

  Raises:
    ValueError: commands outside a block of `bash`, or a mark without a block.
  """
  found, outside, kept = [], [], []
  fence = reason = None
  background = False
  for number, line in enumerate(text.splitlines(), 1):
    start = _FENCE.match(line)
    if fence is None and start:
      fence, kind, kept = number, start[2], []
      if kind in _SHELLS:
        raise ValueError(f"{name}:{number}: expected commands in a block of "
                         f"`bash`. Received: `{kind}`.")
      if reason and kind != "bash":
        raise ValueError(f"{name}:{number}: expected a block of `bash` below "
                         f"\"not run by CI\". Received: `{kind}`.")
    elif fence is not None and start and not start[2]:
      if kind == "bash":
        commands = "\n".join(kept)
        if background:
          commands = f"(exec {commands}) &\nwait_for_server"
        found.append((fence, commands, reason))
      fence = reason = None
      background = False
    elif fence is not None:
      kept.append(line)
    else:
      mark = _MARK.fullmatch(line.strip())
      if line.strip():
        reason = mark[1] if mark else None
        background = line == _BACKGROUND
      outside.append(line)
  indented = _COMMAND.search("\n".join(outside))
  if indented:
    raise ValueError(f"{name}: expected commands in a block of `bash`. "
                     f"Received: {indented.group().strip()!r}, indented.")
  return found


def _run(name, commands, demo, work, server):
  """Runs the commands of a page.

  Args:
    name: name of the page.
    commands: list of texts for bash.
    demo: work directory of the shortened demo.
    work: empty folder to run them in.
    server: socket of `programs.start_server`.

  Returns:
    (name, seconds, exit status, output).
  """
  started = time.monotonic()
  for entry in ("flags", "export"):
    os.symlink(_ROOT / entry, work / entry)
  os.symlink(sys.prefix, work / ".venv")
  # Its configs name the records by the path that the demo was run with.
  shutil.copytree(demo, work / "runs" / demo.name,
                  ignore=shutil.ignore_patterns("scenes"))
  if demo.name != "demo":
    os.symlink(demo.name, work / "runs" / "demo")
  script = "\n".join(
      ["set -euo pipefail", ". .venv/bin/activate", _FUNCTIONS, "set -x",
       *commands])
  done = subprocess.run(
      ["bash", "-c", script], cwd=work, stdout=subprocess.PIPE,
      stderr=subprocess.STDOUT, text=True, check=False, errors="replace",
      pass_fds=[server.fileno()],
      env={**os.environ, "PYTHONPATH": str(_ROOT),
           "PROGRAMS": str(server.fileno())})
  return name, time.monotonic() - started, done.returncode, done.stdout


def main(argv):
  """Runs the pages two at a time; returns the exit status."""
  demo = pathlib.Path(argv[1]).resolve()
  wanted, left_out = {}, []
  for name in pages():
    text = (_ROOT / name).read_text(encoding="utf-8")
    for number, commands, reason in blocks(text, name):
      if reason:
        left_out.append(f"{name}:{number}: {reason}")
      else:
        wanted.setdefault(name, []).append(commands)
  sys.path.insert(0, str(_ROOT))
  from tests import programs  # pylint: disable=import-outside-toplevel
  server = programs.start_server()
  failed = []
  with tempfile.TemporaryDirectory() as folder, (
      concurrent.futures.ThreadPoolExecutor(2)) as pool:
    waiting = []
    for name, commands in wanted.items():
      work = pathlib.Path(folder) / name.replace("/", "_")
      docs_data.write(demo / "scenes", work)
      waiting.append(pool.submit(_run, name, commands, demo, work, server))
    for future in concurrent.futures.as_completed(waiting):
      name, seconds, status, output = future.result()
      print(f"{name}: {len(wanted[name])} blocks, {seconds:.0f} s, exit status "
            f"{status}", flush=True)
      if status:
        failed.append(name)
        print(output, flush=True)
  print("\nNot run:", *left_out, sep="\n  ")
  if failed:
    print(f"error: commands failed: {', '.join(failed)}.", file=sys.stderr)
  return 1 if failed else 0


if __name__ == "__main__":
  sys.exit(main(sys.argv))
