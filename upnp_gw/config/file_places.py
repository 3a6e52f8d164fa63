"""The places that a configuration names, for commands that work on the state of a stopped gateway."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from upnp_gw.config.file import read_with_text
from upnp_gw.config.settings import Config, Settings
from upnp_gw.gate.load import read_text


@dataclass(frozen=True, slots=True)
class Places:
    """Directories and files of the gateway."""

    state_dir: Path
    runtime_dir: Path
    policy: Path | None
    """None: the built-in home policy."""
    user: str
    texts: Mapping[str, str]
    """``config.toml`` and ``policy.toml`` -> the text of the file; empty: there is none."""


def read_places(file: Path | None, usual: Path, state_dir: Path | None) -> Places:
    """``file``: the configuration; None: the ``usual`` one, if it exists. ``state_dir`` overrides it.

    Raises ConfigError.
    """
    settings: Settings = {}
    text = ""
    if file is not None or (state_dir is None and usual.exists()):
        settings, text = read_with_text(file or usual)
    if state_dir is not None:
        settings = {**settings, "state_dir": state_dir}
    config = Config(wan="", lan=(), **{name: settings[name] for name in _NAMES if name in settings})
    policy = read_text(config.policy) if config.policy is not None else ""
    return Places(
        config.state_dir,
        config.runtime_dir,
        config.policy,
        config.user,
        {"config.toml": text, "policy.toml": policy},
    )


_NAMES = ("state_dir", "runtime_dir", "policy", "user")
