"""A run in a notebook and in a terminal."""

from pathlib import Path

import pytest
from fake_runs import experiment, new_run, play
from played_verification import IMAGES, gains, searched, verified

from dipstage.documents.plain_yaml import yaml_text
from dipstage.documents.records import to_plain
from dipstage.documents.whole_files import write_whole
from search import Run
from search.store.paths import verification_path
from search.verification.declared import Request
from search.verification.plan import new_plan


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


@pytest.mark.long
def test_a_notebook_shows_the_verdicts(tmp_path: Path) -> None:
    run = searched(tmp_path)
    plan = new_plan(run, Request(images=tuple(IMAGES)))
    write_whole(verification_path(run.folder), yaml_text(to_plain(plan, {})))
    assert "; not verified: its verification is not finished</div>" in run._repr_html_()
    score = gains(trial_2=(0.5, -10), trial_3=(-0.5, -10), trial_5=(0.5, 10))
    verified(run, score, claims={3: "time", 2: "time"}, seen=["skimage:coins"])
    page = run._repr_html_()
    assert "; verified on pictures that the search has seen: better</div>" in page
    assert "<th>against plain DIP</th>" in page
    rows = page.split("<tr>")[2:]
    assert [row.count("<td>") for row in rows] == [6, 6, 6]
    assert "<td>better (" in rows[1]
    assert "<td>not shown (" in rows[0]
    assert "<td>not verified</td>" in rows[2]


@pytest.mark.long
def test_a_notebook_tells_plain_dip_from_what_is_not_claimed(tmp_path: Path) -> None:
    run = new_run(tmp_path, experiment(candidates=["baseline", "log10"]))
    play(run, lambda number: {0: (25.0, 8), 1: (26.0, 12), 2: (27.0, 20)}.get(number, (24.0, 25)))
    verified(run, gains(trial_2=(0.5, -10)), claims={2: "psnr"})
    rows = run._repr_html_().split("<tr>")[2:]
    for row, words in zip(rows, ("plain DIP itself", "not claimed", "better ("), strict=True):
        assert f"<td>{words}" in row
