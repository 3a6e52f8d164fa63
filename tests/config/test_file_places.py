"""The places of a stopped gateway's state."""

from pathlib import Path

import pytest

from upnp_gw.config.file_places import read_places
from upnp_gw.config.settings import Config
from upnp_gw.model.errors import ConfigError

DEFAULT = Config(wan="", lan=())


def test_a_configuration_names_them(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text('[store]\nstate_dir = "state"\n[gate]\npolicy = "policy.toml"\n[daemon]\nuser = "x"\n')
    (tmp_path / "policy.toml").write_text("version = 1\n")
    for given, usual in ((file, tmp_path / "other"), (None, file)):
        places = read_places(given, usual, None)
        assert (places.state_dir, places.policy) == (tmp_path / "state", tmp_path / "policy.toml")
        assert (places.user, places.runtime_dir) == ("x", DEFAULT.runtime_dir)
        assert places.texts == {"config.toml": file.read_text(), "policy.toml": "version = 1\n"}


def test_without_one_they_are_the_defaults_and_the_option_overrides(tmp_path: Path) -> None:
    places = read_places(None, tmp_path / "missing", None)
    assert (places.state_dir, places.policy, places.texts["config.toml"]) == (DEFAULT.state_dir, None, "")
    file = tmp_path / "config.toml"
    file.write_text('[store]\nstate_dir = "/x"\n')
    assert read_places(file, file, tmp_path).state_dir == tmp_path
    assert read_places(None, file, tmp_path).texts["config.toml"] == "", "the state may be another gateway's"


def test_a_mistake_is_named_with_its_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.toml"):
        read_places(tmp_path / "missing.toml", tmp_path, None)
