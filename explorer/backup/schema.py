"""Which tables there are after which migrations, as the migrations themselves say.

Not as this release's models say: a backup may come from an older release, or be taken before `up`
has migrated the database.
"""

from collections.abc import Iterable

from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from explorer.backup import Failed
from explorer.backup.manifest import Manifest, Migration

OF_MIGRATIONS = "django_migrations"  # written by migrating, so never copied


def models_after(loader: MigrationLoader, migrations: Iterable[Migration]) -> list[type[Model]]:
    """In the order of their tables; many-to-many tables have models too."""
    state = loader.project_state(sorted(migrations))
    found = state.apps.get_models(include_auto_created=True)
    owners = [model for model in found if model._meta.managed and not model._meta.proxy]
    return sorted(owners, key=lambda model: model._meta.db_table)


def columns(model: type[Model]) -> tuple[str, ...]:
    """Those that can be written to."""
    return tuple(field.column for field in model._meta.local_concrete_fields if field.column and not field.generated)


def primary_key(model: type[Model]) -> tuple[str, ...]:
    return tuple(field.column for field in model._meta.pk_fields if field.column)


def tables_of_ours(loader: MigrationLoader, migrations: Iterable[Migration]) -> set[str]:
    """What lies in a database after these migrations or after all."""
    after = (*models_after(loader, migrations), *models_after(loader, loader.graph.leaf_nodes()))
    return {OF_MIGRATIONS, *(model._meta.db_table for model in after)}


def refuse_unknown(loader: MigrationLoader, migrations: Iterable[Migration], where: str) -> None:
    unknown = sorted(set(migrations) - set(loader.graph.nodes))
    if unknown:
        raise Failed(
            f"{where} has migrations that this release does not know: {_listed(unknown)}. "
            f"Use the release that made them, or a later one."
        )


def refuse_unfit(loader: MigrationLoader, manifest: Manifest) -> list[type[Model]]:
    """The models whose rows the manifest lists, where it fits the migrations that it lists."""
    refuse_unknown(loader, manifest.migrations, "The archive")
    for migration in sorted(manifest.migrations):
        needed = {parent.key for parent in loader.graph.node_map[migration].parents}
        if missing := sorted(needed - manifest.migrations):
            raise Failed(f"The manifest lists {_listed([migration])} without {_listed(missing)}, which it needs")
    models = models_after(loader, manifest.migrations)
    if not models:
        raise Failed("The manifest lists no migrations that make a table")
    expected = {model._meta.db_table: set(columns(model)) for model in models}
    given = {each.table: set(each.columns) for each in manifest.tables}
    for table in sorted(expected.keys() | given.keys()):
        if table not in given:
            raise Failed(f"The manifest lacks the table {table}, which its migrations make")
        if table not in expected:
            raise Failed(f"The manifest lists a table {table!r}, which its migrations do not make")
        if given[table] != expected[table]:
            odd = sorted(given[table] ^ expected[table])[0]
            raise Failed(f"The manifest's columns of {table} are not those of its migrations: {odd!r}")
    return models


def _listed(migrations: list[Migration]) -> str:
    return ", ".join(repr(".".join(each)) for each in migrations[:5]) + (", …" if len(migrations) > 5 else "")
