"""Programs are started as words, without a shell, and their end is known."""

from pathlib import Path

import pytest

from upnp_gw.installation.programs import NOT_STARTED, run, words


@pytest.mark.parametrize(
    ("command", "split"),
    [
        (
            'nft insert rule inet home input iifname "lan0" accept',
            "nft|insert|rule|inet|home|input|iifname|lan0|accept",
        ),
        ("nft insert rule ip x y udp dport { 1, 2 } accept", "nft|insert|rule|ip|x|y|udp|dport|{|1,|2|}|accept"),
        (
            "nft 'add chain inet hosts forward { type filter; }'",
            "nft|add chain inet hosts forward { type filter; }",
        ),
        ("sysctl -w net.ipv4.ip_forward=1", "sysctl|-w|net.ipv4.ip_forward=1"),
        ("echo $HOME `id` *", "echo|$HOME|`id`|*"),
        ("echo 'not closed", ""),
    ],
)
def test_a_command_is_split_and_nothing_is_expanded(command: str, split: str) -> None:
    assert "|".join(words(command)) == split


def test_output_and_exit_code_come_back(tmp_path: Path) -> None:
    done = run(["ls", str(tmp_path / "none")])
    assert done.code == 2
    assert "No such file" in done.output
    assert run(["echo", "$HOME;id"]).output == "$HOME;id"
    assert run(["cat"]).output == "", "it reads nothing from the terminal"


def test_one_that_cannot_be_started_or_does_not_end_is_a_failure() -> None:
    assert run(["/no/such/program"]).code == NOT_STARTED
    assert run([]).code == NOT_STARTED
    slow = run(["sleep", "60"], seconds=0.05)
    assert slow.code == NOT_STARTED
    assert slow.output == "it did not end within 0.05 seconds, and was ended"
