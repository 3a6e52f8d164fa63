"""``python -m upnp_gw.lab.enter COMMAND...``: runs a command that may make network namespaces.

The command has a network namespace of its own, in which only the loopback is up, and a /run of its own, where
``ip netns`` keeps its names. For an ordinary user it runs as root of a user namespace. If that is not possible,
prints the reason and runs the command without.
"""

import os
import sys

from upnp_gw.lab.privilege import LabUnavailable, acquire, enter_own_network


def main() -> None:
    command = sys.argv[1:]
    if not command:
        raise SystemExit(__doc__)
    try:
        acquire()
        enter_own_network()
    except LabUnavailable as problem:
        print(f"NO LAB: {problem}", file=sys.stderr, flush=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
