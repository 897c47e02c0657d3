"""Run by serve.py in its data folder: fills the site, and says in its last line what there is."""

import json
import sys

import django


def main() -> None:
    django.setup()
    from benchmarks import serve_rows

    print(json.dumps(serve_rows.fill(int(sys.argv[1]))))


if __name__ == "__main__":
    main()
