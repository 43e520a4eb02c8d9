"""init and docs: a packaged experiment as a file to edit, and the pages of the documentation."""

from __future__ import annotations

from pathlib import Path

import click

from dipstage.errors import InputError
from search.commands.shared import file_option, is_stream


@click.command()
@click.argument("name", default="quickstart", metavar="[NAME]")
@file_option("--output", "File to write [default: NAME.yaml].", holds="YAML")
def init(name: str, output_file: Path | None) -> None:
    """Copy an experiment of the package to a file of your own.

    NAME is quickstart by default; an unknown NAME lists all experiments. Schedule files that the
    experiment names are written beside it. No file is replaced.
    """
    import re
    import shlex

    from dipstage.documents.whole_files import expanded, refuse_unwritable, write_asked
    from search.experiment.names import RUN_NAME
    from search.experiment.packaged import packaged_experiment, packaged_experiments, schedule_files

    if name not in (included := packaged_experiments()) and expanded(name).is_file():
        raise InputError(f"{name} is a file already: init takes one of {', '.join(included)}")
    source = packaged_experiment(name)
    output = output_file or Path(f"{name}.yaml")
    content, streamed = source.read_text("utf-8"), is_stream(output)
    if streamed and (missing := schedule_files(source)):
        raise InputError(
            f"{name} needs {missing[0]} beside it, which {output} cannot hold: name a file"
        )
    # A run has the name of its file, as far as it can.
    if not streamed and re.fullmatch(RUN_NAME, output.stem):
        content = re.sub(r"(?m)^name: \S+", f"name: {output.stem}", content, count=1)
    files = {output: content.encode()}
    for schedule in schedule_files(source):
        there = output.parent / schedule
        packaged = (source.parent / schedule).read_bytes()
        if not there.is_file() or there.read_bytes() != packaged:
            files[there] = packaged
    for path in files:
        if not streamed and (path.is_symlink() or path.is_file()):
            raise InputError(f"{path} exists: remove it, or choose another --output")
    if output.parent.is_dir() or output.parent.is_symlink():  # Others are made.
        refuse_unwritable(output)
    for path, data in reversed(files.items()):
        if path is not output:
            path.parent.mkdir(parents=True, exist_ok=True)
        write_asked(path, data)
    if streamed:
        return
    click.echo(
        f"written: {', '.join(map(str, files))}\n"
        f"next:\n  dipsearch launch {shlex.quote(str(output))}\n  dipsearch docs experiment-file"
    )


@click.command()
@click.argument("page", required=False)
def docs(page: str | None) -> None:
    """Print PAGE of the documentation, or list the pages."""
    from search.experiment.packaged import packaged_pages

    pages = packaged_pages()
    if page is None:
        width = max(map(len, pages), default=0)
        for name, text in pages.items():
            click.echo(f"{name:{width}}  {text.splitlines()[0].removeprefix('# ')}")
        click.echo("next:\n  dipsearch docs first-search")
    elif (name := page.removesuffix(".md")) in pages:
        click.echo(pages[name], nl=False)
    else:
        raise InputError(f"there is no page {page!r}: choose {', '.join(pages)}")
