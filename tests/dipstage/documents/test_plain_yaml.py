"""Encodings of YAML files, and names that no file should have."""

from __future__ import annotations

import codecs
import os
import subprocess
from pathlib import Path

import pytest

from dipstage.documents.plain_yaml import forbidden_in, parse_yaml, read_yaml, remedy_for
from dipstage.errors import InputError

TEXT = "name: größe\nsize: 32\n"
MARKED = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "utf-32-le": codecs.BOM_UTF32_LE,
    "utf-32-be": codecs.BOM_UTF32_BE,
}


@pytest.mark.parametrize("encoding", MARKED)
def test_a_byte_order_mark_names_the_encoding(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_bytes(MARKED[encoding] + TEXT.encode(encoding))
    assert read_yaml(path) == {"name": "größe", "size": 32}
    with pytest.raises(InputError, match=r"only YAML 1\.2"):
        parse_yaml(MARKED[encoding] + b"".join(["%YAML 1.1\n---\na: 1\n".encode(encoding)]), "test")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (TEXT.encode("latin-1"), "e.yaml, line 1: not text in UTF-8: save the file as UTF-8"),
        (b"a: 1\nb: \xff\n", "e.yaml, line 2: not text in UTF-8"),
        (TEXT.encode("utf-16-le"), "e.yaml is not text in UTF-8: name a YAML file"),
        (b"a: 1\nb: \x00\n", "e.yaml is not text in UTF-8: name a YAML file"),
        (codecs.BOM_UTF16_LE + b"a\x00:", "e.yaml, line 1: not text in UTF-16"),
        (codecs.BOM_UTF16_LE + b"a\x00\x00\x00", "e.yaml, line 1: a control character, '\\x00'"),
        (b"a: 1\nb: \x07\n", "e.yaml, line 2: a control character, '\\x07': leave it out"),
        (b"# \x1b[2J\n", "e.yaml, line 1: a control character, '\\x1b'"),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR", "e.yaml is not text in UTF-8"),
        (b"SQLite format 3\x00", "e.yaml is not text in UTF-8"),
    ],
)
def test_other_bytes_are_refused_with_their_line(tmp_path: Path, data: bytes, words: str) -> None:
    path = tmp_path / "e.yaml"
    path.write_bytes(data)
    with pytest.raises(InputError) as refused:
        read_yaml(path)
    assert words in str(refused.value)
    assert str(refused.value).isprintable()


@pytest.mark.parametrize(
    "name", [b"a\x07b.png", b"a\nb.png", b"a\xffb'\\.png", "a\u202eb.png".encode(), b"\x1b[2J"]
)
def test_a_file_with_a_wrong_name_is_renamed_by_the_command_that_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes
) -> None:
    monkeypatch.chdir(tmp_path)
    text = os.fsdecode(name)
    assert forbidden_in(text) is not None
    assert remedy_for(text) == "leave it out"
    Path(text).write_text("mine")
    advice = remedy_for(text)
    assert advice.isprintable()
    command = advice.removeprefix("rename the file, with ")
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    subprocess.run(["bash", "-c", command], check=True, env=environment)
    (found,) = tmp_path.iterdir()
    assert forbidden_in(found.name) is None
    assert found.read_text() == "mine"
