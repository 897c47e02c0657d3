"""Run by score.py on its data folder: `open` makes a study and annotators, `count` says what was scored in it; what
there is stands in the last line."""

import json
import sys

import django


def main() -> None:
    django.setup()
    from benchmarks import score_rows

    what, numbers = sys.argv[1], [int(number) for number in sys.argv[2:]]
    print(json.dumps(score_rows.open_study(*numbers) if what == "open" else score_rows.count(*numbers)))


if __name__ == "__main__":
    main()
