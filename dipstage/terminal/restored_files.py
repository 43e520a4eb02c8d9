"""The files that `dipstage restore` writes, checked before it trains."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from dipstage.errors import InputError, WorkError

if TYPE_CHECKING:
    from dipstage.pictures.photographs import Photograph


@dataclass(frozen=True, slots=True)
class Files:
    """The files that are written, all of which were checked before the training."""

    output: Path
    raw: Path | None
    preview: Path | None
    compared: dict[str, Path]
    written: list[Path] = field(default_factory=list)

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
        from dipstage.documents.whole_files import refuse_same, refuse_unwritable
        from dipstage.pictures.images import expand_path, split_options
        from dipstage.pictures.photographs import ENDINGS

        if output is None:
            path = Path(expand_path(split_options(photo.name)[0]))
            ending = path.suffix if path.suffix.lower() in ENDINGS else ".png"
            output, number = path.with_name(f"{path.stem}-restored{ending}"), 1
            while os.path.exists(output):  # False for names that are too long.
                number += 1
                output = path.with_name(f"{path.stem}-restored-{number}{ending}")
        named = {"--output": output, "--output-raw": raw, "--preview": preview}
        named = {option: path and path.expanduser() for option, path in named.items()}
        paths = {option: path for option, path in named.items() if path is not None}
        compared = {}
        if compare:
            base = paths["--output"]
            for name in ("non-local means", "wavelets"):
                ending = name.replace(" ", "-")
                compared[name] = base.with_name(f"{base.stem}-{ending}{base.suffix}")
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
        return cls(paths["--output"], named["--output-raw"], named["--preview"], compared)

    def refuse_inputs(self, *inputs: str | None) -> None:
        """Raise InputError if an input, or what no restoration wrote, would be overwritten."""
        from dipstage.documents.whole_files import refuse_to_replace
        from dipstage.pictures.images import expand_path, split_options
        from dipstage.pictures.photographs import ENDINGS, SIGNED

        outputs = [self.output, self.raw, self.preview, *self.compared.values()]
        for given in filter(None, inputs):
            source = Path(expand_path(split_options(given)[0]))
            for path in outputs:
                if path and path.exists() and source.exists() and path.samefile(source):
                    raise InputError(f"{given} would be overwritten: choose another output")
        for path in filter(None, outputs):
            refuse_to_replace(path, _KINDS[ENDINGS[path.suffix.lower()]], SIGNED.encode())

    def write(self, path: Path, photo: Photograph) -> None:
        """Write a file whole or not at all; WorkError also names those that are there."""
        try:
            self.try_write(path, photo)
        except (InputError, WorkError) as error:
            kept = ", ".join(str(each) for each in dict.fromkeys(self.written)) or "nothing"
            raise WorkError(f"{error}; written so far: {kept}") from None

    def try_write(self, path: Path, photo: Photograph) -> None:
        """Write a file whole or not at all; InputError or WorkError say why it is not written."""
        from dipstage.documents.whole_files import write_asked

        write_asked(path, photo.encoded(path))
        self.written.append(path)


_KINDS = {"PNG": "a PNG", "JPEG": "a JPEG", "TIFF": "a TIFF", "WEBP": "a WebP"}
