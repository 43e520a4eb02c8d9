"""Distributed search for better training schedules of staged Deep Image Prior."""

import importlib
import warnings

import lazy_loader

try:
    importlib.import_module("dipstage.errors")
except ModuleNotFoundError as error:
    if error.name != "dipstage.errors":
        raise
    hiding = importlib.import_module("dipstage").__file__
    raise ImportError(f"{hiding} hides the package dipstage: rename or move that file") from None

# In a notebook tqdm, which Optuna and Ray import, asks for widgets that nothing here shows.
warnings.filterwarnings("ignore", message="IProgress not found")

# Names are imported when first used: `import search` must not wait for Ray.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
