"""The garbage collector is paused while many objects are made."""

import gc
from contextlib import suppress

from upnp_gw.system.process import collection_paused


def test_a_paused_collection_goes_on_after_the_block() -> None:
    assert gc.isenabled()
    with suppress(ValueError), collection_paused():
        assert not gc.isenabled()
        with collection_paused():
            pass
        assert not gc.isenabled(), "the inner block leaves it as it was"
        raise ValueError
    assert gc.isenabled()
