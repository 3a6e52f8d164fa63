"""``pytest -n 2``: the tests on several cores, each worker in a network of its own.

A worker is a process that runs whole test files, so that fixtures of a module are made once. It has network and
mount namespaces of its own where the user may make them (``upnp_gw.lab.enter``): no two workers share ports,
multicast groups, abstract sockets or /run. Without the lab (``-m "not lab"``) they share the loopback.
"""

import shlex
import sys

import pytest
from execnet import XSpec
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling


class Workers:
    """The pytest plugin. Each worker enters its namespaces before it has a second thread."""

    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[XSpec]) -> None:
        if "not lab" in config.option.markexpr:
            return
        for spec in specs:
            spec.python = shlex.join([sys.executable, "-m", "upnp_gw.lab.enter", sys.executable])

    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Producer) -> LoadFileScheduling:
        config.option.loadscopereorder = False  # the order of the collection: see tests/conftest.py
        return LoadFileScheduling(config, log)
