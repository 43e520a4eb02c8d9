"""Sphinx configuration: `sphinx-build -W --keep-going -b html docs out/docs` builds the site."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from sphinx.application import Sphinx

project = "dipsearch"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["experiment_file.py", "figures.py", "samples.py"]
default_role = "code"  # For text in single backticks, in docstrings and help texts.
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["wide.css"]
html_title = "dipsearch"
html_show_sourcelink = False
html_copy_source = False
html_show_copyright = False
myst_heading_anchors = 4
autodoc_typehints = "signature"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
python_use_unqualified_type_names = True

# Files outside of docs/ that pages link to, and the page that shows each of them.
_SHOWN = {
    "README.md": "readme.md",
    "ARCHITECTURE.md": "architecture.md",
    "CONTRIBUTING.md": "contributing.md",
    "benchmarks/README.md": "benchmarks.md",
}


def _list_the_rest(app: Sphinx, page: str, source: list[str]) -> None:
    """Replace `(the rest)` in the index by every page that the index does not name."""
    if page == "index":
        named = {"index", *re.findall(r"^(?:README <)?([\w-]+)>?$", source[0], re.M)}
        rest = sorted(path.stem for path in app.srcdir.glob("*.md") if path.stem not in named)
        source[0] = source[0].replace("(the rest)", "\n".join(rest))


def _link_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Turn links to files outside of docs/ into links to the pages that show them."""
    for outside, shown in _SHOWN.items():
        source[0] = source[0].replace(f"(../{outside}", f"({shown}")


def _link_from_included(app: Sphinx, path: Path, page: str, content: list[str]) -> None:
    """Do the same in files that a page includes, which link from the project's top folder."""
    for outside, shown in _SHOWN.items():
        content[0] = content[0].replace(f"]({outside}", f"](docs/{shown}")


def _to_fields(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Make a list of the lines `name: words` in docstrings, which describe arguments or fields."""
    told: list[str] = []
    in_field = False
    for line in lines:
        line = re.sub(r"(?<!\\)([*|])", r"\\\1", line)
        if match := re.match(r"(\w+(?:, \w+)*): (.*)", line):
            told += [*([] if in_field else [""]), f"- **{match[1]}**: {match[2]}"]
            in_field = True
        elif in_field and line.strip():
            told.append(f"  {line.strip()}")
        else:
            in_field = False
            told.append(line)
    lines[:] = told


def _help_of_fields(
    app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]
) -> None:
    """Append the help of each field, for settings whose fields have one."""
    for each in getattr(of, "__dataclass_fields__", {}).values():
        if help_text := each.metadata.get("help"):
            lines.append(f"{each.name}: {help_text.replace('`', '``')}")


def _show_example(app: Sphinx, context: Any, lines: list[str]) -> None:
    """Show the example in a command's help as a block of shell."""
    if lines:
        title, *examples = (line.removeprefix("| ").strip() for line in lines if line)
        shown = [f"   {example}" for example in examples]
        lines[:] = [title, "", ".. code-block:: sh", "", *shown, ""]


def setup(app: Sphinx) -> None:
    """Register the event handlers; Sphinx calls this."""
    app.connect("sphinx-click-process-epilog", _show_example)
    app.connect("source-read", _link_to_pages)
    app.connect("include-read", _link_from_included)
    app.connect("source-read", _list_the_rest)
    app.connect("env-get-outdated", lambda *_: ["index"])
    app.connect("autodoc-process-docstring", _help_of_fields)
    app.connect("autodoc-process-docstring", _to_fields, priority=600)
