"""Any bytes are a schedule or a picture, or are refused in one short line that names the file.

DIPSEARCH_EXAMPLES=N runs N times as many examples, drawn anew each time.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML
from untrusted import YAML_TEXTS, altered, examples, mutations, result, values

from dipstage.documents.plain_yaml import DEPTH, DOCUMENT_BYTES, VALUES, forbidden_in, parse_yaml
from dipstage.documents.whole_files import read_regular
from dipstage.errors import InputError
from dipstage.schedules.schedule_file import ScheduleFile, read_schedule_file, save_schedule

SCHEDULE = """format: 1
iterations: 600
stages:
- {alpha_bar: 0.25, iterations: 150, share: 0.25}
- {alpha_bar: 1.0, iterations: 450, share: 0.75}
family:
  stages: 2
  split: {kind: power, exponent: 2.06}
  ramp: 150
  noise: {beta: sigmoid, max_level: 0.3}
measured:
  images: [skimage:chelsea, a b.png]
  sigma_255: 25.0
  seeds: [0, 1]
  trainer: {iterations: 600, width: 32, scales: 4, learning_rate: 0.001}
  output: raw
  raw: &
  smoothed: &
  size: 64
verified:
  verdict: better
  iterations: 900
  images: [b.png]
  seeds: [7]
  n: 1
  against: plain DIP
  output: raw
  max_psnr_gt_db: {mean: 0.5, low: 0.1, high: 0.9}
  steps: {mean: -30.0}
  raw: &
  smoothed: &
  method: Student
provenance:
  run: quickstart
  trial: 7
  created: '2026-01-01T00:00:00+00:00'
  versions: {torch: 2.13.0}
""".replace(
    "&",
    "{max_psnr_gt_db: {mean: 27.1, n: 2, std: 0.3}, steps_to_max: {mean: 301.5, n: 2}, "
    "max_ssim_gt: {mean: 0.8, n: 1}, steps_to_max_ssim_gt: {mean: 290.0, n: 1}, censored: 2}",
)
FREE = """format: 1
iterations: 10
stages:
- {alpha_bar: 0.2, iterations: 1, share: 0.1}
- {alpha_bar: 0.5, iterations: 2, share: 0.2}
- {alpha_bar: 1, iterations: 7, share: 0.7}
family: {stages: 3, split: {kind: free, weights: [0.3, 0.7]}, ramp: 3, noise: {beta: linear}}
preset: log10
"""
DOCUMENTS = [SCHEDULE.encode(), FREE.encode()]
CONTENTS = [YAML(typ="safe", pure=True).load(text) for text in DOCUMENTS]
KEYS = [
    "format",
    "iterations",
    "stages",
    "alpha_bar",
    "share",
    "family",
    "split",
    "kind",
    "weights",
]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Written anew by each example."""
    return tmp_path_factory.mktemp("untrusted") / "schedule.yaml"


def holds(path: Path, data: bytes) -> ScheduleFile | None:
    """The property: a schedule file that survives a round trip, or one clear refusal."""
    path.write_bytes(data)
    content = result(path, read_schedule_file)
    if content is not None:
        path.unlink()  # It would be a schedule that nothing here has saved.
        save_schedule(path, content)
        assert repr(read_schedule_file(path)) == repr(content)  # NaN is not equal to itself.
    return content


@pytest.mark.parametrize("document", DOCUMENTS)
def test_the_documents_themselves_are_read(path: Path, document: bytes) -> None:
    assert holds(path, document) is not None


@pytest.mark.long
@examples(200)
@given(data=st.binary(max_size=300))
def test_any_bytes(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(300)
@given(text=YAML_TEXTS)
def test_any_yaml(path: Path, text: str) -> None:
    holds(path, text.encode(errors="replace"))


@pytest.mark.long
@examples(300)
@given(data=mutations(DOCUMENTS))
def test_damaged_schedules(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(150)
@given(data=altered(CONTENTS))
def test_schedules_with_other_values(path: Path, data: bytes) -> None:
    holds(path, data)


@pytest.mark.long
@examples(100)
@given(content=st.dictionaries(st.sampled_from(KEYS), values(KEYS), max_size=6))
def test_plain_data_of_any_shape(path: Path, content: dict[str, Any]) -> None:
    import json

    holds(path, json.dumps(content).encode())


BOMBS = {
    "billion laughs": "a: &a [x]\n"
    + "".join(f"b{i}: &b{i} [{', '.join([f'*b{i - 1}'] * 9)}]\n" for i in range(1, 30)),
    "deep": "[" * 100_000,
    "deep keys": "? " * 100_000,
    "a million seeds": "seeds: [" + "1," * 1_000_000 + "]",
    "many values": "seeds: [" + "1," * (VALUES + 1) + "]",
    "a long number": "iterations: " + "9" * 400_000,
    "object": "!!python/object/apply:os.system [ls]",
    "NUL": "format: 1\0",
    "tag": "format: !!int 1",
    "date": "format: 2020-01-01",
    "list as key": "? [1]\n: 2",
    "number as key": "1: 2",
}


@pytest.mark.long
@pytest.mark.parametrize("case", sorted(BOMBS))
def test_bombs_are_refused_soon(path: Path, case: str) -> None:
    path.write_text(BOMBS[case])
    before = time.process_time()
    assert result(path, read_schedule_file) is None
    assert time.process_time() - before < 20


def test_limits_are_named(path: Path) -> None:
    cases = {
        "x" * (DOCUMENT_BYTES + 1): f"more than {DOCUMENT_BYTES:,} bytes",
        "[" * (DEPTH + 1): f"more than {DEPTH} lists",
        "a: &x 1": "line 1: not plain YAML: anchors and aliases",
        "a: !!set {}": "line 1: not plain YAML: tags",
        "a: 1\nb: [2020-01-01]": "line 2: .*2020-01-01 is read as a date, which no value is",
        "a: 1\nb: [9223372036854775808]": "line 2: .*: 9223372036854775808 is larger than",
        "a: " + "9" * 5000: "line 1: .*larger than any number here, 64 bits",
        "a: 1\ntrue: 6": "line 2: not plain YAML: the key true is no text: put it in quotes",
        "a: {1: 6}": "line 1: not plain YAML: the key 1 is no text: put it in quotes",
        "2020-01-01: 6": "line 1: not plain YAML: the key 2020-01-01 is no text: put it in quotes",
        "a: 1\n? ": "line 2: not plain YAML: a key has no name",
        "a: 1\n? [a]\n: 3": "line 2: not plain YAML: a list or group of keys where a key is",
        "a: {{b: c}: 3}": "line 1: not plain YAML: a list or group of keys where a key is expected",
        'a: "\\e[2J"': "a control character in the text",
    }
    for text, words in cases.items():
        path.write_text(text)
        with pytest.raises(InputError, match=words):
            read_schedule_file(path)
    assert parse_yaml("[" * DEPTH + "]" * DEPTH, "here")


NOT_NUMBERS = [
    "1_000", "-1_0", "1_0.5", "0.1_5", "1__0", "0o17", "0x1F", "-0x1f", "0b11", "+0b1", "017", "08",
    "00", "1e400", "-1.0e309",
]  # fmt: skip


@pytest.mark.parametrize("text", [*NOT_NUMBERS, "<<", "="])
@pytest.mark.parametrize("line", ["{}", "a: {}", "seeds: [{}]", "{{a: {}}}", "- - {}", "{}: 1"])
def test_what_versions_of_yaml_read_differently_is_refused(text: str, line: str) -> None:
    document = "# first\n" + line.format(text)
    with pytest.raises(InputError, match="here, line 2: not plain YAML") as refused:
        parse_yaml(document, "here")
    assert text in str(refused.value)
    quoted = parse_yaml("# first\n" + line.format(f"'{text}'"), "here")
    assert text in str(quoted)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0), ("-0", 0), ("+5", 5), ("1000", 1000), (".5", 0.5), ("1.", 1.0), ("1e5", 1e5),
        ("1e-05", 1e-5), ("12E+03", 12e3), ("-1.5e+300", -1.5e300), (".inf", float("inf")),
        ("-.INF", float("-inf")),
        ("yes", "yes"), ("No", "No"), ("on", "on"), ("1:30", "1:30"), ("12:30:00", "12:30:00"),
        ("1,000", "1,000"), ("NaN", "NaN"),
        ("inf", "inf"), ("1d5", "1d5"), ("1.2.3", "1.2.3"), ("_1", "_1"), ("٣", "٣"),
        ("2024-01", "2024-01"),
        ("~", None), ("", None), ("True", True),
    ],
)  # fmt: skip
def test_plain_values_are_those_of_yaml_1_2(text: str, value: object) -> None:
    found = parse_yaml(f"a: {text}", "here")["a"]
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("character", "\u202e\u2066\u200f\u200b\u2060\ufeff\x07\x9b\u2028")
def test_characters_that_hide_or_turn_text_are_refused(character: str) -> None:
    for text in (f'a: "x{character}y"', f'"x{character}y": 1'):
        with pytest.raises(InputError) as refused:
            parse_yaml(text, "here")
        assert str(refused.value).isprintable()
    assert forbidden_in("é\u200d👩 \u00a0ي") is None


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "to-a-device").symlink_to("/dev/zero")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name in ("pipe", "to-a-device", "loop", ".", "x" * 300, "nul\0"):
        with pytest.raises(InputError, match="cannot be read"):
            read_regular(tmp_path / name, 10, "it")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "file").write_bytes(b"0123456789")
    assert read_regular(tmp_path / "link", 10, "it") == b"0123456789"
    with pytest.raises(InputError, match="it has more than 9 bytes"):
        read_regular(tmp_path / "link", 9, "it")


def test_messages_are_short_and_print() -> None:
    message = str(InputError("start\x1b[2J\n\ud800" + "x" * 10**6 + "end"))
    assert message.startswith(r"start\x1b[2J\n\ud800")
    assert message.endswith("end")
    assert len(message) == 480
    assert str(InputError("64 × 64: fine")) == "64 × 64: fine"
    assert message.isprintable()
