"""A partition for each owner: what is in it, who sees it when, and how it goes."""

import pytest
from django.db import IntegrityError, connection, models, transaction

from explorer import partitions
from explorer.models import Activity, Context, Document, Examples, Feature, TokenIndex

pytestmark = pytest.mark.django_db


def document(owner: int, index: int) -> Document:
    return Document(corpus_id=owner, index=index, name=f"{owner}.{index}", n_tokens=9)


def tables(model: type[models.Model]) -> set[str]:
    """The partitions of a table."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [model._meta.db_table]
        )
        return {name for (name,) in cursor.fetchall()}


def column_types(table: str) -> dict[str, tuple[str, bool]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT attname, format_type(atttypid, atttypmod), attnotnull FROM pg_attribute "
            "WHERE attrelid = %s::regclass AND attnum > 0",
            [table],
        )
        return {name: (kind, required) for name, kind, required in cursor.fetchall()}


def filled(owner: int, n: int) -> None:
    """A partition of documents, without the help of what is tested but for its name and making."""
    table = partitions.make(Document, owner)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO {table} (corpus_id, index, name, n_tokens) "
            f"SELECT {owner}, i, '{owner}.' || i, 9 FROM generate_series(0, {n - 1}) i"
        )
    partitions.index(Document, owner)


def test_every_table_has_its_partitions_and_narrow_columns() -> None:
    assert set(partitions.OWNERS) == {Document, Context, Feature, Activity, Examples, TokenIndex}
    for model, owner in partitions.OWNERS.items():
        assert tables(model) == {f"{model._meta.db_table}_rest"}
        assert column_types(model._meta.db_table)[owner] == ("bigint", True)
        assert all(required for _, required in column_types(model._meta.db_table).values()), "sentinels, no nulls"
    reals = {name for name, (kind, _) in column_types("explorer_activity").items() if kind == "real"}
    assert reals == {"maximum", "mean", "deviation", "p99", "decoder_norm", "neighbour_cosine"}


def test_rows_are_seen_once_they_are_attached() -> None:
    filled(7, 3)
    assert not Document.objects.exists()
    partitions.attach([Document], 7)
    assert set(Document.objects.values_list("corpus", "index", "name")) == {(7, i, f"7.{i}") for i in range(3)}
    with pytest.raises(IntegrityError), transaction.atomic():
        document(7, 2).save(force_insert=True)


def test_dropping_leaves_other_owners_alone() -> None:
    for owner in (7, 77):
        filled(owner, 3)
        partitions.attach([Document], owner)
    Document.objects.bulk_create([document(8, 0), document(9, 0)])  # these go to the rest
    partitions.drop([Document], 7)
    partitions.drop([Document], 8)
    partitions.drop([Document], 1234)  # which never was
    assert sorted(Document.objects.values_list("corpus", flat=True)) == [9, 77, 77, 77]
    assert tables(Document) == {"explorer_document_rest", "explorer_document_77"}
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('explorer_document_7')")
        assert cursor.fetchone() == (None,)


def test_the_rest_is_spread_over_its_owners() -> None:
    """As after a restore, to which partitions are unknown."""
    filled(7, 3)
    partitions.attach([Document], 7)
    rows = [document(owner, index) for owner in (8, 9) for index in range(4)]
    Document.objects.bulk_create(rows)
    Feature.objects.create(sae_id=3, index=0, decoder_norm=1.5, encoder_cosine=0.5, packed=b"\0\xff")
    TokenIndex.objects.create(collection_id=4, block=5, packed=b"\0\xfe")
    before = set(Document.objects.values_list("corpus", "index", "name", "n_tokens"))
    partitions.spread()
    assert tables(Document) == {"explorer_document_rest", *(f"explorer_document_{owner}" for owner in (7, 8, 9))}
    assert set(Document.objects.values_list("corpus", "index", "name", "n_tokens")) == before
    assert bytes(Feature.objects.get(sae_id=3).packed) == b"\0\xff"
    assert bytes(TokenIndex.objects.get(collection_id=4).packed) == b"\0\xfe"
    with connection.cursor() as cursor:
        for model in partitions.OWNERS:
            cursor.execute(f"SELECT count(*) FROM {model._meta.db_table}_rest")
            assert cursor.fetchone() == (0,)
    partitions.spread()  # once more, with nothing to do
    partitions.drop([Document], 8)
    assert set(Document.objects.values_list("corpus", flat=True)) == {7, 9}


def test_a_page_reads_the_owners_partition_alone() -> None:
    filled(7, 3)
    partitions.attach([Document], 7)
    plan = Document.objects.filter(corpus=7, index=1).explain()
    assert "explorer_document_7" in plan
    assert "explorer_document_rest" not in plan
