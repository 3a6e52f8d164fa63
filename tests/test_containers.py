"""The examples of containers give no right that docs/containers.md does not name."""

import re
import tomllib
from typing import Any

import pytest
import yaml

from tests import ROOT
from upnp_gw.system.process import HEAP_VARIABLES

CONTAINERFILE = (ROOT / "packaging" / "container" / "Containerfile").read_text("utf-8")
PAGE = (ROOT / "docs" / "containers.md").read_text("utf-8")


def service(file: str, name: str) -> dict[str, Any]:
    text = (ROOT / "examples" / "containers" / file).read_text("utf-8")
    found: dict[str, Any] = yaml.safe_load(text)["services"][name]
    return found


@pytest.mark.parametrize(
    ("file", "name", "added"), [("router.yml", "upnp-gw", {"NET_ADMIN", "NET_RAW"}), ("emulator.yml", "igd", set())]
)
def test_an_example_has_no_other_right(file: str, name: str, added: set[str]) -> None:
    found = service(file, name)
    assert (found["read_only"], found["cap_drop"]) == (True, ["ALL"])
    assert set(found.get("cap_add", ())) == added
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in found
    assert not [
        word for word in map(str, found.get("volumes", ())) if "docker.sock" in word or word.startswith("/:")
    ]
    target = found["build"]["target"]
    assert re.search(rf"^FROM runtime AS {target}$", CONTAINERFILE, re.M)
    assert (ROOT / "examples" / "containers" / found["build"]["context"]).resolve() == ROOT


def test_only_the_loopback_of_the_host_gets_a_published_port() -> None:
    assert all(port.startswith("127.0.0.1:") for port in service("emulator.yml", "igd")["ports"])


def test_the_image_has_no_package_that_only_builds_it() -> None:
    """Every direct requirement stays in it."""
    (removed,) = re.findall(r"pip uninstall -q -y (hatchling[^&]*)", CONTAINERFILE)
    names = set(removed.replace("\\", "").split())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    needed = {re.split(r"[<>=; ]", line)[0] for line in project["project"]["dependencies"]}
    assert {re.split(r"[<>=; ]", line)[0] for line in project["build-system"]["requires"]} <= names
    assert not names & needed


def test_the_daemon_has_the_environment_that_the_lab_gives_to_it() -> None:
    router = CONTAINERFILE.partition("FROM runtime AS router")[2]
    assert re.findall(r"^ENV (.*)$", router, re.M) == [f"{name}={value}" for name, value in HEAP_VARIABLES.items()]


def test_the_page_names_what_was_not_tried() -> None:
    assert re.search(r"^Not run: .*Docker.*published ports", PAGE, re.M)
