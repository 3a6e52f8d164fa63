"""The programs that people use, beside the sixteen clients: upnpc, natpmpc and IgdDevice, one after another."""

import subprocess
import sys
import threading
from collections import Counter

from tests.soak.household import Household
from upnp_gw.lab.topology import HOME

GATEWAY = str(HOME.network[1])
FIRST = 50000


class Programs(threading.Thread):
    """Each round a port is mapped and given back by each of them. What fails amid a fault is counted, not judged:
    what they leave behind is taken away by the operator's command."""

    def __init__(self, home: Household) -> None:
        super().__init__(name="programs", daemon=True)
        self.counts: Counter[str] = Counter()
        self._home = home
        self._over = threading.Event()
        self.round = threading.Lock()
        """Held while one of them maps and gives back: who takes it sees none of their mappings."""

    def close(self) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        number = 0
        while not self._over.wait(0.5):
            number = number % 1000 + 1
            for name in ("upnpc", "natpmpc", "IgdDevice"):
                with self.round:
                    done = all(self._runs(argv) for argv in self._commands(name, FIRST + number))
                self.counts[f"{name} {'done' if done else 'failed'}"] += 1

    def _commands(self, name: str, port: int) -> list[list[str]]:
        host, own = self._home.console, str(self._home.console.address)
        description = f"http://{GATEWAY}:5000/igd1.xml"
        if name == "upnpc":
            upnpc = ["upnpc", "-i", "-u", description]
            return [[*upnpc, "-a", own, str(port), str(port), "tcp", "600"], [*upnpc, "-d", str(port), "tcp"]]
        if name == "natpmpc":
            natpmpc = ["natpmpc", "-g", GATEWAY, "-a", str(port), str(port), "udp"]
            return [[*natpmpc, "600"], [*natpmpc, "0"]]
        point = [sys.executable, "-m", "upnp_gw.lab.control_point", "--location", description, own]
        assert host.address
        return [[*point, f"add:udp:{port}:{port}:600", f"delete:udp:{port}"]]

    def _runs(self, argv: list[str]) -> bool:
        try:
            return self._home.console.run(argv, check=False, timeout=30).returncode == 0
        except subprocess.TimeoutExpired:
            return False
