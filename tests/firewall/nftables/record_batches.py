"""Records what libnftables sends for the cases of ``sent_batches``, into ``recorded_batches.json``."""

import json

from tests.firewall.nftables.test_element_messages import RECORDED, sent_by_libnftables
from tests.fixtures.sent_batches import CASES
from upnp_gw.firewall.base import FirewallMode
from upnp_gw.lab import Host, acquire


def main() -> None:
    acquire()
    recorded = {}
    for name in CASES:
        host = Host("bare")
        try:
            batches = sent_by_libnftables(host, name, FirewallMode.ROUTER)
        finally:
            host.close()
        recorded[name] = [batch.hex() for batch in batches]
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")


if __name__ == "__main__":
    main()
