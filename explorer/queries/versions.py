"""What tells one state of a page's data from another."""

from django.db import connection

# A plain statement, as it stands before every page that a browser has kept; asked through models, it would take as long
# as all else that such an answer needs.
OF_SAE = """
SELECT sae.id,
       (SELECT id FROM explorer_collection WHERE sae_id = sae.id ORDER BY id DESC LIMIT 1),
       (SELECT id FROM explorer_label WHERE sae_id = sae.id ORDER BY id DESC LIMIT 1)
FROM explorer_sae sae WHERE slug = %s
"""


def of_sae(slug: str) -> tuple[int, int | None, int | None] | None:
    """All that pages of an SAE's features depend on: itself, its newest collection, its newest label."""
    with connection.cursor() as cursor:
        cursor.execute(OF_SAE, [slug])
        found: tuple[int, int | None, int | None] | None = cursor.fetchone()
    return found
