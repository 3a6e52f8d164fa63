"""The home in which the blocks of a page run: a gateway with its files in /etc, hosts, an internet.

    internet 11.50.1.10 --- eth0 11.22.33.44 [gateway] br-lan 192.168.1.1 --- ps5 192.168.1.10, pc 192.168.1.23
                                                       br-guest 192.168.20.1 --- guest 192.168.20.10

The gateway has a /etc, a /run, a /var/lib and a /root of its own, which end with it, so blocks are pasted as they
stand. The service runs from the beginning, with /etc/upnp-gw/config.toml and policy.toml (the profile ``home``), as
after the quick start. A web server listens on TCP 443 and 8080 of the pc.

``systemctl`` starts and stops the daemon of the lab, and the page: systemd itself runs in tests/fresh.sh.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from types import TracebackType
from typing import Self

from tests import ROOT
from tests.docs.blocks import Block, script, session
from tests.fixtures.waiting import EVENT_S
from upnp_gw.gate.builtin import profile_text
from upnp_gw.lab import Host, Lab, Lan, LanHost, Topology
from upnp_gw.lab.daemon import DaemonFailed, LabDaemon
from upnp_gw.lab.machine import Machine
from upnp_gw.lab.privilege import TOOL_PATH

BLOCK_S = 60.0
"""The longest time of a block, seconds."""
HOSTS = Lan(
    "br-lan",
    IPv4Network("192.168.1.0/24"),
    IPv6Network("2a11:2233:0:1::/64"),
    IPv6Network("fd77:7777:7777:1::/64"),
    (LanHost("ps5", 10, "ac:89:95:00:00:01"), LanHost("pc", 23, "3c:7c:3f:00:00:02")),
)
GUESTS = Lan(
    "br-guest",
    IPv4Network("192.168.20.0/24"),
    IPv6Network("2a11:2233:0:20::/64"),
    IPv6Network("fd77:7777:7777:20::/64"),
    (LanHost("guest", 10, "02:00:00:00:00:66"),),
)
CONFIG = """[lan]
interfaces = ["br-lan", "br-guest"]

[wan]
interface = "eth0"

[firewall]
mode = "{mode}"
"""
POLICY = """
[gate]
policy = "/etc/upnp-gw/policy.toml"
"""
MASQUERADE = """
table ip nat {
    chain postrouting {
        type nat hook postrouting priority srcnat;
        oifname "eth0" masquerade
    }
}
"""
SCENES: Mapping[str, tuple[str, bool]] = {
    "router": ("router", True),
    "alongside": ("alongside", True),
    "no-policy": ("router", False),
}
"""Name of a page's scene -> mode of the firewall, and whether there is a policy file. In mode alongside nftables
masquerades, and filters nothing."""

SYSTEMCTL = """#!{python} -SE
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect(os.environ["DOC_HOME_SOCKET"])
    sock.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    answer = json.loads(sock.makefile().read())
print(answer["text"], end="")
sys.exit(answer["code"])
"""


class Failed(Exception):
    """A block did not end as its page says."""


class DocDaemon(LabDaemon):
    """The service: reads /etc/upnp-gw/config.toml at each start."""

    def __init__(self, host: Machine, directory: Path) -> None:
        super().__init__(host, directory, "--config", "/etc/upnp-gw/config.toml")


class DocHome:
    """``with DocHome(tmp_path, "router") as home: home.run(block)``"""

    def __init__(self, directory: Path, scene: str) -> None:
        self._directory = directory
        self._mode, self._policy = SCENES[scene]
        self._lab = Lab(Topology(lans=(HOSTS, GUESTS), peers=("internet-host",), wan="eth0"))
        self._left: list[subprocess.Popen[str]] = []
        self._count = 0

    def __enter__(self) -> Self:
        self._lab.__enter__()
        try:
            self._prepare()
            self.daemon.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Ends everything that the blocks started."""
        for process in self._left:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        with suppress(AttributeError):
            self._service.close()
        with suppress(AttributeError, DaemonFailed):
            self.daemon.stop()
        self._lab.close()

    def host(self, place: str) -> Host:
        return self._lab.hosts[{"internet": "internet-host"}.get(place, place)]

    def run(self, block: Block) -> None:
        """Pastes a block, or writes it where its mark says. Raises Failed."""
        if block.given is not None:
            place, first = block.given
            self.run(Block(block.page, block.line, "sh", f"{first}\n", "run", place))
        if block.mark == "file":
            self._write(block.value, block.text)
        elif block.kind == "console" and any(lines for _, lines in session(block)):
            *before, last = session(block)
            for command, lines in before:
                self._step(block, command, 0, lines)
            self._step(block, last[0], block.exit_code, last[1])
        else:
            self._step(block, script(block), block.exit_code, [])

    def _step(self, block: Block, command: str, wanted: int, lines: list[str]) -> None:
        code, output = self._paste(block, command)
        if code != wanted:
            raise Failed(f"{block.where}: {command}\nended with code {code}:\n{output}\n{self.daemon.last_words()}")
        if lines and not output_fits(output, lines):
            shown = "\n".join(lines)
            raise Failed(f"{block.where}: {command}\nthe page says:\n{shown}\nthe command says:\n{output}")

    def _paste(self, block: Block, text: str) -> tuple[int, str]:
        """(exit code, output) of a script in bash, which ends at the first command that fails."""
        self._count += 1
        output = self._directory / f"output-{self._count}"
        with output.open("w") as file:
            process = self.host(block.place).popen(
                ["env", f"PATH={self._path}", "bash", "-euo", "pipefail", "-c", text],
                stdout=file,
                env=self._environment,
                cwd=ROOT,
                own_session=True,
            )
        self._left.append(process)
        if block.stays:
            _await_output(output, process)
            return block.exit_code, output.read_text("utf-8", "replace")
        try:
            code = process.wait(BLOCK_S)
        except subprocess.TimeoutExpired:
            raise Failed(f"{block.where} did not end:\n{output.read_text('utf-8', 'replace')}") from None
        return code, output.read_text("utf-8", "replace")

    def _prepare(self) -> None:
        gateway, directory = self._lab.gateway, self._directory
        programs = directory / "bin"
        programs.mkdir()
        _program(programs / "upnp-gw", f'#!/bin/sh\nexec "{sys.executable}" -m upnp_gw "$@"\n')
        _program(programs / "systemctl", SYSTEMCTL.format(python=sys.executable))
        self.daemon = DocDaemon(gateway, directory)
        self._service = Service({"upnp-gw": self.daemon}, directory / "systemctl.sock")
        self._path = f"{programs}:{Path(sys.executable).parent}:{TOOL_PATH}"
        self._environment = {
            "PYTHONPATH": str(ROOT),
            "DOC_HOME_SOCKET": str(self._service.path),
            "EDITOR": "true",
            "HOME": str(directory),
            "COLUMNS": "100",
            "NO_COLOR": "1",
        }
        self._own_files(gateway)
        config = CONFIG.format(mode=self._mode)
        self._write("/etc/upnp-gw/config.toml", config + (POLICY if self._policy else ""))
        if self._policy:
            self._write("/etc/upnp-gw/policy.toml", profile_text("home"))
        if self._mode == "alongside":
            gateway.nft(MASQUERADE)
            gateway.sysctl("net/ipv4/ip_forward", "1")
            gateway.sysctl("net/ipv6/conf/all/forwarding", "1")
        for port in ("443", "8080"):
            self.host("pc").popen(
                [sys.executable, "-m", "http.server", port], cwd=programs, stdout=subprocess.DEVNULL
            )

    def _own_files(self, gateway: Host) -> None:
        """A copy of /etc, an empty /run, /var/lib and /root: only processes of the gateway see them."""
        copy = self._directory / "etc"
        shutil.copytree("/etc", copy, symlinks=True, ignore=_unreadable, dirs_exist_ok=True)
        shutil.rmtree(copy / "upnp-gw", ignore_errors=True)
        links = (("state", "/var/lib/upnp-gw"), ("run", "/run/upnp-gw"))
        gateway.run(["mount", "--bind", copy, "/etc"])
        gateway.run(["mount", "-t", "tmpfs", "tmpfs", "/run"])
        gateway.run(["mount", "-t", "tmpfs", "tmpfs", "/var/lib"])
        in_use = (ROOT, Path(sys.prefix), Path(sys.base_prefix), self._directory)
        if not any(path.is_relative_to("/root") for path in in_use):
            gateway.run(["mount", "-t", "tmpfs", "tmpfs", "/root"])
        for name, place in links:
            gateway.run(["ln", "-s", self._directory / name, place])

    def _write(self, path: str, text: str) -> None:
        """Writes a file of the gateway. Its parent is made."""

        def write() -> None:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            Path(path).write_text(text, "utf-8")

        self._lab.gateway.call(write)


class Service:
    """The other end of ``systemctl``: start, stop, restart, reload, is-active, and commands about units' files."""

    def __init__(self, units: Mapping[str, LabDaemon], path: Path) -> None:
        self.path = path
        self._units = units
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.bind(str(path))
        self._socket.listen()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection, connection.makefile("r") as lines:
                code, text = self._answer(json.loads(lines.readline()))
                connection.sendall(json.dumps({"code": code, "text": text}).encode())

    def _answer(self, words: list[str]) -> tuple[int, str]:
        verb, *rest = [word for word in words if not word.startswith("-")]
        if verb == "daemon-reload":
            return 0, ""
        (name,) = rest
        daemon = self._units.get(name.removesuffix(".service"))
        if daemon is None:
            return 5, f"the home of the documentation has no unit {name}\n"
        if verb == "is-active":
            return (0, "active\n") if daemon.running else (3, "inactive\n")
        if verb in ("enable", "disable") and "--now" not in words:
            return 0, ""
        verb = {"enable": "start", "disable": "stop"}.get(verb, verb)
        return self._do(verb, daemon)

    def _do(self, verb: str, daemon: LabDaemon) -> tuple[int, str]:
        try:
            if verb == "reload":
                os.kill(daemon.pid, signal.SIGHUP)
            elif verb not in ("start", "stop", "restart"):
                return 1, f"systemctl {verb}: not known in the home of the documentation\n"
            if verb in ("stop", "restart"):
                daemon.stop()
            if verb in ("start", "restart") and not daemon.running:
                daemon.start()
        except DaemonFailed as error:
            return 1, f"{error}\n"
        return 0, ""


def output_fits(output: str, lines: list[str]) -> bool:
    """True if the output has these lines. ``...`` stands for any text of a line, and alone for any lines."""
    pattern = ""
    for line in lines:
        if line.strip() == "...":
            pattern += r"(?:.*\n)*?"
        else:
            words = [re.escape(word).replace(r"\ ", r"\ +") for word in re.split(r" *\.\.\. *", line.strip())]
            pattern += rf"\ *{'.*'.join(words)}\ *\n"
    text = "".join(f"{line}\n" for line in output.strip("\n").splitlines())
    return re.fullmatch(pattern, text) is not None


def _program(path: Path, text: str) -> None:
    path.write_text(text, "utf-8")
    path.chmod(0o755)


def _unreadable(directory: str, names: list[str]) -> set[str]:
    """Files of /etc that this user cannot read, and those that are no files."""
    return {
        name
        for name in names
        if not (path := Path(directory, name)).is_symlink()
        and not ((path.is_file() or path.is_dir()) and os.access(path, os.R_OK))
    }


def _await_output(file: Path, process: subprocess.Popen[str]) -> None:
    """Waits for the first line of a command that stays."""
    deadline = threading.Event()
    timer = threading.Timer(EVENT_S, deadline.set)
    timer.start()
    try:
        while "\n" not in file.read_text("utf-8", "replace"):
            if process.poll() is not None or deadline.wait(0.02):
                raise Failed(f"it printed nothing, or ended: {file.read_text('utf-8', 'replace')}")
    finally:
        timer.cancel()
