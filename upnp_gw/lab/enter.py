"""``python -m upnp_gw.lab.enter COMMAND...``: runs a command that may make network namespaces.

Root runs it as it is. For an ordinary user it runs as root of a user namespace, with a /run of its own, where
``ip netns`` keeps its names. If that is not possible, prints the reason and runs the command without.
"""

import os
import sys

from upnp_gw.lab.privilege import LabUnavailable, acquire, mount


def main() -> None:
    command = sys.argv[1:]
    if not command:
        raise SystemExit(__doc__)
    ordinary = os.geteuid() != 0
    try:
        acquire()
        if ordinary:
            mount("tmpfs", "/run", "tmpfs", 0)
    except LabUnavailable as problem:
        print(f"NO LAB: {problem}", file=sys.stderr, flush=True)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main()
