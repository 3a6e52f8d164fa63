"""Remarks come in the order of the file."""

from upnp_gw.migration.original import Line
from upnp_gw.migration.remarks import Fate, Remark, in_order


def test_remarks_come_in_the_order_of_the_file() -> None:
    second, first = (Remark(Line(number, "x"), Fate.CARRIED, "") for number in (10, 9))
    assert in_order([second, first]) == (first, second)
