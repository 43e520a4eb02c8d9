"""Which files an output replaces."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest

from dipstage.documents.whole_files import refuse_to_replace, write_new
from dipstage.errors import InputError

TRIALS = b"trial,state,kind,psnr,steps,seconds\n1,complete,staged,27,300,4\n"
FRONT = b"on_front,trial,kind,psnr,steps,seconds\ntrue,1,staged,27,300,4\n"


@pytest.mark.parametrize(("old", "new"), [(TRIALS, FRONT), (FRONT, TRIALS)])
def test_a_table_of_another_command_is_kept(tmp_path: Path, old: bytes, new: bytes) -> None:
    """Although they share most columns."""
    path = tmp_path / "table.csv"
    path.write_bytes(old)
    with pytest.raises(InputError, match="a CSV table that this command has not written"):
        refuse_to_replace(path, "a CSV table", new)
    refuse_to_replace(path, "a CSV table", old.replace(b",seconds", b",seconds,ssim"))


@pytest.mark.parametrize("has_links", [True, False])
def test_a_new_file_replaces_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    if not has_links:  # As on exFAT.
        monkeypatch.setattr("os.link", raises(PermissionError(errno.EPERM, "Not permitted")))
    path = tmp_path / "new.png"
    assert write_new(path, b"first")
    assert not write_new(path, b"second")
    (tmp_path / "link.png").symlink_to("nothing.png")
    assert not write_new(tmp_path / "link.png", b"third")
    assert path.read_bytes() == b"first"
    assert {each.name for each in tmp_path.iterdir()} == {"new.png", "link.png"}
    with pytest.raises(InputError, match=r"cannot be written: the folder .*no does not exist"):
        write_new(tmp_path / "no" / "new.png", b"")


def raises(error: OSError) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail
