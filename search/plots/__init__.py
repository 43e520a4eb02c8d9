"""The figures of a run. Each function returns a matplotlib figure.

The functions do not use pyplot and do not change matplotlib's settings; `search.plots.style`
defines the two styles. They are imported when first used, because importing matplotlib is slow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
