"""Exceptions. A refusal is a value (``request.Refused``), never an exception: these are faults.

A fault of the peer's bytes is a ``WireError``, of the operator's files a ``ConfigError``, of the kernel a
``FirewallError``, of the disk a ``StoreError``. Nothing else is raised across a package's border on purpose.
"""


class GatewayError(Exception):
    """Root of the faults that upnp-gw raises on purpose."""


class WireError(GatewayError):
    """Bytes from the network that are no message. ``reason`` is a short, fixed word for counters and logs."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.detail = detail


class ConfigError(GatewayError):
    """An operator's mistake: names the file (or option), the line where it is known, the key and what would be
    accepted."""

    def __init__(self, where: str, key: str, problem: str, line: int | None = None, rule: str = "") -> None:
        """``rule``: what people call the table of the key, such as ``grant "console-games"``."""
        place = where if line is None else f"{where}:{line}"
        path = joined_path(rule, key) if rule else key
        super().__init__(f"{place}: {path}: {problem}" if path else f"{place}: {problem}")
        self.where = where
        self.key = key
        self.problem = problem
        self.line = line
        self.rule = rule


def joined_path(rule: str, key: str) -> str:
    """``grant "g": max_ttl`` of the key ``grant[0].max_ttl``; the rule alone where the key is the rule itself."""
    inner = key.partition("].")[2]
    return f"{rule}: {inner}" if inner else rule


class FirewallError(GatewayError):
    """The kernel refused, or could not be asked. Nothing of the transaction is in force."""


class StoreError(GatewayError):
    """The state directory cannot be read or written. The file is kept as it is."""
