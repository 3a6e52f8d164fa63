"""``notify test``."""

import json
from pathlib import Path

from tests.cli.conftest import Run


def test_what_came_back_of_each_target(tmp_path: Path, upnp_gw: Run) -> None:
    file = tmp_path / "gw.toml"
    secret = "/topic-that-is-a-secret"
    file.write_text(f'[[notify]]\nurl = "http://127.0.0.1:1{secret}"\n[[notify]]\nurl = "http://127.0.0.1:2/"\n')
    answer = upnp_gw("notify", "test", "--config", str(file))
    assert answer.exit_code == 1
    lines = answer.output.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "http://127.0.0.1:1: NOT sent",
        "http://127.0.0.1:2: NOT sent",
    ]
    assert secret not in answer.output
    shown = json.loads(upnp_gw("notify", "test", "--json", "--config", str(file)).output)
    assert [(one["target"], one["sent"]) for one in shown] == [
        ("http://127.0.0.1:1", False),
        ("http://127.0.0.1:2", False),
    ]
    assert all(one["answer"].startswith("no connection: ") for one in shown)


def test_mistakes(tmp_path: Path, upnp_gw: Run) -> None:
    file = tmp_path / "gw.toml"
    file.write_text("")
    answer = upnp_gw("notify", "test", "--config", str(file))
    assert (answer.exit_code, "has no [[notify]]" in answer.output) == (2, True)
    file.write_text("[[notify]]\n")
    answer = upnp_gw("notify", "test", "--config", str(file))
    assert (answer.exit_code, "notify[0].url: missing" in answer.output) == (2, True)
