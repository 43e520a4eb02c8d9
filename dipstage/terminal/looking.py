"""`dipstage check` and `dipstage schedules`: look at pictures and schedules."""

from __future__ import annotations

from typing import Any

import click

from dipstage.errors import InputError
from dipstage.terminal.console import echo_json, json_option, make_console
from dipstage.terminal.fitted import FittedTable
from dipstage.terminal.number_types import Finite, Whole


@click.command()
@click.argument("images", nargs=-1, required=True, metavar="IMAGE…")
@click.option(
    "--size", type=Whole(), help="Centre crop and resize to this side [default: keep the size]."
)
@click.option(
    "--scales", type=Whole(1, 8), help="Scales of the network, which decide the crop [default: 5]."
)
@json_option
def check(images: tuple[str, ...], size: int | None, scales: int | None, as_json: bool) -> None:
    """Show how each IMAGE is read.

    The table names size, colours, range of values, profile, crop and notices.
    IMAGE is a PNG, JPEG, TIFF or WebP file, a pattern, or skimage:NAME.
    """
    from dipstage.pictures.images import expand, load_picture
    from dipstage.schedules.settings import TrainerSettings

    multiple = TrainerSettings().multiple if scales is None else 2**scales
    console = make_console()
    refused = []
    facts: list[dict[str, Any]] = []
    for image in images:
        try:
            names = expand([image])
        except InputError as error:
            names = []
            refused.append(str(error))
        for name in names:
            try:
                facts.append(load_picture(name, size=size, multiple=multiple).facts())
            except InputError as error:
                refused.append(str(error))
    if as_json:
        echo_json(facts)
    for each in [] if as_json else facts:
        rows = [
            ["file", "{format}, {width} × {height}, page {page} of {pages}"],
            ["values", "{colours}, {bits} bits, from {lowest} to {highest}"],
            ["profile", "{profile}"],
            ["orientation", "{orientation}"],
            ["used as", "{used_width} × {used_height}, channels: {used_channels}"],
            ["digest", "{digest}"],
        ]
        words = {**each, "profile": each["profile"] or "none, taken as sRGB"}
        cells = [[head, text.format_map(words)] for head, text in rows]
        cells += [["notice", notice] for notice in each["notices"]]
        console.print(FittedTable(["", each["name"]], cells, left=(0, 1), flow=(1,)))
    for sentence in dict.fromkeys(refused):  # A wrong size is no fault of each picture.
        click.echo(f"dipstage: {sentence}", err=True)
    if refused:
        raise SystemExit(2)


@click.command()
@click.argument("name", required=False, metavar="[PRESET|fast|best|FILE]")
@click.option(
    "--iterations",
    type=Whole(),
    help="Iterations to train [default: the schedule file's, else 2000].",
)
@click.option(
    "--size", type=Whole(least=1), help="Side of the picture in pixels, which fast and best need."
)
@click.option(
    "--sigma",
    type=Finite(least=0),
    help="Noise of the observation, to which a schedule file is rescaled [default: the file's].",
)
@json_option
def schedules(
    name: str | None, iterations: int | None, size: int | None, sigma: float | None, as_json: bool
) -> None:
    """List the presets, or show one schedule as a staircase."""
    from dipstage.schedules.named import file_of, schedule_of
    from dipstage.schedules.presets import PRESETS, is_preset
    from dipstage.schedules.published import is_published, published

    if name == "":
        raise InputError("the schedule's name is empty: name a preset or a schedule file")
    console = make_console()
    names = [name] if name else list(PRESETS)
    found = None
    if size is not None and not (name and is_published(name)):
        raise InputError("--size is only for fast and best: name one of them, or leave it out")
    if sigma is not None and (not name or is_preset(name)):
        raise InputError(
            "--sigma changes no preset: name fast, best or a schedule file, or leave it out"
        )
    if name and is_published(name):
        if size is None:
            raise InputError(f"{name} is chosen by the size of the picture: give --size")
        found = published(name, size, sigma)
    loaded = {
        each: schedule_of(each, found.file if found else file_of(each), iterations, sigma)
        for each in names
    }
    if as_json:
        content = [
            {
                "name": each,
                "iterations": schedule.iterations,
                "ramp": schedule.ramp,
                "stages": [
                    {"alpha_bar": stage.alpha_bar, "start": start, "iterations": stage.iterations}
                    for stage, start in zip(schedule.stages, schedule.starts, strict=True)
                ],
            }
            for each, schedule in loaded.items()
        ]
        echo_json(content[0] if name else content)
    elif name:
        from dipstage.terminal.display import staircase_table

        if found:
            console.print(f"{name}: {found.evidence}", markup=False)
        console.print(staircase_table(name, loaded[name]))
    else:
        rows = [
            [each, str(len(s.stages)), str(s.ramp), str(s.iterations)] for each, s in loaded.items()
        ]
        console.print(FittedTable(["preset", "stages", "ramp (iterations)", "iterations"], rows))
        console.print("Show one: dipstage schedules log10 --iterations 600", markup=False)
