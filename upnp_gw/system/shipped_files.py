"""Files of ``examples/`` that the program reads and installs: units, configurations, policies.

They lie in ``examples/`` at the top of a checkout and in ``upnp_gw/examples`` of an installed wheel.
"""

from functools import cache
from pathlib import Path

import upnp_gw


@cache
def shipped_directory() -> Path:
    """The directory of the files, in the wheel or in the checkout."""
    package = Path(upnp_gw.__file__).parent
    installed = package / "examples"
    return installed if installed.is_dir() else package.parent / "examples"


def shipped_text(name: str) -> str:
    """The text of a file, such as ``systemd/upnp-gw.service``. Raises OSError if there is none."""
    return (shipped_directory() / name).read_text("utf-8")
