"""The files that `dipstage restore` writes, checked before it trains."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError, WorkError
from dipstage.terminal.input_files import file_of_name, refuse_overwriting

if TYPE_CHECKING:
    from dipstage.pictures.photographs import Photograph


@dataclass(slots=True)
class Files:
    """The files that are written, all of which were checked before the training."""

    output: Path
    raw: Path | None
    preview: Path | None
    compare: bool
    is_new: bool
    """True if the user named no output, so that it must replace nothing."""
    written: list[Path] = field(default_factory=list)

    @property
    def compared(self) -> dict[str, Path]:
        """Files of other methods, beside the output."""
        names = {name: name.replace(" ", "-") for name in _METHODS if self.compare}
        base = self.output
        return {m: base.with_name(f"{base.stem}-{n}{base.suffix}") for m, n in names.items()}

    @classmethod
    def checked(
        cls, photo: Photograph, factor: int, output: Path | None, raw: Path | None,
        preview: Path | None, compare: bool,
    ) -> Files:  # fmt: skip
        """Name the files; InputError if one cannot be written or cannot hold the result.

        Args:
            photo: What is restored, with the sides that it has then.
            factor: How many times larger the result is.
        """
        from dipstage.documents.whole_files import expanded, refuse_same, refuse_unwritable

        others = {"--output-raw": raw, "--preview": preview}
        named = {option: expanded(path) for option, path in others.items() if path is not None}
        target = _free_name(photo, *named.values()) if output is None else expanded(output)
        files = cls(
            target, named.get("--output-raw"), named.get("--preview"), compare, output is None
        )
        paths, compared = {"--output": target, **named}, files.compared
        for option, path in [*paths.items(), *(("--compare", p) for p in compared.values())]:
            if not path.name:
                raise InputError(f"{option} must name a file")
            photo.check_format(path, option, factor)
            try:
                refuse_unwritable(path)
            except InputError as error:
                raise InputError(f"{option} {error}") from None
            # The target of a link is written; a regular file is replaced by one made beside it.
            needed = [path] if path.exists() else []
            if path.is_file() or not needed:
                needed.append(Path(os.path.realpath(path)).parent)
            if not all(os.access(each, os.W_OK) for each in needed):
                raise InputError(f"{option} {path} cannot be written: choose another folder")
        refuse_same(
            {**paths, **{f"the file of --compare for {key}": p for key, p in compared.items()}}
        )
        return files

    def refuse_inputs(self, *inputs: str | None) -> None:
        """Raise InputError if an input, or what no restoration wrote, would be overwritten."""
        from dipstage.documents.whole_files import refuse_to_replace
        from dipstage.pictures.photographs import ENDINGS, SIGNED

        named = [self.output, self.raw, self.preview, *self.compared.values()]
        outputs = [path for path in named if path is not None]
        for given in filter(None, inputs):
            refuse_overwriting(given, outputs, "another output")
        for path in outputs:
            refuse_to_replace(path, _KINDS[ENDINGS[path.suffix.lower()]], SIGNED.encode())

    def write_output(self, photo: Photograph) -> None:
        """Write the output as `write` does.

        A new file whose name has been taken during the training, such as by another restoration of
        the same photograph, gets the next free name.
        """
        from dipstage.documents.whole_files import write_new

        if not self.is_new:
            self.write(self.output, photo)
            return
        content = photo.encoded(self.output)  # Other names have the same ending.
        with self._reported():
            while not write_new(self.output, content):
                self.output = _free_name(photo, self.raw, self.preview)
        self.written.append(self.output)

    def write(self, path: Path, photo: Photograph) -> None:
        """Write a file whole or not at all; WorkError also names those that are there."""
        with self._reported():
            self.try_write(path, photo)

    @contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except (InputError, WorkError) as error:
            kept = ", ".join(str(each) for each in dict.fromkeys(self.written)) or "nothing"
            raise WorkError(f"{error}; written so far: {kept}") from None

    def try_write(self, path: Path, photo: Photograph) -> None:
        """Write a file whole or not at all; InputError or WorkError say why it is not written."""
        from dipstage.documents.whole_files import write_asked

        write_asked(path, photo.encoded(path))
        self.written.append(path)


def _free_name(photo: Photograph, *taken: Path | None) -> Path:
    """Return PHOTO-restored beside the photograph, or PHOTO-restored-2 and so on.

    taken: files that are yet to be written.
    """
    from dipstage.pictures.photographs import ENDINGS

    path = file_of_name(photo.name)
    ending = path.suffix if path.suffix.lower() in ENDINGS else ".png"
    reserved = [each.absolute() for each in taken if each is not None]
    for number in itertools.count(1):
        name = f"{path.stem}-restored" + (f"-{number}" if number > 1 else "")
        free = path.with_name(name + ending)
        if not os.path.lexists(free) and free.absolute() not in reserved:
            break  # Also for names that are too long.
    return free


_METHODS = ("non-local means", "wavelets")
_KINDS = {"PNG": "a PNG", "JPEG": "a JPEG", "TIFF": "a TIFF", "WEBP": "a WebP"}
