"""The error of this package."""

from upnp_gw.model.errors import GatewayError


class BackupProblem(GatewayError):
    """A backup cannot be made, read or restored. The text is a sentence for the operator."""
