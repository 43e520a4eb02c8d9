"""The documentation's site: `sphinx-build -W --keep-going -b html docs out/docs`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "dipsearch"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_click"]
exclude_patterns = ["figures.py"]
default_role = "code"  # What stands in single backticks, in docstrings and help texts.
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

# What the pages link to outside of docs/, and the page that shows it.
_SHOWN = {"(../README.md": "(readme.md", "(../benchmarks/README.md": "(benchmarks.md"}


def _list_the_rest(app: Sphinx, page: str, source: list[str]) -> None:
    """In the index, in the place of `(the rest)`: every page that it does not name."""
    if page == "index":
        named = {"index", *re.findall(r"^(?:README <)?([\w-]+)>?$", source[0], re.M)}
        rest = sorted(path.stem for path in app.srcdir.glob("*.md") if path.stem not in named)
        source[0] = source[0].replace("(the rest)", "\n".join(rest))


def _link_to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    for outside, shown in _SHOWN.items():
        source[0] = source[0].replace(outside, shown)


def _to_fields(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    """Docstrings here are plain text in which `name: words` tells an argument or a field."""
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
    """Of settings whose fields carry their help."""
    for each in getattr(of, "__dataclass_fields__", {}).values():
        if help_text := each.metadata.get("help"):
            lines.append(f"{each.name}: {help_text.replace('`', '``')}")


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("source-read", _link_to_pages)
    app.connect("source-read", _list_the_rest)
    app.connect("env-get-outdated", lambda *_: ["index"])
    app.connect("autodoc-process-docstring", _help_of_fields)
    app.connect("autodoc-process-docstring", _to_fields, priority=600)
