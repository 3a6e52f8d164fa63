"""One process at a time has the state directory."""

from pathlib import Path

import pytest

from upnp_gw.model.errors import ConfigError
from upnp_gw.system.state_lock import StateLock


def test_a_second_holder_is_refused_until_the_first_lets_go(tmp_path: Path) -> None:
    first = StateLock(tmp_path)
    with pytest.raises(ConfigError, match="another upnp-gw uses this directory"):
        StateLock(tmp_path)
    first.release()
    StateLock(tmp_path).release()


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        StateLock(tmp_path / "missing")
