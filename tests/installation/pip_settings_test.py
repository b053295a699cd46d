"""uv is given what pip is configured with."""

import os
import subprocess
import sys

import pytest

from tests.installation import loading

pip_settings = loading.load("pip_settings")


@pytest.mark.parametrize("listing,expected", [
    ("", {}),
    ("global.index-url='https://here/simple'",
     {"UV_DEFAULT_INDEX": "https://here/simple"}),
    ("global.extra-index-url='\\nhttps://a/simple\\nhttps://b/simple'",
     {"UV_INDEX": "https://a/simple https://b/simple",
      "UV_INDEX_STRATEGY": "unsafe-best-match"}),
    ("global.find-links='/wheels https://c/'",
     {"UV_FIND_LINKS": "/wheels,https://c/"}),
    ("global.cert='/etc/our own.pem'", {"SSL_CERT_FILE": "/etc/our own.pem"}),
    ("global.no-index='true'", {"UV_OFFLINE": "true"}),
    ("global.trusted-host='here'", {"UV_INSECURE_HOST": "here"}),
    ("global.progress-bar='off'\nwheel.find-links='/elsewhere'", {}),
])
def test_each_setting_has_its_name_in_uv(listing, expected):
  assert pip_settings.settings(listing, {}) == expected


def test_a_variable_overrides_a_command_and_a_command_all_commands():
  every = [":env:.index-url='https://variable'",
           "global.index-url='https://all'",
           "install.index-url='https://command'"]
  for lines, expected in [(every, "variable"), (every[1:], "command"),
                          (every[1:2], "all")]:
    found = pip_settings.settings("\n".join(lines), {})
    assert found == {"UV_DEFAULT_INDEX": f"https://{expected}"}


@pytest.mark.parametrize("name", ["UV_DEFAULT_INDEX", "UV_INDEX_URL"])
def test_what_uv_was_given_is_kept(name):
  listing = "global.index-url='https://here'"
  assert pip_settings.settings(listing, {name: "https://there"}) == {}


def test_a_shell_reads_what_it_prints():
  url = "https://user:it's $HOME@here/simple"
  environment = {name: value for name, value in os.environ.items()
                 if not name.startswith(("UV_", "PIP_"))}
  done = subprocess.run(
      ["sh", "-c", f'eval "$("{sys.executable}" .ci/pip_settings.py)"; '
       'printf %s "$UV_DEFAULT_INDEX"'],
      cwd=loading.ROOT, text=True, capture_output=True, check=True, timeout=600,
      env={**environment, "PIP_INDEX_URL": url})
  assert done.stdout == url
