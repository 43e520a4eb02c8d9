"""A run in a notebook and in a terminal."""

from pathlib import Path

import pytest
from fake_runs import experiment, new_run, play

from search import Run


def test_a_run_shows_its_front_with_spread_and_knee_and_that_it_is_not_verified(
    played: Run,
) -> None:
    page = played._repr_html_()
    assert page.startswith("<div><b>tiny</b>: 6/6 trials, 0 running, 1 failed, best 27.00 dB at 18")
    assert "front of 3; not verified</div>" in page
    assert page.count("<tr>") == 1 + 3
    assert "<td>log10 (knee)</td><td>15 ± 0</td><td>26.00 ± 0.00</td>" in page
    assert page.count("(knee)") == 1
    assert "raw output, mean ± standard deviation over 4 replicates" in page


def test_names_are_escaped(tmp_path: Path) -> None:
    path = play(new_run(tmp_path, experiment()), lambda number: (25.0, 10)).export(
        "0", tmp_path / "<img src=x onerror=alert(1)>.yaml"
    )
    run = new_run(tmp_path / "other", experiment(candidates=[str(path)], search={"trials": 0}))
    page = play(run, lambda number: (25.0, 10))._repr_html_()
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page


def test_an_empty_run_has_no_table(tmp_path: Path) -> None:
    page = new_run(tmp_path, experiment())._repr_html_()
    assert "<table>" not in page
    assert "0/6 trials" in page


def test_what_was_written_since_is_shown(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment())
    play(Run.open("tiny", tmp_path), lambda number: (25.0, 10))
    assert "6/6 trials" in run._repr_html_()


def test_repr_is_plain_and_reads_nothing(played: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Run, "records", None)
    assert repr(played) == "<Run 'tiny'>"
