"""Distributed search for better training schedules of staged Deep Image Prior."""

import warnings

import lazy_loader

# In a notebook tqdm, which Optuna and Ray import, asks for widgets that nothing here shows.
warnings.filterwarnings("ignore", message="IProgress not found")

# Names are imported when first used: `import search` must not wait for Ray.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
