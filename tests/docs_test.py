"""The documents: links lead somewhere, commands run or say why not."""

import importlib.util
import pathlib
import re
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parent.parent
_PAGES = sorted(path.relative_to(_ROOT).as_posix() for pattern in (
    "*.md", "docs/*.md", "export/*.md") for path in _ROOT.glob(pattern))


def _text(name):
  return (_ROOT / name).read_text(encoding="utf-8")


def _prose(name):
  """A page without its fenced blocks and its code."""
  text = re.sub(r"^ *```.*?^ *```$", "", _text(name), flags=re.M | re.S)
  return re.sub(r"`[^`\n]*`", lambda code: code[0].replace("[", ""), text)


def _anchors(name):
  """What GitHub makes of a page's headings."""
  anchors = set()
  for heading in re.findall(r"^#+ (.*)$", _prose(name), re.MULTILINE):
    anchor = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
    copies = sum(bool(re.fullmatch(rf"{re.escape(anchor)}(-\d+)?", other))
                 for other in anchors)
    anchors.add(f"{anchor}-{copies}" if copies else anchor)
  return anchors


def _links(name):
  return re.findall(r"\]\(([^()\s]+)\)", _prose(name))


def _commands():
  """.ci/docs_commands.py, which is in no package."""
  folder = str(_ROOT / ".ci")
  sys.path.insert(0, folder)
  try:
    spec = importlib.util.spec_from_file_location(
        "docs_commands", _ROOT / ".ci" / "docs_commands.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
  finally:
    sys.path.remove(folder)
  return module


@pytest.mark.parametrize("name", _PAGES)
def test_links_lead_somewhere(name):
  for link in _links(name):
    if re.match(r"https?://", link):
      continue
    path, _, anchor = link.partition("#")
    target = (_ROOT / name).parent / path if path else _ROOT / name
    assert target.exists(), link
    if anchor:
      page = target.resolve().relative_to(_ROOT).as_posix()
      assert anchor in _anchors(page), link


def test_links_and_anchors_are_found():
  assert "docs/data.md" in _links("README.md")
  assert "--caffe_parity" in _anchors("docs/caffe.md")
  assert "stage-1-features-of-regions" in _anchors("docs/distillation.md")


def test_every_page_is_linked_from_the_readme():
  links = {link.partition("#")[0] for link in _links("README.md")}
  assert {name for name in _PAGES if name.startswith("docs/")} <= links


def test_the_readme_is_short():
  assert len(_text("README.md").splitlines()) <= 200


def test_pictures_are_small():
  pictures = list((_ROOT / "docs" / "images").iterdir())
  assert pictures
  for path in pictures:
    assert path.stat().st_size <= 200_000, path


def test_every_command_runs_or_says_why_not():
  commands = _commands()
  assert set(commands.pages()) <= set(_PAGES)
  found = [block for name in commands.pages()
           for block in commands.blocks(_text(name), name)]
  reasons = [reason for _, _, reason in found if reason]
  assert len(found) > 20
  assert 0 < len(reasons) < len(found)
  assert all(len(reason) > 8 for reason in reasons)


@pytest.mark.parametrize("text, message", [
    ("```sh\nmake\n```\n", "expected commands in a block of `bash`"),
    ("```console\n$ make\n```\n", "expected commands in a block of `bash`"),
    ("Run\n\n    python -m kdwsd.train\n", "indented"),
    ("<!-- not run by CI: x -->\n```proto\na\n```\n", "below"),
])
def test_commands_out_of_reach_are_refused(text, message):
  with pytest.raises(ValueError, match=message):
    _commands().blocks(text, "page.md")


def test_a_mark_holds_for_one_block():
  text = ("<!-- not run by CI: needs a GPU -->\n```bash\na\n```\n"
          "\n```bash\nb\nc\n```\n\n```json\n{}\n```\n")
  assert _commands().blocks(text, "page.md") == [
      (2, "a", "needs a GPU"), (6, "b\nc", None)]


def test_a_server_runs_in_the_background():
  text = ("<!-- run by CI in the background -->\n```bash\nserve\n```\n"
          "```bash\nask\n```\n")
  (_, commands, reason), other = _commands().blocks(text, "page.md")
  assert commands.splitlines() == ["(exec serve) &", "wait_for_server"]
  assert reason is None
  assert other == (5, "ask", None)
