"""The blocks of the pages that are marked ``run`` or ``file``, pasted in a home of namespaces."""

from pathlib import Path

import pytest

from tests import ROOT
from tests.docs.blocks import PAGES, blocks_of, read, scene_of
from tests.lab.doc_home import GUESTS, DocHome, Failed, output_fits

pytestmark = pytest.mark.lab


def runs_here(page: Path) -> bool:
    return any(block.mark == "run" for block in read(page))


@pytest.mark.parametrize(
    "page", [page for page in PAGES if runs_here(page)], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_blocks_of_a_page_end_as_it_says(namespaces: None, tmp_path: Path, page: Path) -> None:
    with DocHome(tmp_path, scene_of(page.read_text("utf-8"))) as home:
        for block in read(page):
            if block.mark in ("file", "run"):
                home.run(block)


@pytest.mark.parametrize("scene", ["router", "alongside"])
def test_a_port_that_a_page_opens_is_open_and_what_it_says_wrong_is_found(
    namespaces: None, tmp_path: Path, scene: str
) -> None:
    page = """
<!-- run: gateway -->
```console
# upnp-gw add tcp 8443 192.168.1.23:443 --ttl 1h
...
# upnp-gw list
...
m1 ... 8443 ... 192.168.1.23:443 ...
...
```
<!-- run: internet -->
```sh
curl -s --max-time 3 http://11.22.33.44:8443/ >/dev/null
```
<!-- file: /etc/upnp-gw/policy.toml -->
```toml
version = 1
default = "deny"
```
<!-- run: gateway -->
```sh
upnp-gw policy check /etc/upnp-gw/policy.toml
systemctl restart upnp-gw
upnp-gw status | grep /etc/upnp-gw/policy.toml
```
<!-- run: pc, exit 1 -->
```sh
upnp-gw request tcp 8080
```
<!-- run: gateway -->
```sh
upnp-gw delete tcp/8443
```
<!-- run: internet -->
```sh
! curl -s --max-time 1 http://11.22.33.44:8443/
```
<!-- run: gateway -->
```sh
upnp-gw list | grep 8443
```
"""
    *right, wrong = blocks_of(page)
    with DocHome(tmp_path, scene) as home:
        for block in right:
            home.run(block)
        with pytest.raises(Failed, match="ended with code 1:"):
            home.run(wrong)
    ours = Path("/etc/upnp-gw/config.toml")
    assert not ours.exists() or GUESTS.interface not in ours.read_text("utf-8")


@pytest.mark.parametrize(
    ("lines", "fits"),
    [
        (["a  b c", "d"], True),
        (["a b c"], False),
        (["a ... c", "..."], True),
        (["...", "d"], True),
        (["...", "a b", "d"], False),
        (["a b c", "...", "d"], True),
    ],
)
def test_output_is_compared_line_by_line(lines: list[str], fits: bool) -> None:
    assert output_fits("a  b c\nd\n", lines) is fits
