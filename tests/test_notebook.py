"""The example notebook, executed anew: no cell fails, and each shows what it is there to show.

What is committed holds the outputs of one execution. To make them again:

    python tests/test_notebook.py

Its figures are most of its bytes, which stay below `MOST_BYTES`.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient
from traitlets.config import Config

pytestmark = pytest.mark.ray

NOTEBOOK = Path(__file__).parents[1] / "docs" / "notebooks" / "first-search.ipynb"
MOST_BYTES = 400_000


def executed(folder: Path) -> Any:
    """The notebook with fresh outputs; CellExecutionError if a cell fails."""
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    config = Config()
    # By default others on the machine could read along, and send code.
    config.KernelManager.transport, config.KernelManager.ip = "ipc", str(folder / "kernel")
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(folder)}},
        config=config,
    )
    client.execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # Times of day.
    notebook.metadata.language_info = {"name": "python"}
    return notebook


def output_of(cell: Any) -> dict[str, str]:
    """What a cell shows, by media type; what it prints is text/plain too, errors are `stderr`."""
    shown: dict[str, str] = {}
    for output in cell.get("outputs", ()):
        if output.output_type == "stream":
            kind = "text/plain" if output.name == "stdout" else "stderr"
            shown[kind] = shown.get(kind, "") + output.text
        else:
            for kind, content in output.data.items():
                shown[kind] = shown.get(kind, "") + content
    return shown


def check(notebook: Any) -> None:
    """What a reader expects of each cell."""
    shown = {cell.source: output_of(cell) for cell in notebook.cells if cell.cell_type == "code"}

    def of(end: str) -> dict[str, str]:
        [found] = [outputs for source, outputs in shown.items() if source.endswith(end)]
        return found

    complaints = [outputs["stderr"] for outputs in shown.values() if "stderr" in outputs]
    assert not complaints, complaints
    page = of("\nrun")["text/html"]
    assert "<b>first</b>: 13/13 trials" in page
    assert "not verified" in page
    assert "best " in page
    assert page.count("<table>") == 1
    assert "sharp-linear" in of("round(3)")["text/html"]
    assert re.search(
        r"<Trial \d+.*: complete, \d\d\.\d\d dB at (≥ )?\d+>", of(".front()")["text/plain"]
    )
    assert "astronaut" in of("head(4).round(2)")["text/html"]
    for call in ("plot_front()", '"sharp-linear")', '"log10")', "plot_importance()", "\nfigure"):
        assert len(of(call)["image/png"]) > 10_000, call
    assert "mean over 2 replicates" in of("\nfigure")["text/plain"]
    schedule = of("schedule.stages])")["text/plain"]
    assert re.match(r"<Trial .*> <Schedule of \d+ stages, .*>\n\[\(", schedule)
    assert " dB at " in of('outcome.raw.steps_to_max}")')["text/plain"]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The notebook as it comes out today."""
    return executed(tmp_path_factory.mktemp("notebook"))


def test_every_cell_runs_and_shows_what_it_is_there_for(fresh: Any) -> None:
    check(fresh)


def test_the_committed_outputs_are_whole_small_and_of_no_machine() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    check(notebook)
    text = NOTEBOOK.read_text()
    assert len(text) < MOST_BYTES
    for cell in notebook.cells:
        outputs = output_of(cell) if cell.cell_type == "code" else {}
        words = " ".join(shown for kind, shown in outputs.items() if kind != "image/png")
        assert not re.search(r"/(home|root|tmp|usr|work|private|Users)/", words), cell.source


def main() -> None:
    """Execute it in place."""
    with tempfile.TemporaryDirectory() as folder:
        notebook = executed(Path(folder))
    check(notebook)
    nbformat.write(notebook, NOTEBOOK)


if __name__ == "__main__":
    main()
