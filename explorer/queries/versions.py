"""What tells one state of a page's data from another."""

from django.db import connection

# A plain statement, as it stands before every page that a browser has kept; asked through models, it would take as long
# as all else that such an answer needs.
OF_SAE = "SELECT id, edition FROM explorer_sae WHERE slug = %s"


def of_sae(slug: str) -> tuple[int, int] | None:
    """All that pages of an SAE's features depend on."""
    with connection.cursor() as cursor:
        cursor.execute(OF_SAE, [slug])
        found: tuple[int, int] | None = cursor.fetchone()
    return found
