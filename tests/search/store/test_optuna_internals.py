"""What `search.store.optuna_internals` uses of Optuna still exists."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from internals import is_private, lost_imports, private_attributes
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage

ADAPTER = Path(__file__).parents[3] / "search" / "store" / "optuna_internals.py"
HOOKS = {"_get_trials"}
"""Private methods of storages that Optuna's cache calls and that the adapter defines."""


def test_optuna_still_has_what_is_imported() -> None:
    assert not lost_imports(ADAPTER, "optuna"), (
        f"Optuna {optuna.__version__} moved {', '.join(lost_imports(ADAPTER, 'optuna'))}, which "
        "search/store/optuna_internals.py uses: change it there"
    )


def test_optuna_still_has_the_private_attributes(tmp_path: Path) -> None:
    study = optuna.create_study(storage=f"sqlite:///{tmp_path}/study.db")
    owners = [study, study.ask(), study._storage, RDBStorage]
    used = private_attributes(ADAPTER)
    assert {"_backend", "_storage", "_study_id", "_trial_id", *HOOKS} <= used
    lost = [name for name in used if not any(hasattr(owner, name) for owner in owners)]
    assert not lost, (
        f"Optuna {optuna.__version__} moved {', '.join(lost)}, which "
        "search/store/optuna_internals.py uses: change it there"
    )


@pytest.mark.parametrize("hook", sorted(HOOKS))
def test_optuna_s_cache_still_calls_the_hooks(hook: str) -> None:
    called = {
        name
        for method in vars(_CachedStorage).values()
        if hasattr(method, "__code__")
        for name in method.__code__.co_names
    }
    assert hook in called, (
        f"Optuna {optuna.__version__} no longer calls {hook} of a storage behind its cache, which "
        "search/store/optuna_internals.py relies on"
    )


def test_no_other_module_overrides_a_private_method_of_optuna_s_storage() -> None:
    from search.store.storage import PatientStorage

    methods = {name for name, value in vars(RDBStorage).items() if callable(value)}
    overridden = {name for name in methods & set(vars(PatientStorage)) if is_private(name)}
    assert not overridden, "give them a public name in search/store/optuna_internals.py"
