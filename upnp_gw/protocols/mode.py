"""The modes in which NAT-PMP and PCP are served (RFC 6886 section 5, RFC 6887 section 11)."""

from enum import StrEnum


class ServiceMode(StrEnum):
    """ON: served. REFUSE: answers that the user has disabled it. OFF: does not answer."""

    ON = "on"
    REFUSE = "refuse"
    OFF = "off"
