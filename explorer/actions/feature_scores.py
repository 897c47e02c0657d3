"""What features are scored, where pages of them look for it."""

from django.db import connection

from explorer.actions import editions
from explorer.models import Study

# Of each feature the newest study that shows its scores: totals by different rubrics have no mean. What no study shows
# any more goes.
REFRESH = """
WITH scored AS (
    SELECT DISTINCT ON (subject.index)
        subject.index, study.id AS study_id, avg(score.total) AS mean, count(*) AS n,
        count(*) FILTER (WHERE score.total > rubric.line) AS above
    FROM explorer_study study
    JOIN explorer_rubric rubric ON rubric.id = study.rubric_id
    JOIN explorer_subject subject ON subject.study_id = study.id
    JOIN explorer_item item ON item.subject_id = subject.id
    JOIN explorer_score score ON score.item_id = item.id
    WHERE study.sae_id = %(sae)s AND study.shown AND study.state = 'closed' AND NOT study.going
      AND subject.kind = 'feature' AND subject.sae_id = %(sae)s AND score.current
    GROUP BY subject.index, study.id
    ORDER BY subject.index, study.id DESC
), gone AS (
    DELETE FROM explorer_featurescore found
    WHERE found.sae_id = %(sae)s AND NOT EXISTS (SELECT FROM scored WHERE scored.index = found.index)
)
INSERT INTO explorer_featurescore (sae_id, index, study_id, mean, n, above)
SELECT %(sae)s, index, study_id, mean, n, above FROM scored
ON CONFLICT (sae_id, index) DO UPDATE
SET study_id = EXCLUDED.study_id, mean = EXCLUDED.mean, n = EXCLUDED.n, above = EXCLUDED.above
"""


def refresh(sae_id: int) -> None:
    """Of an SAE one of whose studies is shown from now on, or no longer. Within the transaction that makes it so."""
    editions.of(sae_id)  # two at once are one after the other
    with connection.cursor() as cursor:
        cursor.execute(REFRESH, {"sae": sae_id})


def changed(study: Study) -> None:
    """That its scores are others now."""
    if study.shown:
        refresh(study.sae_id)
