"""Rows as CSV files."""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipstage.documents.whole_files import write_asked


def write_rows(rows: Sequence[dict[str, Any]], path: Path, *, own: bool = False) -> None:
    """Write rows as CSV by `write_asked`; a file whose name ends in `.gz` is compressed."""
    columns = list(dict.fromkeys(key for each in rows for key in each))
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    packed = gzip.compress(data, mtime=0) if path.suffix.lower() == ".gz" else data
    write_asked(path, packed, own=own)
