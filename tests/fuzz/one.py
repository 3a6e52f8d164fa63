"""One target under atheris, in a process that the fuzzer ends. Started by ``python -m tests.fuzz``."""

import sys

import atheris

with atheris.instrument_imports(include=["upnp_gw"]):
    from tests.fuzz.targets import TARGETS

atheris.Setup([sys.argv[0], *sys.argv[2:]], TARGETS[sys.argv[1]])
atheris.Fuzz()
