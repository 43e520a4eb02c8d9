"""Reports in a real browser: what opens, what answers to mouse and keys, what must not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_runs import experiment, new_run
from opened_reports import CHROMIUM, SCORES, place_of
from playwright.sync_api import expect
from reported_runs import play_with_files, record

from dipstage.schedules.schedule_file import read_schedule_file
from search import Run
from search.execution.ledger import Ledger
from search.report import page as report_page
from search.store.lease import leased

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def test_an_empty_run_says_that_there_is_nothing_yet(runs: Path, show: Any) -> None:
    opened = show(new_run(runs / "empty", experiment()).report())
    opened.drawn()
    expect(opened.page.locator("h1")).to_have_text("There is no schedule to use yet")
    expect(opened.page.locator("#front")).to_have_count(0)
    expect(opened.page.get_by_text("dipsearch resume tiny")).to_be_visible()
    expect(opened.page.locator(".again")).to_contain_text("dipsearch launch experiment.yaml")


def test_a_running_search_shows_what_there_is(runs: Path, show: Any) -> None:
    run = new_run(runs / "running", experiment())
    play_with_files(run, lambda number: (25.0 + number, 20), leave=3)
    ledger = Ledger(run.study, run.experiment, ["chelsea-seed0", "camera-seed0"])
    work = ledger.next()
    assert work is not None
    if "camera-seed0" not in work.done:
        record(run, ledger, work, "camera-seed0", (24.0, 12))
    with leased(run.storage, run.study.study_name, "a driver"):
        written = run.reread().report()
    opened = show(written)
    opened.drawn()
    expect(opened.page.locator("h1")).to_contain_text("so far, but that is not verified")
    names = opened.page.evaluate("document.getElementById('front').data.map((t) => t.name)")
    assert "running" in names
    opened.page.locator("#state").select_option("running")
    expect(opened.page.locator("#count")).to_have_text("3 of 6 trials")


def test_trials_that_violate_a_constraint_are_open_triangles(runs: Path, show: Any) -> None:
    run = new_run(runs / "limited", experiment(objective={"max_steps": 20}))
    play_with_files(run, lambda number: (25.0 + number, 25 if number in (1, 3) else 20 - number))
    opened = show(run.report())
    opened.drawn()
    drawn = opened.page.evaluate(
        """document.getElementById("front").data
            .map((t) => [t.name, t.marker?.symbol, t.customdata])
            .filter(([, symbol]) => symbol?.includes("triangle"))"""
    )
    assert drawn == [
        ["sampled, infeasible", "triangle-down-open", [3]],
        ["candidates, infeasible", "triangle-down-open", [1]],
    ]


def test_hovering_shows_parameters_and_clicking_shows_that_trial_below(
    finished: Path, show: Any
) -> None:
    opened = show(finished)
    page = opened.page
    opened.drawn()
    expect(page.locator("#trial")).to_have_value("2")
    page.mouse.move(*place_of(page, 3))
    hover = page.locator("#front .hoverlayer .hovertext")
    expect(hover).to_contain_text("trial 3")
    expect(hover).to_contain_text("ramp")
    expect(hover).to_contain_text("max_level")
    before = page.locator("#curves-text").text_content()
    page.mouse.click(*place_of(page, 3))
    opened.drawn()
    expect(page.locator("#trial")).to_have_value("3")
    expect(page.locator("#schedule-title")).to_have_text("Schedule and curves of trial 3")
    assert page.locator("#curves-text").text_content() != before
    for chart in ("curves", "staircase", "attainment", "parallel"):
        names = page.evaluate(f"document.getElementById('{chart}').data.map((t) => t.name)")
        assert any(str(name).startswith("trial 3") for name in names), chart
    expect(page.locator("#tiles")).to_contain_text("trial 3")
    expect(page.locator("#table tr.shown")).to_have_attribute("data-number", "3")
    drawn = page.evaluate("document.getElementById('curves').data[0].y.length")
    assert drawn == 30


def test_pictures_zoom_and_move_together_and_differ(finished: Path, show: Any) -> None:
    opened = show(finished)
    page = opened.page
    opened.drawn()
    tiles = page.locator("#tiles canvas")
    expect(tiles).to_have_count(4)
    labels = [tile.get_attribute("aria-label") for tile in tiles.all()]
    assert [str(label).split(",")[0] for label in labels] == [
        "Ground truth",
        "Observation",
        "Plain DIP (baseline)",
        "trial 2",
    ]
    page.locator("#zoom-in").click()
    tiles.first.focus()
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    views = {tile.get_attribute("data-view") for tile in tiles.all()}
    assert len(views) == 1
    assert str(views.pop()).startswith("2.250 0.54")
    page.locator("#view").select_option("truth")
    page.wait_for_selector('#tiles[data-ready="2 truth"]')
    brightest = page.evaluate(
        """[...document.querySelectorAll("#tiles canvas")].map((c) =>
            c.getContext("2d").getImageData(0, 0, c.width, c.height).data
                .reduce((most, value, i) => i % 4 < 3 ? Math.max(most, value) : most, 0))"""
    )
    assert brightest[0] == 0, "the ground truth does not differ from itself"
    assert brightest[1] > 0
    page.locator("#picture").select_option(label="camera, seed 0")
    label = "Ground truth, camera, seed 0, difference to ground truth, × 4"
    expect(page.locator("#tiles canvas").first).to_have_attribute("aria-label", label)


def test_keys_alone_reach_a_header_and_go_along_the_front(finished: Path, show: Any) -> None:
    opened = show(finished)
    page = opened.page
    opened.drawn()
    reached = []
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
        if reached[-1] == "front":
            page.keyboard.press("ArrowRight")
        if page.evaluate("!!document.activeElement.closest('#table thead')"):
            break
    assert "front" in reached
    expect(page.locator("#trial")).not_to_have_value("2")
    page.keyboard.press("Enter")
    expect(page.locator("#table thead th").first).to_have_attribute("aria-sort", "ascending")


def test_a_verified_run_says_on_its_first_screen_what_to_use_and_how_sure_that_is(
    verified_report: Path, show: Any
) -> None:
    opened = show(verified_report)
    page = opened.page
    opened.drawn()
    expect(page.locator("h1")).to_have_text("Use trial 2: it is better than plain DIP")
    expect(page.locator(".verdict")).to_contain_text("better")
    for text in ("95 % interval", "4 held-out pictures", "dipsearch export tiny"):
        place = page.get_by_text(text).first.bounding_box()
        assert place is not None
        assert place["y"] < 800, text
    row = page.locator(".standings").first.locator("tbody tr").first
    expect(row).to_contain_text("trial 2")
    expect(row).to_contain_text("+0.50 [")
    row.get_by_role("button").click()
    expect(page.locator("#trial")).to_have_value("2")
    expect(page.locator(".warning").first).to_contain_text("The curves of baseline")


def test_dark_mode_follows_the_system_and_the_button(finished: Path, show: Any) -> None:
    opened = show(finished)
    page = opened.page
    opened.drawn()
    background = "getComputedStyle(document.body).backgroundColor"
    tick = "document.querySelector('#front .xtick text').style.fill"
    light = page.evaluate(background), page.evaluate(tick)
    page.emulate_media(color_scheme="dark")
    expect(page.locator("body")).to_have_css("background-color", "rgb(20, 23, 27)")
    opened.drawn()
    dark = page.evaluate(background), page.evaluate(tick)
    assert light[0] == "rgb(255, 255, 255)"
    assert dark[0] == "rgb(20, 23, 27)"
    assert light[1] != dark[1]
    page.get_by_role("button", name="Light").click()
    assert page.evaluate(background) == light[0]
    expect(page.get_by_role("button", name="Light")).to_have_attribute("aria-pressed", "true")


@pytest.mark.parametrize("which", ["finished", "verified_report"])
def test_nothing_is_wider_than_a_telephone(
    which: str, request: pytest.FixtureRequest, show: Any
) -> None:
    opened = show(request.getfixturevalue(which), viewport={"width": 400, "height": 800})
    opened.drawn()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 400
    expect(opened.page.locator("h1")).to_be_in_viewport()


def test_no_name_on_the_front_is_cut_on_a_telephone(finished: Path, show: Any) -> None:
    opened = show(finished, viewport={"width": 360, "height": 700})
    opened.drawn()
    ends = opened.page.evaluate(
        """() => [...document.querySelectorAll("#front .annotation-text")].map((name) => {
            const box = name.getBoundingClientRect();
            const plot = document.getElementById("front").getBoundingClientRect();
            return [name.textContent, box.left - plot.left, plot.right - box.right];
        })"""
    )
    assert {name for name, *_ in ends} >= {"baseline", "log10", "2"}
    assert all(left >= 0 and right >= 0 for _, left, right in ends), ends


def test_every_chart_has_an_alternative_text(finished: Path, show: Any) -> None:
    opened = show(finished)
    opened.drawn()
    charts = opened.page.locator(".chart")
    assert charts.count() == 9
    for chart in charts.all():
        assert chart.get_attribute("aria-label")
        described = chart.get_attribute("aria-describedby")
        assert len(str(opened.page.locator(f"#{described}").text_content())) > 20


def test_a_trial_whose_curves_do_not_fit_says_how_to_draw_them(
    runs: Path, show: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = play_with_files(new_run(runs / "tight", experiment()), SCORES.__getitem__)
    monkeypatch.setattr(report_page, "MAX_BYTES", len(report_page.plotly()) + 8_000)
    monkeypatch.setattr(report_page, "MIN_ROOM", 0)
    opened = show(run.report())
    page = opened.page
    opened.drawn()
    expect(page.locator("#curves-text")).to_contain_text("mean PSNR_GT over 4 replicates")
    page.locator("#trial").select_option("5")
    opened.drawn()
    command = "dipsearch plot RUN {} --trials 5 --output FILE"
    expect(page.locator("#staircase-text")).to_contain_text(command.format("schedules"))
    for name in ("#curves-text", "#attainment-text"):
        expect(page.locator(name)).to_contain_text(command.format("curves"))


def test_hostile_names_and_reasons_are_text(runs: Path, tmp_path: Path, show: Any) -> None:
    from written_pictures import save_png

    from dipstage.pictures.images import load_picture
    from search.verification.export import choose, export

    name = "<img src=x onerror=alert(1)>'\"&{{7*7}}"
    picture = load_picture("skimage:chelsea", size=32, multiple=2)
    save_png(tmp_path / f"{name}.png", picture.pixels)
    donor = play_with_files(new_run(runs / "donor", experiment()), SCORES.__getitem__)
    export(donor, choose(donor, "1"), tmp_path / f"{name}.yaml")
    hostile = experiment(
        images=[str(tmp_path / f"{name}.png"), "skimage:camera"],
        candidates=["baseline", str(tmp_path / f"{name}.yaml")],
    )
    keys = [f"{name}-seed0", "camera-seed0", f"{name}-seed1", "camera-seed1"]
    run: Run = play_with_files(
        new_run(runs / "hostile", hostile),
        lambda n: "</script><script>document.title = 1</script>" if n == 3 else (25.0 + n, 20 - n),
        keys=keys,
    )
    opened = show(run.report())
    page = opened.page
    opened.drawn()
    assert page.locator("img").count() == 0
    assert page.title().startswith("tiny: ")
    page.locator("#trial").select_option("1")
    opened.drawn()
    expect(page.locator("#schedule-title")).to_have_text(f"Schedule and curves of {name}")
    page.mouse.move(*place_of(page, 1))
    expect(page.locator("#front .hoverlayer .hovertext")).to_contain_text(name)
    page.locator("#trial").select_option("3")
    expect(page.locator("#parameters")).to_contain_text("</script><script>document.title = 1")
    expect(page.locator("#picture option").first).to_have_text(f"{name}, seed 0")
    assert "{{7*7}}" in str(page.locator(".standings").first.text_content())


def test_what_repeats_the_trial_that_is_shown_can_be_saved_and_copied(
    finished: Path, tmp_path: Path, show: Any
) -> None:
    opened = show(finished)
    page = opened.page
    opened.drawn()
    page.locator("#trial").select_option("3")
    page.locator("#repeat > summary").click()
    lines = str(page.locator("#repeat-lines").text_content()).splitlines()
    assert len(lines) == 4
    command = "dipstage run skimage:camera --schedule tiny-trial-3.yaml --size 16 "
    assert any(line.startswith(command) for line in lines)
    with page.expect_download() as saved:
        page.locator("#repeat-file").click()
    assert saved.value.suggested_filename == "tiny-trial-3.yaml"
    saved.value.save_as(tmp_path / "saved.yaml")
    assert read_schedule_file(tmp_path / "saved.yaml").provenance is not None
    assert (tmp_path / "saved.yaml").read_text() == page.locator("#repeat-text").text_content()
    with page.expect_download() as best:
        page.locator(".advice .save a").click()
    assert best.value.suggested_filename == "tiny-trial-2.yaml"
