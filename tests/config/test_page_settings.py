"""``[page]`` of the configuration, as ``upnp-gw page`` reads it."""

from dataclasses import fields
from ipaddress import ip_address
from pathlib import Path

import pytest

from upnp_gw.config.page_settings import OTHER_FIELDS, PageSettings, load_page
from upnp_gw.config.settings import Config
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint


def written(directory: Path, text: str) -> Path:
    path = directory / "gw.toml"
    path.write_text(text, "utf-8")
    return path


def test_without_a_file_it_is_the_defaults_of_the_configuration() -> None:
    settings, config = load_page(None, {}), Config("wan", ("lan",))
    renamed = {here: name for name, here in OTHER_FIELDS.items()}
    for field in fields(PageSettings):
        assert getattr(settings, field.name) == getattr(config, renamed.get(field.name, f"page_{field.name}"))
    assert not settings.tls


def test_the_file_and_then_the_options(tmp_path: Path) -> None:
    text = '[page]\nlisten = "[fd00::1]:6000"\nnames = ["Router.lan"]\nstate_dir = "s"\n[log]\nformat = "json"'
    settings = load_page(written(tmp_path, text), {"control_dir": Path("/c"), "runtime_dir": None})
    assert settings == PageSettings(
        listen=Endpoint(ip_address("fd00::1"), 6000),
        names=("router.lan",),
        state_dir=tmp_path / "s",
        control_dir=Path("/c"),
        log_format="json",
    )
    assert settings.tls, "others on the LAN could read the cookies"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ('listen = "0.0.0.0:5081"', "page.listen", "one address, not all of them"),
        ('listen = "127.0.0.1:80"', "page.listen", "a TCP port from 1024 up"),
        ('listen = "router.lan:5081"', "page.listen", "an IP address of this machine"),
        ('names = ["10.0.0.1"]', "page.names[0]", "a host name"),
        ('names = ["a b"]', "page.names[0]", "a host name"),
        ('lan = "yes"', "page.lan", '"off", "own", "all"'),
        ('certificate = "a.crt"', "page.key", "given together or not at all"),
        ('key = "a.key"', "page.certificate", "given together or not at all"),
        ('plain = true\ncertificate = "a"\nkey = "b"', "page.plain", "one of the two"),
        ("port = 5081", "page.port", "the port of listen"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_page(written(tmp_path, f"[page]\n{text}\n"), {})
    assert error.value.key == key
    assert problem in str(error.value)
    assert "gw.toml:" in str(error.value), "with its line"
