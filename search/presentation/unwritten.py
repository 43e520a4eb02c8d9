"""The files that a search has not written because it ended early, and the command for them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator

from search.analysis.front import front_of
from search.store.folders import is_remote, path_exists
from search.store.run import RunRecord
from search.store.suggested import run_words


def unwritten(run: RunRecord) -> Iterator[str]:
    """Yield a line for each result that is missing or older than the last trial that ended."""
    records, words = run.records(), run_words(run.folder)
    if not front_of(records):
        return
    last = max(trial.ended.timestamp() for trial in records if trial.ended)
    made_by = {
        "best.yaml": f"dipsearch export {words}",
        "pareto.csv": f"dipsearch pareto {words} --csv {_output(run, 'pareto.csv')}",
        "front.png": f"dipsearch pareto {words} --plot {_output(run, 'front.png')}",
        "report.html": f"dipsearch report {words}",
    }
    for file, command in made_by.items():
        path = run.folder / file
        if not path_exists(path):
            yield f"not written yet: {file}; write it with: {command}"
        elif not is_remote(run.folder) and path.stat().st_mtime < last:
            yield f"{file} is older than the last trial; write it again with: {command}"


def _output(run: RunRecord, file: str) -> str:
    """Return how a command names a file of the run; these options write to no object storage."""
    return file if is_remote(run.folder) else shlex.quote(str(run.folder / file))
