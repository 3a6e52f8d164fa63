"""Exceptions. A refusal is a value (``request.Refused``), not an exception.

Bad bytes from the network raise ``WireError``, mistakes in the operator's files ``ConfigError``, failures of the
kernel ``FirewallError`` and of the disk ``StoreError``. Packages raise nothing else to each other.
"""


class GatewayError(Exception):
    """Base class of the exceptions of upnp-gw."""


class WireError(GatewayError):
    """Bytes from the network that are not a valid message. ``reason``: a short, fixed word for counters and
    logs."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ConfigError(GatewayError):
    """A mistake of the operator. The message names the file or option, the line if known, the key, and what would
    be accepted."""

    def __init__(self, where: str, key: str, problem: str, line: int | None = None, rule: str = "") -> None:
        """``rule``: the table of the key with its name, such as ``grant "console-games"``."""
        place = where if line is None else f"{where}:{line}"
        path = joined_path(rule, key) if rule else key
        super().__init__(f"{place}: {path}: {problem}" if path else f"{place}: {problem}")
        self.where = where
        self.key = key
        self.problem = problem
        self.line = line
        self.rule = rule


def joined_path(rule: str, key: str) -> str:
    """``grant "g": max_ttl`` for the key ``grant[0].max_ttl``; only the rule for the key ``grant[0]``."""
    inner = key.partition("].")[2]
    return f"{rule}: {inner}" if inner else rule


class FirewallError(GatewayError):
    """The kernel refused a transaction, or cannot be reached. Nothing of the transaction is in force."""


class StoreError(GatewayError):
    """The state directory cannot be read or written. Its files are unchanged."""
