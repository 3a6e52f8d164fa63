"""The page of the catalogue is the one that the program makes."""

from tests import ROOT
from upnp_gw.testing.catalogue import page
from upnp_gw.testing.personalities import PERSONALITIES, description_and_source
from upnp_gw.testing.registry import entries


def test_the_page_is_current() -> None:
    written = (ROOT / "docs" / "testing-faults.md").read_text("utf-8")
    assert written == page(), "python -m upnp_gw.testing.catalogue > docs/testing-faults.md"


def test_each_entry_says_what_it_does_and_each_personality_has_its_source() -> None:
    for entry in entries():
        assert entry.description.endswith("."), entry.name
        assert all(parameter.description for parameter in entry.parameters), entry.name
    for name, kind in PERSONALITIES.items():
        description, source = description_and_source(kind)
        assert description, name
        assert len(source) > 10, name
        assert kind.options or kind.faults, name
