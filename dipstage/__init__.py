"""Staged Deep Image Prior: train one picture through a schedule of noised targets, and score it."""

import lazy_loader

# Names are imported when first used: torch takes seconds to import, and `--help` needs none of it.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
