"""confirm, verify: the commands that train again what a search found."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from dipstage.documents.plain_yaml import parse_yaml, plain_number
from dipstage.errors import InputError
from dipstage.terminal.console import echo_json, json_option, make_console, wide_option
from dipstage.terminal.number_types import Finite, Whole
from search.commands.reporting import make_report
from search.commands.searching import run_with_view
from search.commands.shared import accept_changes_option, address_option, resources_option, with_run
from search.presentation.rows import write_rows
from search.store.folders import path_exists
from search.store.suggested import run_words

if TYPE_CHECKING:
    from search.store.run import RunRecord

F = TypeVar("F", bound=Callable[..., Any])
N = TypeVar("N", int, float)


def _images_option(words: str) -> Callable[[F], F]:
    """Make the option for held-out pictures; the words say how many there may be."""
    about = "A picture that the search has not used: skimage:NAME, a file or a quoted glob."
    return click.option("--images", multiple=True, metavar="IMAGE", help=f"{about} {words}")


def _seeds_option(default: int) -> Callable[[F], F]:
    """Make the option for held-out seeds, of which there are so many by default."""
    about = f"Number of seeds, or a list of them [default: {default} that the search has not used]."
    return click.option("--seeds", metavar="N|[A, B, …]", help=about)


@click.command()
@_images_option("Can be repeated [default: four pictures of scikit-image].")
@_seeds_option(4)
@click.option(
    "--fast",
    metavar="SCHEDULE",
    help="Schedule that is claimed to be faster than plain DIP: a trial's number, a candidate's "
    "name, or knee, psnr (highest PSNR) or steps (fewest steps) for one of the sampled schedules "
    "on the front [default: what dipsearch confirm chose, else the knee].",
)
@click.option(
    "--best",
    metavar="SCHEDULE",
    help="Schedule that is claimed to have a higher maximum PSNR_GT than plain DIP [default: what "
    "dipsearch confirm chose, else the sampled schedule on the front with the highest PSNR].",
)
@click.option(
    "--claims",
    type=Whole(),
    metavar="N",
    help="Number of claims that the correction counts, with those of other verifications that are "
    "published together [default: those of this run, earlier verifications included].",
)
@click.option(
    "--alpha",
    type=Finite(),
    metavar="P",
    help="Significance level. If you may verify more than once, count the claims of all these "
    "verifications in --claims, or give a part of 0.05 each time [default: 0.05].",
)
@click.option(
    "--baseline-iterations",
    type=Whole(),
    metavar="N",
    help="Budget of the held-out trainings [default and minimum: 1.5 times that of the search].",
)
@click.option(
    "--learning-rates",
    metavar="[A, B, …]",
    help="Learning rates that plain DIP is tuned over, on the search's pictures [default: 0.02, "
    "0.01, 0.005, 0.003, 0.002 and the experiment's].",
)
@click.option(
    "--references",
    type=Whole(),
    metavar="N",
    help="Number of recipes that plain DIP is tuned over, with different learning rates, input "
    "noise and averaging [default and minimum: a quarter of the search's schedules, and one for "
    "each learning rate].",
)
@click.option(
    "--smallest-db",
    type=Finite(),
    metavar="DB",
    help="Smallest gain in PSNR_GT that is of interest [default: 0.2].",
)
@click.option(
    "--smallest-ratio",
    type=Finite(),
    metavar="R",
    help="Smallest speed-up that is of interest, as a ratio of times [default: 0.85].",
)
@click.option(
    "--controls",
    is_flag=True,
    help="Also train each claimed schedule with its stages reversed, with its stages shuffled, and "
    "with targets of reduced contrast in place of added noise.",
)
@click.option(
    "--allow-seen",
    is_flag=True,
    help="Allow pictures and seeds that the search has used. Every output then says so.",
)
@click.option(
    "--restart",
    is_flag=True,
    help="Discard the existing verification and begin one on other pictures. The claims of the "
    "discarded one still count in the correction.",
)
@resources_option
@accept_changes_option
@wide_option
@address_option
@json_option
@with_run
def verify(
    run: RunRecord,
    images: tuple[str, ...],
    seeds: str | None,
    learning_rates: str | None,
    resources: tuple[str, ...],
    accept_changes: bool,
    address: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Test whether schedules of RUN are better than plain DIP.

    Pictures and seeds are held out: the search has not used them. There are two claims: that one
    schedule is faster (--fast), and that one has a higher PSNR_GT (--best). Both are recorded
    before anything is trained. dipsearch verify RUN continues an interrupted verification, and
    shows the results of a finished one again.
    """
    from search.store.paths import verification_path
    from search.terminal.verification_tables import print_verification
    from search.verification.result import Verification
    from search.verification.rows import verification_rows

    _refuse_while_searching(run)
    from search.verification.declared import Request
    from search.verification.drive import Hardware
    from search.verification.drive import verify as verify_run
    from search.verification.parts import HELD_OUT, TUNING

    request = Request(
        images=images or None,
        seeds=_seeds(seeds),
        learning_rates=_numbers("--learning-rates", learning_rates, float),
        **options,
    )
    hardware = Hardware(resources, address, accept_changes)
    planned = _written_at(verification_path(run.folder))
    try:
        run_with_view(lambda view: verify_run(run, request, hardware=hardware, view=view))
    except KeyboardInterrupt:
        now = _written_at(verification_path(run.folder))
        if now is None or (request.restart and now == planned):
            _exit_unbegun("verification")
        _exit_interrupted("verify", run, TUNING, HELD_OUT)
    verification = Verification.open(run)
    assert verification is not None
    rows = verification_rows(verification)
    if as_json:
        echo_json({"verdict": verification.verdict_of_search.value, "comparisons": rows})
    else:
        print_verification(verification, make_console(going_on=True).print)
    path = run.folder / "verification.csv"
    write_rows(rows, path, own=True)
    click.echo(f"written: {path}")
    click.echo(f"next:\n  dipsearch export {run_words(run.folder)}")
    make_report(run)


@click.command()
@_images_option("At least six are needed.")
@_seeds_option(2)
@click.option("--top", type=Whole(1), metavar="K", help="Number of schedules [default: 8].")
@resources_option
@accept_changes_option
@wide_option
@address_option
@json_option
@with_run
def confirm(
    run: RunRecord,
    images: tuple[str, ...],
    seeds: str | None,
    top: int | None,
    resources: tuple[str, ...],
    accept_changes: bool,
    address: str | None,
    as_json: bool,
) -> None:
    """Choose what to verify, by training on other pictures.

    The scores that selected the best schedules of RUN are optimistic. This command retrains these
    schedules on new pictures, and compares them with plain DIP. dipsearch verify then takes two of
    them. One is the fastest schedule for which no part of the interval of the PSNR_GT difference
    is below 0; if there is none, the mean must be at least 0. The other has the highest PSNR_GT
    among the schedules that are not slower than plain DIP on average.
    """
    from search.terminal.verification_tables import print_confirmation
    from search.verification.confirmation import Confirmation
    from search.verification.drive import Hardware
    from search.verification.drive import confirm as confirm_run
    from search.verification.parts import CONFIRMATION
    from search.verification.rows import confirmation_rows

    _refuse_while_searching(run)
    hardware = Hardware(resources, address, accept_changes)
    try:
        run_with_view(
            lambda view: confirm_run(run, images, _seeds(seeds), top, hardware=hardware, view=view)
        )
    except KeyboardInterrupt:
        if not path_exists(run.folder / CONFIRMATION / "experiment.yaml"):
            _exit_unbegun("confirmation")
        _exit_interrupted("confirm", run, CONFIRMATION)
    confirmation = Confirmation.open(run)
    assert confirmation is not None
    picked = {"fast": confirmation.pick("time"), "best": confirmation.pick("psnr")}
    if as_json:
        chosen = {which: found and found.schedule for which, found in picked.items()}
        rows, failed = confirmation_rows(confirmation), confirmation.failures
        echo_json({**chosen, "failed": failed, "comparisons": rows})
    else:
        print_confirmation(confirmation, make_console().print)
    words = run_words(run.folder)
    following = [f"dipsearch verify {words}"] + [
        f"dipsearch export {words} --pick {which} --output {which}.yaml"
        for which, found in picked.items()
        if found is not None
    ]
    click.echo("next:\n  " + "\n  ".join(following))


def _written_at(path: Path) -> float | None:
    """Return when a file was written; None if it does not exist."""
    return path.stat().st_mtime if path.exists() else None


def _seeds(text: str | None) -> int | tuple[int, ...] | None:
    """Parse a number of seeds, or a list of seeds."""
    if text is not None and isinstance(number := plain_number(text), int) and number >= 0:
        return number
    return _numbers("--seeds", text, int)


def _numbers(option: str, text: str | None, kind: type[N]) -> tuple[N, ...] | None:
    """Parse a list of numbers in YAML; brackets are optional."""
    if text is None:
        return None
    values = parse_yaml(text if text.lstrip().startswith("[") else f"[{text}]", option)
    allowed = (int, float) if kind is float else (int,)
    example = "[0.01, 0.003]" if kind is float else "[7, 8]"
    for value in values:
        if isinstance(value, bool) or not isinstance(value, allowed):
            raise InputError(f"{option} must be a list of numbers such as {example}, got {text!r}")
    if not values:
        raise InputError(f"{option} must not be empty")
    return tuple(kind(value) for value in values)


def _exit_unbegun(what: str) -> NoReturn:
    click.echo(f"interrupted before the {what} began; nothing has changed", err=True)
    raise SystemExit(130)


def _exit_interrupted(command: str, run: RunRecord, *names: str) -> NoReturn:
    """Print how the comparisons of a command stand and how to continue, and exit with 130."""
    from search.analysis.status import sentence, status_of
    from search.verification.parts import part

    with suppress(Exception):  # The database may be why somebody interrupted.
        for name in names:
            if (made := part(run, name)) is not None:
                click.echo(f"{made.name}: {sentence(status_of(made))}")
    words = run_words(run.folder)
    click.echo(f"interrupted; continue with: dipsearch {command} {words}", err=True)
    raise SystemExit(130)


def _refuse_while_searching(run: RunRecord) -> None:
    """Raise InputError if a driver has the run: its front may still change."""
    if (driver := run.driver()) is not None:
        raise InputError(
            f"run {run.name!r} is still searching ({driver}): wait for its end, or end it with "
            "Ctrl-C"
        )
