"""Addresses of a cluster's dashboard that are refused before anything is asked of it."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from search.cli import main
from search.commands.cluster import _say_what_has_no_effect

WRONG = {
    "http://": "must name a host, and a port if any, such as http://HEAD:8265",
    "http://:8265": "must name a host",
    "http://127.0.0.1:notaport": "must name a host",
    "http://127.0.0.1:99999": "must name a host",
    "http://[::1": "must name a host",
    "http://a b": "must name a host",
    "127.0.0.1:8265": "must begin with http:// or https://",
    "http://u:secret@127.0.0.1:1": "holds a user or a password",
    "u:secret@127.0.0.1:1": "holds a user or a password",
}


@pytest.mark.parametrize("address", WRONG)
def test_a_wrong_address_is_refused_by_the_name_of_what_gave_it(
    monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    said = CliRunner().invoke(main, ["logs", "x-1", "--address", address])
    monkeypatch.setenv("DIPSEARCH_ADDRESS", address)
    also = CliRunner().invoke(main, ["submit", "quickstart"])
    for result, by in ((said, "--address"), (also, "DIPSEARCH_ADDRESS")):
        assert result.exit_code == 2, (result.output, result.exception)
        assert f"main: {by} {WRONG[address]}" in result.stderr
        assert "secret" not in result.output


def test_what_a_resume_does_not_take_is_said_when_it_is_submitted(
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken = ("images=[a.png]", "task.mask=m.png", "task={kind: inpaint, mask: m.png}")
    _say_what_has_no_effect((*taken, "size=64", "resources.concurrent=8"))
    own, acceptable = capsys.readouterr().err.splitlines()
    assert own == "notice: --set size has no effect with --resume"
    assert acceptable.startswith("notice: --set resources.concurrent has no effect with --resume: ")
    assert acceptable.endswith("experiment.yaml on the head can be changed, and --accept-changes")
