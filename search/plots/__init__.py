"""The figures of a run, each a function that returns a matplotlib figure.

They use no pyplot and leave matplotlib's settings as they were; `search.plots.style` has the two
styles. Each is imported when first used, as matplotlib takes its time.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
