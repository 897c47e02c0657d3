"""The finished study that the demo ships, taken along from a running demo where it was scored and closed:
`EXPLORER_DATA=FOLDER python -m demo.making.study STUDY`, by the number in its address."""

import gzip
import json
import sys
from pathlib import Path

import django

TO = Path(__file__).resolve().parent.parent / "study.json.gz"


def main() -> None:
    django.setup()
    from explorer.models import Study
    from explorer.queries.whole_studies import whole

    study = Study.objects.select_related("sae", "rubric").get(pk=int(sys.argv[1]))
    text = json.dumps(whole(study), ensure_ascii=False, separators=(",", ":"))
    TO.write_bytes(gzip.compress(text.encode(), mtime=0))


if __name__ == "__main__":
    main()
