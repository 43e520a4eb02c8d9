"""Which files an output replaces."""

from pathlib import Path

import pytest

from dipstage.documents.whole_files import refuse_to_replace
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
