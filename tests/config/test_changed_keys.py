"""The keys that a restart would bring into force, with file, line and key."""

from pathlib import Path

import pytest

from upnp_gw.config.changed_keys import waiting_keys
from upnp_gw.config.settings import Config

BEFORE = '[lan]\ninterfaces = ["lan0"]\n[upstream]\nwhen = "never"\nlease = 600\n[[notify]]\nurl = "https://a.example/"\n'
RESTART = "it counts after a restart: systemctl restart upnp-gw"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "config.toml"
    path.write_text(BEFORE)
    return path


def started(file: Path) -> Config:
    """The configuration of a daemon that was started with ``BEFORE``."""
    return Config("wan0", ("lan0",), text=BEFORE, file=file)


@pytest.mark.parametrize(
    ("old", "new", "sentences"),
    [
        ("", "", []),
        ("[upstream]", "# a comment\n[upstream]", []),
        ('"never"', '"private"', [f":4: upstream.when: has changed; {RESTART}"]),
        ("lease = 600\n", "", [f": upstream.lease: is not there any more; {RESTART}"]),
        ("lease = 600\n", "lease = 600\ntimeout = 5\n", [f":6: upstream.timeout: has changed; {RESTART}"]),
        ("a.example", "b.example", [f":7: notify[0].url: has changed; {RESTART}-page"]),
        ('["lan0"]', '["lan0", "lan1"]', [f":2: lan.interfaces: has changed; {RESTART}"]),
    ],
)
def test_each_key_that_changed_is_named(file: Path, old: str, new: str, sentences: list[str]) -> None:
    file.write_text(BEFORE.replace(old, new))
    assert waiting_keys(started(file)) == [f"{file}{sentence}" for sentence in sentences]


@pytest.mark.parametrize(
    "wrong",
    ['[upstream]\nwhen = "sometimes"\n', "[upstream\n", '[lan]\ninterfaces = ["wan0"]\n', "[upstream]\nfoo = 1\n"],
)
def test_a_file_that_would_not_be_accepted_is_one_sentence(file: Path, wrong: str) -> None:
    file.write_text(wrong)
    (sentence,) = waiting_keys(started(file))
    assert sentence.startswith(f"{file}:")
    assert sentence.endswith("; the next start would end with this")


def test_a_secret_is_not_shown(file: Path) -> None:
    file.write_text(BEFORE + 'secret = "hidden"\n')
    (sentence,) = waiting_keys(started(file))
    assert "notify[0].secret" in sentence
    assert "hidden" not in sentence


def test_a_file_that_cannot_be_read_says_nothing(file: Path) -> None:
    file.unlink()
    assert waiting_keys(started(file)) == []
