"""The built-in home policy, in force where the operator gave no policy file.

An ordinary policy: ``home.toml`` beside this module, read by the same loader and held to its own tests. It limits
an infected device and does not stop it; the README and ``upnp-gw status`` say so.
"""

from datetime import date
from functools import cache
from importlib.resources import files

from upnp_gw.gate.load import load_text
from upnp_gw.gate.schema import Policy

WHERE = "built-in home policy"
PROFILES = ("home", "ask", "locked")
"""Policies to start with: files beside this module, each with its tests."""


def profile_text(profile: str) -> str:
    """The TOML of a profile, with its comments."""
    return files("upnp_gw.gate").joinpath(f"{profile}.toml").read_text("utf-8")


def home_text() -> str:
    """The TOML of the home policy, with its comments."""
    return profile_text("home")


@cache
def home_policy() -> Policy:
    """The home policy. It has no review dates, so the day it is loaded on makes no difference."""
    return load_text(home_text(), WHERE, date.min).policy
