"""A hint to SQLite, which keeps no statistics, how often a condition holds; PostgreSQL knows by itself."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


class _Likelihood(GenericFunction[Any]):  # of no type: SQLite's hint must not become `likelihood(...) = 1`
    inherit_cache = True
    name = "likelihood"


@compiles(_Likelihood, "postgresql")
def _without_hint(element: _Likelihood, compiler: SQLCompiler, **options: Any) -> str:
    condition = next(iter(element.clauses))
    return f"({compiler.process(condition, **options)})"


def likely(condition: sa.ColumnElement[bool], probability: float) -> sa.ColumnElement[bool]:
    """Give the condition with the hint."""
    return _Likelihood(condition, sa.literal_column(f"{probability:.7f}"))
