"""The key `task` of an experiment: any task of `dipstage.tasks`, as plain data."""

from __future__ import annotations

from typing import Annotated, Any, TypeAlias

from pydantic import PlainSerializer, PlainValidator

from dipstage.tasks.problem import Task
from dipstage.tasks.registry import plain_task, task_of


def _task(value: Any) -> Task:
    return task_of(value) if isinstance(value, dict) or not hasattr(value, "observe") else value


AnyTask: TypeAlias = Annotated[Task, PlainValidator(_task), PlainSerializer(plain_task)]
