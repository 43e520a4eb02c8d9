"""Curves and pictures as artifacts that are drawn when somebody looks at them."""

from __future__ import annotations

import io
import threading
import uuid
from collections import OrderedDict
from collections.abc import Callable
from typing import BinaryIO, NoReturn

from dipstage.errors import InputError, WorkError

_KEPT = 64
"""Drawings that are kept for the next look."""


class Drawings:
    """Optuna's `ArtifactStore`, which draws what it is asked for and stores nothing on disk."""

    def __init__(self) -> None:
        # Artifacts can be read by other pages of the same browser: nobody may guess their names.
        self._space = uuid.uuid4()
        self._offered: dict[str, Callable[[], bytes]] = {}
        self._drawn: OrderedDict[str, bytes] = OrderedDict()
        self._lock = threading.Lock()

    def offer(self, name: str, draw: Callable[[], bytes]) -> str:
        """The artifact's id, the same for the same name; what was drawn before is dropped."""
        identity = str(uuid.uuid5(self._space, name))
        with self._lock:
            self._offered[identity] = draw
            self._drawn.pop(identity, None)
        return identity

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """See `ArtifactStore`. One drawing at a time, which is as fast on few cores."""
        from optuna.artifacts.exceptions import ArtifactNotFound

        with self._lock:
            if artifact_id not in self._drawn:
                if artifact_id not in self._offered:
                    raise ArtifactNotFound(artifact_id)
                try:
                    self._drawn[artifact_id] = self._offered[artifact_id]()
                except (InputError, WorkError) as error:
                    raise ArtifactNotFound(str(error)) from None
                while len(self._drawn) > _KEPT:
                    self._drawn.popitem(last=False)
            self._drawn.move_to_end(artifact_id)
            return io.BytesIO(self._drawn[artifact_id])

    def write(self, artifact_id: str, content_body: BinaryIO) -> NoReturn:
        """Refused: the dashboard reads."""
        raise InputError("the dashboard only shows a study")

    def remove(self, artifact_id: str) -> NoReturn:
        """Refused: the dashboard reads."""
        raise InputError("the dashboard only shows a study")
