"""A report of 500 trials in a real browser: it stays small, and is sorted and filtered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from opened_reports import CHROMIUM
from playwright.sync_api import expect

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


def test_the_front_tells_kinds_apart_by_shape_and_marks_the_knee(large: Path, show: Any) -> None:
    opened = show(large)
    opened.drawn()
    shapes: dict[str, str] = opened.page.evaluate(
        "Object.fromEntries(document.getElementById('front').data.filter((t) => t.marker)"
        ".map((t) => [t.name, t.marker.symbol + t.marker.size]))"
    )
    assert {"raced (predicted)", "failed", "sampled, dominated", "knee", "candidates"} <= set(
        shapes
    )
    assert len(set(shapes.values())) == len(shapes)
    bars = opened.page.evaluate(
        "document.getElementById('front').data.find((t) => t.name === 'sampled, on the front')"
        ".error_y.array"
    )
    assert all(width > 0 for width in bars)
    assert opened.page.locator("#front .errorbar").count() > 0


def test_the_table_sorts_and_filters_by_mouse_and_by_keys(large: Path, show: Any) -> None:
    opened = show(large)
    page = opened.page
    opened.drawn()
    expect(page.locator("#count")).to_have_text("502 trials")
    numbers = (
        "[...document.querySelectorAll('#table tbody tr:not([hidden])')]"
        ".map((r) => +r.dataset.number)"
    )
    psnr = "(n) => JSON.parse(document.getElementById('data').textContent).trials[n].psnr"
    page.get_by_role("button", name="max PSNR_GT (dB)").click()
    first = page.evaluate(numbers)[:5]
    values = [page.evaluate(psnr, n) for n in first]
    assert values == sorted(values, reverse=True)
    header = page.locator("#table").get_by_role("columnheader", name="steps to max", exact=True)
    header.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "ascending")
    expect(page.locator("#table th[aria-sort]")).to_have_count(1)
    page.keyboard.press("Enter")
    expect(header).to_have_attribute("aria-sort", "descending")
    page.locator("#find").fill("diverged")
    expect(page.locator("#count")).to_have_text("5 of 502 trials")
    page.locator("#find").fill("")
    page.locator("#state").select_option("raced")
    raced = page.evaluate(numbers)
    assert 0 < len(raced) < 500
    page.locator("#state").select_option("")
    page.locator("#least").fill("26")
    page.locator("#most").fill("200")
    left = page.evaluate(numbers)
    assert 0 < len(left) < 100
    assert all(page.evaluate(psnr, n) >= 26 for n in left[:5])


def test_500_trials_are_below_10_megabytes(large: Path) -> None:
    assert large.stat().st_size < 10_000_000


def test_nothing_is_wider_than_a_telephone(large: Path, show: Any) -> None:
    opened = show(large, viewport={"width": 400, "height": 800})
    opened.drawn()
    assert opened.page.evaluate("document.documentElement.scrollWidth") == 400
    expect(opened.page.locator("h1")).to_be_in_viewport()
