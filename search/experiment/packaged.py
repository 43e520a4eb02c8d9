"""Contents of the package: experiments, which can be named instead of a file, and the pages."""

from __future__ import annotations

import re
from pathlib import Path

from dipstage.documents.plain_yaml import read_yaml
from dipstage.errors import InputError
from dipstage.pictures.images import expand_path

_PACKAGE = Path(__file__).parents[1]


def packaged_experiments() -> dict[str, Path]:
    """Return the files of the experiments that come with the package, by name."""
    return {path.stem: path for path in sorted(_folder("experiments").glob("*.yaml"))}


def packaged_pages() -> dict[str, str]:
    """Return the pages of the documentation that come with the package, as Markdown by name."""
    folder = _folder("docs")
    files = sorted(
        [*folder.glob("*.md"), *folder.glob("commands/*.md")], key=lambda path: path.stem
    )
    texts = {path.stem: path.read_text("utf-8") for path in files}
    # The others only include a file of the repository.
    return {name: _plain(text) for name, text in texts.items() if text.startswith("# ")}


def _plain(page: str) -> str:
    """Return a page without what only the website shows: comments, figures, generated reference."""
    page = re.sub(r"<!--.*?-->\n+", "", page, flags=re.DOTALL)
    page = re.sub(r"!\[([^\]]*)\]\([^)]*\)", r"[Figure: \1]", page)
    page = re.sub(r"\[([^\]]*)\]\(\.\./[^)]*\)", r"\1", page)
    page = re.sub(r"```\{([\w-]+)\}\n(.*?)```\n*", _block, page, flags=re.DOTALL)
    return page.rstrip() + "\n"


def _block(directive: re.Match[str]) -> str:
    """Return the commands that print what a directive refers to; nothing for a menu."""
    names = re.findall(r"^\.\. auto\w+:: ([\w.]+)", directive[2], re.MULTILINE)
    programs = re.findall(r":prog: (\w+)", directive[2])
    commands = [f"python -m pydoc {name}\n" for name in names]
    commands += [f"{program} COMMAND --help\n" for program in programs]
    return f"```sh\n{''.join(commands)}```\n\n" if commands else ""


def _folder(name: str) -> Path:
    """Return a folder that is part of an installed package, and beside it in a checkout."""
    folder = _PACKAGE / name
    if not folder.is_dir() and (_PACKAGE.parent / "pyproject.toml").is_file():
        return _PACKAGE.parent / name
    return folder


def experiment_file(given: Path) -> Path:
    """Return the file of an experiment that a user named.

    Args:
        given: the path of a file or, where no such file exists, the name of an experiment that
            comes with the package.

    Returns:
        The path of a packaged experiment, or `given` itself.

    Raises:
        InputError: if `given` is a folder, or a bare name that neither a file nor a packaged
            experiment has.
    """
    given = Path(expand_path(str(given)))
    is_bare = given.name == str(given) and not given.suffix
    if is_bare and (not given.exists() or given.name in packaged_experiments()):
        return given if given.is_file() else packaged_experiment(given.name)
    if given.is_dir():
        raise InputError(f"{given} is a folder: name an experiment file in it")
    return given


def packaged_experiment(name: str) -> Path:
    """Return the file of a packaged experiment; InputError lists those that there are."""
    packaged = packaged_experiments()
    if name not in packaged:
        names = ", ".join(packaged) or "none"
        raise InputError(
            f"{name} is neither a file nor an experiment that comes with the package ({names})"
        )
    return packaged[name]


def schedule_files(experiment: Path) -> list[str]:
    """Return the schedule files that come with a packaged experiment, relative to its folder."""
    candidates = read_yaml(experiment).get("candidates", [])
    return [each for each in candidates if (experiment.parent / str(each)).is_file()]
