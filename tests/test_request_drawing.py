"""docs/request.svg is what the script draws, and a request takes the way that it shows."""

import sys
from pathlib import Path
from types import CodeType, FrameType

from tests.bench.request_path import add_port_mapping, served
from tests.request_drawing import DRAWING, STEPS, draw
from upnp_gw.protocols.mode import ServiceMode


def test_the_drawing_is_up_to_date() -> None:
    assert DRAWING.read_text("utf-8") == draw(), "run: python -m tests.request_drawing"


async def test_a_request_takes_the_way_that_is_drawn(tmp_path: Path) -> None:
    steps = {step.traced.__code__: step for step in STEPS}
    calls: list[CodeType] = []

    def note(frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code in steps and frame.f_code not in calls:
            calls.append(frame.f_code)

    async with served(tmp_path, natpmp=ServiceMode.OFF, pcp=ServiceMode.OFF) as (_, http_port, control):
        sys.setprofile(note)
        try:
            answer = await add_port_mapping(http_port, control, 8080)
        finally:
            sys.setprofile(None)
    assert "AddPortMappingResponse" in answer
    assert [steps[code].traced.__qualname__ for code in calls] == [step.traced.__qualname__ for step in STEPS]
