"""One host of a lab: a network namespace, and the thread in it that starts the processes of the host.

The namespace has no name. It exists as long as a thread, a process or a file descriptor of ours uses it. However
this process ends, the kernel removes the namespace with its interfaces, rules and connections.
"""

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from upnp_gw.lab.machine import Machine
from upnp_gw.lab.privilege import CLONE_NEWNET, CLONE_NEWNS, MS_PRIVATE, MS_REC, mount, setns, unshare

SYSCTLS = {
    # addresses are usable at once, and a host gets only those of the topology
    "net/ipv6/conf/all/accept_dad": "0",
    "net/ipv6/conf/default/accept_dad": "0",
    "net/ipv6/conf/default/accept_ra": "0",
    "net/ipv6/conf/default/router_solicitations": "0",
}


class Host(Machine):
    """A host by its name; ``address``, ``address6``, ``ula`` and ``mac`` are those of its first interface.

    ``call`` runs in its namespace, with its /sys.
    """

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.interface = ""
        self.mac = ""
        self._address: IPv4Address | None = None
        self._address6: IPv6Address | None = None
        self._ula: IPv6Address | None = None
        try:
            self._fd = self._thread.submit(_new_namespace).result()
        except BaseException:
            self._thread.shutdown()
            raise

    def __repr__(self) -> str:
        return f"<Host {self.name} {self._address or ''}>"

    @property
    def address(self) -> IPv4Address:
        assert self._address is not None, f"{self.name} has no IPv4 address"
        return self._address

    @property
    def address6(self) -> IPv6Address:
        """The global IPv6 address."""
        assert self._address6 is not None, f"{self.name} has no IPv6 address"
        return self._address6

    @property
    def ula(self) -> IPv6Address:
        """The unique local IPv6 address (LAN hosts and the gateway)."""
        assert self._ula is not None, f"{self.name} has no unique local address"
        return self._ula

    @property
    def descriptor(self) -> int:
        """The open namespace, for ``ip link ... netns /proc/self/fd/N`` of a child that inherits it."""
        return self._fd

    def configure(
        self, interface: str, mac: str, address: IPv4Address, address6: IPv6Address, ula: IPv6Address | None
    ) -> None:
        """Notes the addresses of the first interface; the lab has set them."""
        self.interface, self.mac = interface, mac
        self._address, self._address6, self._ula = address, address6, ula

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Moves the calling thread into the namespace, and back at the end. Sockets made inside stay there.

        Only for sockets and /proc: /sys still shows the other namespace. Do not await inside.
        """
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            setns(self._fd, CLONE_NEWNET)
            try:
                yield
            finally:
                setns(home, CLONE_NEWNET)
        finally:
            os.close(home)

    def ip(self, *commands: str, pass_fds: Sequence[int] = ()) -> None:
        """Runs a batch of ip(8) commands: ``host.ip("link set eth0 down")``. Raises if one fails."""
        self.run(["ip", "-batch", "-"], text="\n".join(commands) + "\n", pass_fds=pass_fds)

    def nft(self, script: str) -> None:
        """Loads an nftables script in the host."""
        self.run(["nft", "-f", "-"], text=script)

    def sysctl(self, key: str, value: str | None = None) -> str:
        """Reads a sysctl, or sets it with ``value``. ``key``: a path like ``net/ipv4/ip_forward``."""

        def access() -> str:
            path = Path("/proc/sys") / key
            if value is not None:
                path.write_text(value)
            return path.read_text().strip()

        return self.call(access)

    def close(self) -> None:
        """Ends every process, newest first, and closes the namespace. May be called again."""
        super().close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _new_namespace() -> int:
    """Moves the calling thread into new network and mount namespaces. Returns a descriptor of the network one."""
    unshare(CLONE_NEWNET | CLONE_NEWNS)
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    with suppress(OSError):  # a container may forbid it; then only /sys shows the wrong interfaces
        mount("sysfs", "/sys", "sysfs", 0)
    for key, value in SYSCTLS.items():
        with suppress(FileNotFoundError):  # a kernel without IPv6
            Path("/proc/sys", key).write_text(value)
    return os.open(f"/proc/self/task/{threading.get_native_id()}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
