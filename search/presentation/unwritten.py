"""The files that a search has not written because it ended early, and the command for them."""

from __future__ import annotations

from collections.abc import Iterator

from search.analysis.front import front_of
from search.presentation.repeating import run_argument, shown_path
from search.store.paths import is_remote, path_exists
from search.store.run import RunRecord


def unwritten(run: RunRecord) -> Iterator[str]:
    """Yield a line for each result that is missing or older than the last trial that ended."""
    records, name = run.records(), run_argument(run)
    if not front_of(records):
        return
    last = max(trial.ended.timestamp() for trial in records if trial.ended)
    folder = shown_path(run.folder) or str(run.folder)
    made_by = {
        "best.yaml": f"dipsearch export {name}",
        "pareto.csv": f"dipsearch pareto {name} --csv {folder}/pareto.csv",
        "front.png": f"dipsearch pareto {name} --plot {folder}/front.png",
        "report.html": f"dipsearch report {name}",
    }
    for file, command in made_by.items():
        path = run.folder / file
        if not path_exists(path):
            yield f"not written yet: {file}; write it with: {command}"
        elif not is_remote(run.folder) and path.stat().st_mtime < last:
            yield f"{file} is older than the last trial; write it again with: {command}"
