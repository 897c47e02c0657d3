"""Tables that have a partition for each owner: made, filled and indexed before anybody sees it, and dropped whole.

Rows that came with a restored backup lie in the rest, until they are spread.
"""

from collections.abc import Iterable

from django.db import connection
from django.db.models import Model
from psycopg import sql

from explorer.models import Activity, Context, Document, Examples, Feature, TokenIndex

OWNERS: dict[type[Model], str] = {
    Document: "corpus_id",
    Context: "corpus_id",
    Feature: "sae_id",
    Activity: "collection_id",
    Examples: "collection_id",
    TokenIndex: "collection_id",
}
# How long taking away waits for whoever reads or loads, while all who come later wait for it.
PATIENCE = "2s"


def tables() -> list[str]:
    """Those that have partitions, in a database that may be of an older release."""
    there = set(connection.introspection.table_names())
    return sorted(table for model in OWNERS if (table := model._meta.db_table) in there)


def name(model: type[Model], owner: int) -> str:
    return f"{model._meta.db_table}_{owner:d}"


def make(model: type[Model], owner: int) -> str:
    """An empty table, which nobody sees as a part of the whole yet."""
    table = name(model, owner)
    _execute(
        sql.SQL("CREATE TABLE {} (LIKE {} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)").format(
            sql.Identifier(table), _parent(model)
        )
    )
    for field in model._meta.local_concrete_fields:
        if field.get_internal_type() == "BinaryField":  # what is packed does not become shorter by compressing it
            _execute(
                sql.SQL("ALTER TABLE {} ALTER {} SET STORAGE EXTERNAL").format(
                    sql.Identifier(table), sql.Identifier(str(field.column))
                )
            )
    return table


def index(model: type[Model], owner: int) -> None:
    """Of a table that has been filled; and what spares looking at every row when it is attached."""
    table, key = name(model, owner), [field.column for field in model._meta.pk_fields if field.column]
    _execute(
        sql.SQL("ALTER TABLE {} ADD PRIMARY KEY ({}), ADD CHECK ({} = {})").format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, key)),
            sql.Identifier(OWNERS[model]),
            sql.Literal(owner),
        )
    )
    column = {field.name: str(field.column) for field in model._meta.local_concrete_fields}
    for each in model._meta.indexes:  # attaching takes them for the whole's, and would make them while all wait
        columns = [column[field] for field in each.fields]
        _execute(
            sql.SQL("CREATE INDEX ON {} ({})").format(
                sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, columns))
            )
        )
    _execute(sql.SQL("ANALYZE {}").format(sql.Identifier(table)))  # else the first to ask get plans made blindly


def attach(models: Iterable[type[Model]], owner: int) -> None:
    """Makes indexed tables parts of the whole, seen when the transaction commits; last in it, as whoever reads all of
    a table waits from here on."""
    for model in models:
        _execute(
            sql.SQL("ALTER TABLE {} ATTACH PARTITION {} FOR VALUES IN ({})").format(
                _parent(model), sql.Identifier(name(model, owner)), sql.Literal(owner)
            )
        )


def give_up_soon() -> None:
    """For a transaction that takes away: where somebody reads or loads for long, it fails with LockNotAvailable."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [PATIENCE])


def alone(model: type[Model], owner: int) -> None:
    """Until the transaction ends, others that say so wait: two that make the same table cannot both attach it."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [name(model, owner)])


def drop(models: Iterable[type[Model]], owner: int) -> None:
    """All rows of an owner. Nobody reads these tables, whoever's rows, from here on until the transaction ends."""
    for model in models:
        _execute(sql.SQL("DROP TABLE IF EXISTS {}").format(sql.Identifier(name(model, owner))))
        _execute(
            sql.SQL("DELETE FROM {} WHERE {} = {}").format(
                sql.Identifier(f"{model._meta.db_table}_rest"), sql.Identifier(OWNERS[model]), sql.Literal(owner)
            )
        )


def spread() -> None:
    """Gives the rows of the rest to partitions of their owners, as a restored backup needs."""
    for model, owner_column in OWNERS.items():
        rest, column = sql.Identifier(f"{model._meta.db_table}_rest"), sql.Identifier(owner_column)
        with connection.cursor() as cursor:
            cursor.execute(sql.SQL("SELECT DISTINCT {} FROM {} ORDER BY 1").format(column, rest))
            owners = [owner for (owner,) in cursor.fetchall()]
        columns = sql.SQL(", ").join(
            sql.Identifier(str(field.column)) for field in model._meta.local_concrete_fields if field.column
        )
        for owner in owners:
            table = make(model, owner)
            _execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE {} = {}").format(
                    sql.Identifier(table), columns, columns, rest, column, sql.Literal(owner)
                )
            )
            index(model, owner)
        _execute(sql.SQL("TRUNCATE {}").format(rest))
        for owner in owners:
            attach([model], owner)


def _parent(model: type[Model]) -> sql.Identifier:
    return sql.Identifier(model._meta.db_table)


def _execute(statement: sql.Composed) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)
