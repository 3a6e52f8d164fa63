"""Tokens for scripts: what is kept of them, and when they are good."""

from pathlib import Path

import pytest

from upnp_gw.page import tokens
from upnp_gw.page.tokens import TokenProblem, Tokens
from upnp_gw.system.files import FileProblem

NOW = 1_800_000_000.0


def test_a_token_is_good_until_it_ends_or_is_revoked_also_after_a_restart(tmp_path: Path) -> None:
    kept = Tokens(tmp_path)
    reads = kept.create("grafana", acts=False, for_s=None, now=NOW)
    acts = kept.create("lights", acts=True, for_s=3600, now=NOW)
    again = Tokens(tmp_path)
    assert [(token.name, token.acts) for token in again.all()] == [("grafana", False), ("lights", True)]
    found = again.check(acts, NOW + 3599)
    assert found is not None
    assert found.acts
    assert again.check(acts, NOW + 3600) is None
    assert again.check("upnp-gw-other", NOW) is None
    assert again.check("", NOW) is None
    again.revoke("grafana")
    assert again.check(reads, NOW) is None
    assert Tokens(tmp_path).check(reads, NOW) is None
    with pytest.raises(TokenProblem, match="there is no token grafana"):
        again.revoke("grafana")


def test_the_file_is_its_owners_and_has_no_secret(tmp_path: Path) -> None:
    secret = Tokens(tmp_path).create("grafana", acts=False, for_s=None, now=NOW)
    file = tmp_path / "tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert secret.removeprefix(tokens.BEGIN) not in file.read_text()


def test_a_name_is_given_once_and_tokens_are_bounded(tmp_path: Path) -> None:
    kept = Tokens(tmp_path)
    kept.create("a", acts=False, for_s=60, now=NOW)
    with pytest.raises(TokenProblem, match="revoke it first"):
        kept.create("a", acts=True, for_s=None, now=NOW)
    assert kept.create("a", acts=True, for_s=None, now=NOW + 60), "the name of an ended token is free"
    for number in range(tokens.MOST - 1):
        kept.create(f"t{number}", acts=False, for_s=None, now=NOW)
    with pytest.raises(TokenProblem, match="revoke one first"):
        kept.create("z", acts=False, for_s=None, now=NOW)


def test_a_file_that_is_no_list_of_tokens_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{")
    with pytest.raises(FileProblem, match="is not a list of tokens"):
        Tokens(tmp_path)
