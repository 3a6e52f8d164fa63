"""Policies with address lists in files beside them."""

import os
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.fixtures.policies import TODAY
from upnp_gw.gate.list_files import ListFiles
from upnp_gw.gate.load import load_file, load_text
from upnp_gw.gate.schema import Policy
from upnp_gw.model.errors import ConfigError

POLICY = """version = 1
[set.office]
file = "office.txt"
max_age = "7d"

[[grant]]
name = "web"
who = "*"
remote = ["@office"]
"""


def written(folder: Path, text: str = "203.0.113.0/24\n", policy: str = POLICY) -> Path:
    (folder / "office.txt").write_text(text)
    file = folder / "policy.toml"
    file.write_text(policy)
    return file


def loaded(file: Path) -> Policy:
    return load_file(file, TODAY).policy


def test_a_list_is_found_beside_the_policy(tmp_path: Path) -> None:
    policy = loaded(written(tmp_path))
    office = policy.sets["office"]
    assert (office.file, office.entries, office.max_age_s) == (str(tmp_path / "office.txt"), 1, 7 * 86400)
    assert office.as_of == pytest.approx((tmp_path / "office.txt").stat().st_mtime)
    remote = policy.grants[0].remote
    assert remote is not None
    assert remote.has(ip_address("203.0.113.9"))


def test_a_name_that_ends_with_json_is_a_json_list(tmp_path: Path) -> None:
    file = written(tmp_path, '["203.0.113.0/24"]', POLICY.replace("office.txt", "office.json"))
    (tmp_path / "office.txt").rename(tmp_path / "office.json")
    assert loaded(file).sets["office"].entries == 1


@pytest.mark.parametrize(
    ("policy", "text", "message"),
    [
        (
            POLICY,
            "1.2.3\n",
            r'policy.toml:3: set.office.file: got "office.txt": .*office.txt:1: it has "1.2.3"; accepted: an',
        ),
        (
            POLICY.replace("office.txt", "none.txt"),
            "",
            r"none.txt: cannot be read: No such file or directory; accepted: the name",
        ),
        (
            POLICY.replace('"7d"', '"soon"'),
            "",
            r"policy.toml:4: set.office.max_age: got \"soon\"; accepted: a number",
        ),
        (
            POLICY.replace('"@office"', '"@home"'),
            "",
            r"grant \"web\": remote\[0\]: got \"@home\"; accepted: a set of",
        ),
        (POLICY.replace("max_age", "format"), "", r'set.office.format: got "7d"; accepted: "plain" or "json"'),
        (
            POLICY.replace("file =", "files ="),
            "",
            r"set.office.files: unknown key; did you mean file\? accepted: file, format, max_age",
        ),
        (POLICY.replace('file = "office.txt"', ""), "", r'set.office.file: missing; write file = "office.txt"'),
        (POLICY.replace('["@office"]', "{ only = [] }"), "", r"remote.only: empty; leave it out"),
        (POLICY.replace('["@office"]', "{}"), "", r"remote: empty; leave it out for anyone"),
        (POLICY.replace('["@office"]', '{ not = ["@office"] }'), "", r"unknown key; accepted: only, never"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, policy: str, text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        loaded(written(tmp_path, text, policy))


def test_a_list_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    (tmp_path / "office.txt").chmod(0o666)
    with pytest.raises(ConfigError, match=r"office.txt: .*writ"):
        loaded(file)


def test_a_policy_without_a_file_has_no_lists() -> None:
    with pytest.raises(ConfigError, match="no address list can be read here"):
        load_text(POLICY, "text", TODAY)


def test_the_digest_is_over_the_addresses_and_not_over_the_comments(tmp_path: Path) -> None:
    first = loaded(written(tmp_path)).digest
    assert loaded(written(tmp_path, "203.0.113.128/25 # high\n203.0.113.0/25\n")).digest == first
    assert loaded(written(tmp_path, "203.0.112.0/24\n")).digest != first


def test_a_change_counts_when_nobody_is_writing_any_more(tmp_path: Path) -> None:
    file = tmp_path / "office.txt"
    file.write_text("203.0.113.0/24\n")
    lists = ListFiles(tmp_path)
    lists.read("office.txt")
    assert [lists.settled_change() for _ in range(3)] == [False, False, False]
    file.write_text("203.0.112.0/24\n203.0")
    assert not lists.settled_change()
    file.write_text("203.0.112.0/24\n203.0.110.0/24\n")
    assert not lists.settled_change()
    assert lists.settled_change()
    assert not lists.settled_change()
    os.replace(file, tmp_path / "moved")
    assert [lists.settled_change() for _ in range(3)] == [False, True, False]
    lists.forget()
    file.write_text("")
    assert [lists.settled_change() for _ in range(3)] == [False, False, False]


def test_the_same_content_is_parsed_once(tmp_path: Path) -> None:
    (tmp_path / "office.txt").write_text("203.0.113.0/24\n")
    lists = ListFiles(tmp_path)
    policies = [load_text(POLICY, "p", TODAY, lists).policy for _ in range(2)]
    assert policies[0].sets["office"].ranges is policies[1].sets["office"].ranges
