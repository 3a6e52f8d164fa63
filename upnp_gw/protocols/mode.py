"""Whether NAT-PMP or PCP is served (RFC 6886 section 5, RFC 6887 section 11)."""

from enum import StrEnum


class ServiceMode(StrEnum):
    """ON; REFUSE: answers, but maps nothing (the user switched it off); OFF: as if it were not there."""

    ON = "on"
    REFUSE = "refuse"
    OFF = "off"
