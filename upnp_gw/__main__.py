"""``python -m upnp_gw``."""

from upnp_gw.cli import main

main(prog_name="upnp-gw")
