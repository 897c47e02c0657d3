"""Makes the demo's bundle, this folder, from text that ships with packages: `python demo/make.py --work FOLDER`.

One to two hours on two CPU cores. Each stage leaves what it made and is not done again, unless it is named: `python
demo/make.py --work FOLDER lms/deep` trains that lm anew, and nothing that comes after it.
"""

import argparse
from collections.abc import Callable
from functools import partial
from pathlib import Path

from making import lms, report, saes, text

DEMO = Path(__file__).resolve().parent
Stage = Callable[[Path, Path], None]  # of the work folder and the bundle's
STAGES: dict[str, Stage] = {
    "text": text.make_text,
    "tokenizer": lms.make_tokenizer,
    "corpora": lms.make_corpora,
    **{f"lms/{name}": partial(lms.make_lm, name) for name in lms.RECIPES},
    "lms/one-layer-untrained": lms.make_twin,
    **{f"saes/{name}": partial(saes.make_saes, name) for name in saes.GROUPS},
    **{f"scores/{name}": partial(report.score, name) for name in saes.GROUPS},
    "readme": report.write_readme,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder for what does not go into the bundle, 1 GB")
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], metavar="STAGE", help=", ".join(STAGES))
    given = parser.parse_args()
    done = given.work / "done"
    done.mkdir(parents=True, exist_ok=True)
    for name, stage in STAGES.items():
        mark = done / name.replace("/", "-")
        if name in given.stages if given.stages else not mark.exists():
            print(f"== {name}", flush=True)
            stage(given.work, DEMO)
            mark.touch()


if __name__ == "__main__":
    main()
