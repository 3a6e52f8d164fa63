"""``python -m upnp_gw.lab.enter COMMAND...``: runs a command with the right to make network namespaces.

As root it is simply run. An ordinary user's command becomes root of a user namespace, with a /run of its own, where
``ip netns`` keeps its names. Where neither is possible the reason is printed and the command runs as it is.
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
