"""The settings of ``upnp-gw page``: those of ``[page]``, and where the daemon's socket is."""

from dataclasses import dataclass
from pathlib import Path

from upnp_gw.config.file import read_with_text
from upnp_gw.config.notify_tables import NotifyTarget
from upnp_gw.config.settings import PAGE_LISTEN, Settings
from upnp_gw.model.errors import ConfigError
from upnp_gw.model.mapping import Endpoint
from upnp_gw.text.toml import locate_errors


@dataclass(frozen=True, slots=True)
class PageSettings:
    """All settings of the page. Their meanings: ``settings.Config``, with ``page_`` before the name."""

    lan: str = "own"
    port: int = 5080
    listen: Endpoint = PAGE_LISTEN
    names: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    plain: bool = False
    runtime_dir: Path = Path("/run/upnp-gw-page")
    state_dir: Path = Path("/var/lib/upnp-gw-page")
    metrics_listen: Endpoint | None = None
    metrics_devices: int = 50
    notify: tuple[NotifyTarget, ...] = ()
    control_dir: Path = Path("/run/upnp-gw")
    """The daemon's runtime directory."""
    log_format: str = "text"
    log_level: str = "info"

    @property
    def tls(self) -> bool:
        """The operator's page is served over TLS: its address is not the loopback's, or a certificate is given."""
        return not self.plain and (self.certificate is not None or not self.listen.address.is_loopback)


OTHER_FIELDS = {"runtime_dir": "control_dir", "log_format": "log_format", "log_level": "log_level"}
"""Field of ``Config`` that is not of ``[page]`` -> field here."""


def load_page(path: Path | None, options: Settings) -> PageSettings:
    """The settings of a file; ``options``, by field, come first. Raises ConfigError."""
    given, text = ({}, "") if path is None else read_with_text(path)
    values = {name.removeprefix("page_"): value for name, value in given.items() if name.startswith("page_")}
    values |= {here: given[name] for name, here in OTHER_FIELDS.items() if name in given}
    settings = PageSettings(**values | {name: value for name, value in options.items() if value is not None})
    with locate_errors(text, str(path)):
        _check(settings, "command line" if path is None else str(path))
    return settings


def _check(settings: PageSettings, where: str) -> None:
    if (settings.certificate is None) != (settings.key is None):
        missing = "key" if settings.key is None else "certificate"
        raise ConfigError(where, f"page.{missing}", "missing; certificate and key are given together or not at all")
    if settings.plain and settings.certificate is not None:
        raise ConfigError(where, "page.plain", "got true, but there is a certificate; accepted: one of the two")
    if settings.port == settings.listen.port:
        raise ConfigError(
            where, "page.port", f"got {settings.port}, which is the port of listen; accepted: another one"
        )
    if settings.metrics_listen is not None and settings.metrics_listen == settings.listen:
        raise ConfigError(
            where, "metrics.listen", f"got {settings.listen}, which is listen of [page]; accepted: another one"
        )
