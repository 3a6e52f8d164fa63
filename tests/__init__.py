"""Tests of upnp-gw."""

from pathlib import Path

ROOT = Path(__file__).parent.parent
"""The root of the checkout."""
