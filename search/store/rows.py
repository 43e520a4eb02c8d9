"""Optuna's trials as database rows, read and written by a few plain SQL statements.

This is faster than Optuna's own storage, which makes an object of every row that it reads and
queries the database twice for every row that it writes.
"""

from __future__ import annotations

import functools
import json
from collections import defaultdict
from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any

from optuna.distributions import distribution_to_json, json_to_distribution
from optuna.trial import FrozenTrial
from sqlalchemy import Connection, Select, func, insert, select, text

from search.store.optuna_internals import SCHEMA, models

_trials, _params, _values, _steps, _user, _system = (
    model.__table__
    for model in (
        models.TrialModel,
        models.TrialParamModel,
        models.TrialValueModel,
        models.TrialIntermediateValueModel,
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
    )
)
_distribution = functools.lru_cache(maxsize=1000)(json_to_distribution)


def is_known(connection: Connection) -> bool:
    """Return whether the tables have the schema that this module supports."""
    found = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return bool(found == SCHEMA)


def read_trials(
    connection: Connection, study_id: int, after: int, besides: Collection[int]
) -> list[FrozenTrial]:
    """Read a study's trials whose id is above `after` or in `besides`, ordered by id.

    The result equals what `RDBStorage` returns, except that equal distributions are one
    shared object.
    """
    wanted = _trials.c.study_id == study_id
    if after > -1:
        newer = _trials.c.trial_id > after
        wanted &= newer | _trials.c.trial_id.in_(besides) if besides else newer
    # Trials are read first: those that have ended do not change while the rest is read.
    trials = connection.execute(select(_trials).where(wanted).order_by(_trials.c.trial_id)).all()

    def rows(table: Any, *columns: str) -> Select[Any]:
        chosen = select(table.c.trial_id, *(table.c[name] for name in columns))
        return chosen.join(_trials).where(wanted)

    params, distributions, values, steps, user, system = (
        defaultdict[int, dict[Any, Any]](dict) for _ in range(6)
    )
    query = rows(_params, "param_name", "param_value", "distribution_json")
    for trial, name, value, distribution_json in connection.execute(
        query.order_by(_params.c.param_id)
    ):
        distribution = distributions[trial][name] = _distribution(distribution_json)
        params[trial][name] = distribution.to_external_repr(value)
    for trial, objective, value, kind in connection.execute(
        rows(_values, "objective", "value", "value_type")
    ):
        values[trial][objective] = models.TrialValueModel.stored_repr_to_value(value, kind)
    for trial, step, value, kind in connection.execute(
        rows(_steps, "step", "intermediate_value", "intermediate_value_type")
    ):
        model = models.TrialIntermediateValueModel
        steps[trial][step] = model.stored_repr_to_intermediate_value(value, kind)
    for table, found in ((_user, user), (_system, system)):
        query = rows(table, "key", "value_json").order_by(table.c.trial_id, table.c.key)
        for trial, key, value in connection.execute(query):
            found[trial][key] = json.loads(value)
    return [
        FrozenTrial(
            number=trial.number,
            state=trial.state,
            value=None,
            values=[values[i][k] for k in sorted(values[i])] if i in values else None,
            datetime_start=_local(trial.datetime_start),
            datetime_complete=_local(trial.datetime_complete),
            params=params[i],
            distributions=distributions[i],
            user_attrs=user[i],
            system_attrs=system[i],
            intermediate_values=steps[i],
            trial_id=i,
        )
        for trial in trials
        for i in (trial.trial_id,)
    ]


def write_trial(connection: Connection, study_id: int, content: FrozenTrial) -> tuple[int, int]:
    """Insert a running trial; return its number and id.

    Writes the same rows as Optuna's storage. The caller must be the only writer of the study,
    because the new trial's number is the number of trials before it.
    """
    count = select(func.count()).select_from(_trials).where(_trials.c.study_id == study_id)
    number = int(connection.scalar(count) or 0)
    started = content.datetime_start
    trial = connection.execute(
        insert(_trials).values(
            study_id=study_id,
            number=number,
            state=content.state,
            datetime_start=started and started.astimezone(UTC).replace(tzinfo=None),
        )
    ).inserted_primary_key
    assert trial is not None
    params = [
        {
            "trial_id": trial[0],
            "param_name": name,
            "param_value": distribution.to_internal_repr(content.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        for name, distribution in content.distributions.items()
    ]
    for table, rows in (
        (_params, params),
        (_user, _attributes(trial[0], content.user_attrs)),
        (_system, _attributes(trial[0], content.system_attrs)),
    ):
        if rows:
            connection.execute(insert(table), rows)
    return number, trial[0]


def _attributes(trial_id: int, content: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"trial_id": trial_id, "key": key, "value_json": json.dumps(value)}
        for key, value in content.items()
    ]


def _local(utc: datetime | None) -> datetime | None:
    if utc is None:
        return None
    if not 1970 < utc.year < 9999:  # Beyond, no time zone can be applied.
        raise ValueError(f"a trial's time is {utc}")
    return utc.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)
