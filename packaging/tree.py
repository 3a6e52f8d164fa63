"""Writes all that a package of a distribution has beside the program: units, users, man pages, completions.

    python packaging/tree.py TREE [--program /usr/bin/upnp-gw]

TREE stands for the root directory. SOURCE_DATE_EPOCH is the date of the man pages. Run it with a Python that has
the program of this checkout.
"""

import argparse
import os
from pathlib import Path, PurePosixPath

from upnp_gw.cli.manual.files import USR, manual_files, page_date
from upnp_gw.installation.service_files import Layout, service_files
from upnp_gw.system.files import write_shared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tree", type=Path)
    parser.add_argument("--program", default="/usr/bin/upnp-gw", help="absolute path for the units")
    given = parser.parse_args()
    manual = manual_files(USR, page_date(os.environ.get("SOURCE_DATE_EPOCH")))
    files = {PurePosixPath("usr") / place: text for place, text in manual.items()}
    for place, text in (files | dict(service_files(Layout.PACKAGE, given.program))).items():
        write_shared(given.tree / place, text.encode())
        print(place)


if __name__ == "__main__":
    main()
