"""dipsearch init: a packaged experiment as a file of one's own."""

import pydoc
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from search.cli import main
from search.experiment.packaged import packaged_experiments, packaged_pages
from search.experiment.reading import load_experiment


def init(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["init", *arguments])


def test_init_writes_the_quickstart_with_its_comments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = init()
    assert result.exit_code == 0, result.output
    assert result.stdout == (
        "written: quickstart.yaml\nnext:\n  dipsearch launch quickstart.yaml\n"
        "  dipsearch docs experiment-file\n"
    )
    source = packaged_experiments()["quickstart"]
    assert Path("quickstart.yaml").read_bytes() == source.read_bytes()
    assert load_experiment(Path("quickstart.yaml")) == load_experiment(source)
    # All groups of keys have a comment.
    assert source.read_text().count("#") >= 12


@pytest.mark.parametrize("name", sorted(packaged_experiments()))
def test_every_packaged_experiment_can_be_written_and_read(tmp_path: Path, name: str) -> None:
    output = tmp_path / "mine.yaml"
    assert init(name, "--output", str(output)).exit_code == 0
    written, source = load_experiment(output), load_experiment(packaged_experiments()[name])
    assert written.name == "mine"
    named = {"name", "candidates", "images"}  # By the file, and from its folder.
    assert written.model_dump(exclude=named) == source.model_dump(exclude=named)
    for ours, theirs in zip(written.candidates, source.candidates, strict=True):
        if theirs.endswith(".yaml"):
            assert Path(ours).is_relative_to(tmp_path)
            assert Path(ours).read_bytes() == Path(theirs).read_bytes()
        else:
            assert ours == theirs


def test_init_replaces_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text("name: mine\n")
    refused = init("--output", "mine.yaml")
    assert refused.exit_code == 2
    assert "mine.yaml exists: remove it, or choose another --output" in refused.stderr
    assert Path("mine.yaml").read_text() == "name: mine\n"
    Path("schedules").mkdir()
    Path("schedules/fast-64.yaml").write_text("mine\n")
    refused = init("denoise-128")
    assert (refused.exit_code, Path("denoise-128.yaml").exists()) == (2, False)
    assert "schedules/fast-64.yaml exists" in refused.stderr


def test_a_name_of_no_user_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "~coffee is neither a file nor an experiment" in init("~coffee").stderr
    assert init("--output", "~coffee.yaml").exit_code == 0
    assert Path("~coffee.yaml").is_file()


def test_a_stream_gets_the_experiment_as_it_is(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert init("--output", "/dev/stdout").exit_code == 0
    assert capfdbinary.readouterr().out == packaged_experiments()["quickstart"].read_bytes()
    refused = init("denoise-128", "--output", "/dev/stdout")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert "schedules/fast-64.yaml beside it, which /dev/stdout cannot hold" in refused.stderr


def test_a_file_in_place_of_a_name_is_told_from_one(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("name: mine\n")
    assert "base.yaml is a file already: init takes one of" in init(f"{tmp_path}/base.yaml").stderr


def test_an_unknown_name_lists_those_that_there_are() -> None:
    refused = init("quikstart")
    assert refused.exit_code == 2
    assert all(name in refused.stderr for name in packaged_experiments())


def test_docs_lists_pages_and_prints_them() -> None:
    def docs(*arguments: str) -> Result:
        return CliRunner().invoke(main, ["docs", *arguments])

    listed = docs().output
    assert "\nexperiment-file    The experiment file\n" in listed
    assert "readme" not in listed  # It only includes a file.
    *lines, following, command = listed.splitlines()
    assert (following, command) == ("next:", "  dipsearch docs first-search")
    for line in lines:
        name, _, title = line.partition("  ")
        assert docs(name).output.startswith(f"# {title.strip()}\n")
    # A link out of the documentation leads nowhere in a package, and one to a page does.
    assert "for each\ntrial (how)." in docs("performance").output
    assert "[replays](performance.md#racing)" in docs("method").output
    assert "\n[Figure: The front of the quickstart: " in docs("first-search").output
    assert "| `objective.max_steps` |" in docs("experiment-file.md").output
    for name in packaged_pages():
        assert not re.search(r"```\{|<!--", docs(name).output), "what only a website shows"
    named = re.findall(r"^python -m pydoc (\S+)$", docs("python-api").output, re.MULTILINE)
    assert {"dipstage.fit", "search.Run", "dipstage.tasks.inpaint.Inpaint"} <= set(named)
    assert all(pydoc.locate(name) for name in named)
    commands = docs("dipsearch").output
    assert 'eval "$(_DIPSEARCH_COMPLETE=bash_source dipsearch)"' in commands
    assert commands.endswith("```sh\ndipsearch COMMAND --help\n```\n")
    refused = docs("experiments")
    assert refused.exit_code == 2
    assert "there is no page 'experiments': choose cluster, decisions, " in refused.stderr
