"""Run by map.py in its data folder: makes the maps, and says in its last line where they are."""

import json
import sys

import django


def main() -> None:
    django.setup()
    from benchmarks import map_rows

    print(json.dumps(map_rows.fill([int(each) for each in sys.argv[1:]])))


if __name__ == "__main__":
    main()
