"""The lock of the state directory: one process at a time writes to its files."""

import fcntl
import os
from pathlib import Path

from upnp_gw.model.errors import ConfigError
from upnp_gw.system.files import open_directory


class StateLock:
    """Held until ``release``, or the end of the process."""

    def __init__(self, directory: Path) -> None:
        """Raises ConfigError if another process holds it, or the directory cannot be opened."""
        try:
            self._descriptor = open_directory(directory)
        except OSError as error:
            raise ConfigError("state_dir", str(directory), f"cannot be opened: {error.strerror}") from None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._descriptor)
            problem = "another upnp-gw uses this directory: stop it, or name another one with --state-dir"
            raise ConfigError("state_dir", str(directory), problem) from None

    def release(self) -> None:
        os.close(self._descriptor)
