"""Database files as each released schema left them, made anew from the dumps in `tests/data`."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

from pysqlite3 import dbapi2 as sqlite3

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = tuple(sorted(path.stem for path in DATA.glob("*.sql")))


def make(schema: str, db: Path) -> None:
    """Write the file of a schema."""
    with closing(sqlite3.connect(db)) as connection:
        connection.executescript((DATA / f"{schema}.sql").read_text())
