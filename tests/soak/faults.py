"""The faults of a soak: one function a fault, each ends with the fault undone."""

import random
import time
from collections.abc import Callable
from ipaddress import IPv4Address

from tests.fixtures.waiting import until
from tests.memory.resident import Resident, resident, slope
from tests.soak.daemon_with_faults import POINTS
from tests.soak.household import FEW_BOTS, HOSTS, MANY_BOTS, Household
from tests.soak.load import Load

OTHER_ADDRESS = IPv4Address("11.22.33.99")
FIREWALLD = (
    "table inet firewalld\ndelete table inet firewalld\n"
    "table inet firewalld { chain f { type filter hook forward priority filter + 10; policy accept; }; }"
)
BY_HAND = (
    "flush ruleset",
    "delete table inet upnp_gw",
    "flush map inet upnp_gw pm",
    "flush set inet upnp_gw live",
    "flush chain inet upnp_gw prerouting",
    "insert rule inet upnp_gw forward accept",
    "add element inet upnp_gw pm { tcp . 9999 timeout 1h : 192.168.77.10 . 9999 }",
)
COMPLAINTS = ("Device or resource busy", "Cannot allocate memory", "Too many open files in system")


class Kills:
    """kill -9 at each point of a request in turn and at any moment; and a stop now and then, which is no kill."""

    def __init__(self, dice: random.Random) -> None:
        self.count = 0
        self._turn = 0
        self._dice = dice

    def __call__(self, home: Household, load: Load) -> str:
        load.await_answers(self._dice.randrange(8, 40))
        self._turn = (self._turn + 1) % (len(POINTS) + 2)
        what = (*(f"kill -9, {point}" for point in POINTS), "kill -9, anywhere", "SIGTERM")[self._turn]
        if what == "SIGTERM":
            code = home.daemon.stop()
            assert code == 0, f"SIGTERM: code {code}:\n{home.daemon.last_words()}"
        elif what == "kill -9, anywhere":
            home.daemon.kill()
        else:
            home.daemon.fault("kill", POINTS[self._turn])
            assert home.daemon.died(30), f"{what} was not reached"
        self.count += what != "SIGTERM"
        load.shut()
        home.daemon.cure("kill")
        home.daemon.start()
        return what


class Calamities:
    """The faults beside kills, in an order of chance."""

    def __init__(self, dice: random.Random) -> None:
        self._dice = dice
        self._all: list[Callable[[Household, Load], str]] = [
            self.by_hand,
            self.firewalld,
            self.kernel_refuses,
            self.disk_fails,
            self.wan_flaps,
            self.wan_is_made_again,
            self.wan_renumbered,
            self.host_unplugged,
            self.lan_flaps,
            self.list_changes,
        ]
        self._left: list[Callable[[Household, Load], str]] = []

    def __call__(self, home: Household, load: Load) -> str:
        if not self._left:
            self._left = self._dice.sample(self._all, len(self._all))
        return self._left.pop()(home, load)

    def by_hand(self, home: Household, load: Load) -> str:
        script = self._dice.choice(BY_HAND)
        before = home.ask("GET", "/v1/status")["healed"]
        home.gateway.nft(script)
        assert until(lambda: home.ask("GET", "/v1/status")["healed"] > before, 10), f"{script}: not healed"
        return script

    def firewalld(self, home: Household, load: Load) -> str:
        home.gateway.nft(FIREWALLD)
        home.gateway.nft("delete table inet firewalld")
        return "firewalld reloads"

    def kernel_refuses(self, home: Household, load: Load) -> str:
        complaint = self._dice.choice(COMPLAINTS)
        with home.daemon.faulty("kernel", complaint):
            load.await_answers(20)
        return f"the kernel refuses: {complaint}"

    def disk_fails(self, home: Household, load: Load) -> str:
        with home.daemon.faulty("disk", "database or disk is full"):
            load.await_answers(40)
        load.await_answers(5)
        written = until(lambda: "store unwritten" not in home.ask("GET", "/v1/status")["counters"], 30)
        assert written, "the store did not get what the disk refused"
        return "the disk is full"

    def wan_flaps(self, home: Household, load: Load) -> str:
        for _ in range(3):
            home.lab.internet.ip("link set gateway down", "link set gateway up")
        return "the WAN link flaps"

    def wan_is_made_again(self, home: Household, load: Load) -> str:
        home.lab.replug_wan()
        return "the WAN interface is made again"

    def wan_renumbered(self, home: Household, load: Load) -> str:
        home.renumber_wan(OTHER_ADDRESS)
        load.await_answers(10)
        home.renumber_wan(home.external)
        return "another WAN address, and back"

    def host_unplugged(self, home: Household, load: Load) -> str:
        with home.lab.unplugged(self._dice.choice(HOSTS[1:]).name):
            load.await_answers(10)
        return "a host without its cable"

    def lan_flaps(self, home: Household, load: Load) -> str:
        home.gateway.ip(f"link set {home.lab.topology.lans[0].interface} down")
        home.gateway.ip(f"link set {home.lab.topology.lans[0].interface} up")
        return "the LAN link flaps"

    def list_changes(self, home: Household, load: Load) -> str:
        entries = self._dice.choice((FEW_BOTS, MANY_BOTS))
        home.change_list(entries, self._dice.randrange(MANY_BOTS))
        home.change_list(entries + 1)
        load.await_answers(5)
        return f"the address list is another one, {entries:,} entries"


class Memory:
    """Samples of one process: resident memory by kind, KiB."""

    def __init__(self) -> None:
        self.samples: list[tuple[float, Resident]] = []
        """Times are seconds of the monotonic clock."""
        self._pid = 0

    def take(self, pid: int) -> None:
        if pid != self._pid:
            self._pid, self.samples = pid, []
        self.samples.append((time.monotonic(), resident(pid)))

    @property
    def minutes(self) -> float:
        """Between the first sample and the last one."""
        return (self.samples[-1][0] - self.samples[0][0]) / 60 if self.samples else 0.0

    def slopes(self) -> Resident:
        """KiB a minute, of lines through the second half: in the first one the daemon gets what it keeps."""
        half = self.samples[len(self.samples) // 2 :]
        kinds = ([(at / 60, float(one[kind])) for at, one in half] for kind in range(len(Resident._fields)))
        return Resident(*map(slope, kinds))
