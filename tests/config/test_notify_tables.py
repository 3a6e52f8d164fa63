"""``[[notify]]`` and ``[metrics]`` of the configuration."""

from pathlib import Path

import pytest

from tests.config.test_page_settings import written
from upnp_gw.config.notify_tables import EVENTS, NotifyTarget
from upnp_gw.config.page_settings import load_page
from upnp_gw.model.errors import ConfigError

URL = 'url = "https://ntfy.sh/topic"\n'


def test_several_targets(tmp_path: Path) -> None:
    text = (
        f"[[notify]]\n{URL}"
        '[[notify]]\nurl = "http://10.0.0.5:8123/api/webhook/x"\nevents = ["incident"]\nsecret_file = "s"\n'
        'body = "$title: $$5"\ncontent_type = "text/plain"\nheaders = { X-A = "b" }\n'
    )
    plain, full = load_page(written(tmp_path, text), {}).notify
    assert plain == NotifyTarget(url="https://ntfy.sh/topic", events=EVENTS)
    assert full == NotifyTarget(
        url="http://10.0.0.5:8123/api/webhook/x",
        events=("incident",),
        secret_file=tmp_path / "s",
        body="$title: $$5",
        content_type="text/plain",
        headers={"X-A": "b"},
    )
    assert (plain.shown, full.shown) == ("https://ntfy.sh", "http://10.0.0.5:8123"), "the path is a secret"


@pytest.mark.parametrize(
    ("text", "key", "problem"),
    [
        ("[notify]\n" + URL, "notify", "accepted: [[notify]]"),
        ("[[notify]]\n", "notify[0].url", "missing"),
        (f'[[notify]]\n{URL}[[notify]]\nurl = "ftp://x/"', "notify[1].url", "an http or https URL"),
        ('[[notify]]\nurl = "https://user:pw@x/"', "notify[0].url", "without a user"),
        ('[[notify]]\nurl = "https://x:99999/"', "notify[0].url", "an http or https URL"),
        (f'[[notify]]\n{URL}events = ["everything"]', "notify[0].events[0]", '"question", "incident"'),
        (f"[[notify]]\n{URL}events = []", "notify[0].events", "a list of events"),
        (f'[[notify]]\n{URL}event = ["incident"]', "notify[0].event", "did you mean events?"),
        (f'[[notify]]\n{URL}body = "$message"', "notify[0].body", "$event, $title, $text"),
        (f'[[notify]]\n{URL}body = "5 $"', "notify[0].body", "written as $$"),
        (f'[[notify]]\n{URL}format = "ntfy"\nbody = "$text"', "notify[0].format", "one of the two"),
        (f'[[notify]]\n{URL}content_type = "text/plain"', "notify[0].content_type", "beside body"),
        (f'[[notify]]\n{URL}headers = {{ Host = "x" }}', "notify[0].headers", "does not set itself"),
        (f'[[notify]]\n{URL}headers = {{ X-A = "a\\nb" }}', "notify[0].headers", "printable ASCII"),
        (f'[[notify]]\n{URL}secret = "a"\nsecret_file = "b"', "notify[0].secret", "one of the two"),
        ('[[notify]]\nurl = "https://ntfy.sh/"\nformat = "ntfy"', "notify[0].url", "the topic is missing"),
        ('[[notify]]\nurl = "http://ntfy.lan/t"\ntoken_file = "t"', "notify[0].token_file", "in the clear"),
        ('[metrics]\nlisten = "127.0.0.1:5081"', "metrics.listen", "accepted: another one"),
        ('[metrics]\nlisten = "0.0.0.0:9909"', "metrics.listen", "one address, not all of them"),
        ("[metrics]\ndevices = -1", "metrics.devices", "a number of devices, 0 to 1000"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, key: str, problem: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_page(written(tmp_path, text), {})
    assert error.value.key == key
    assert problem in str(error.value)
    assert "gw.toml:" in str(error.value), "with its line"
