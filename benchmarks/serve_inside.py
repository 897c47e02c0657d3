"""Run by serve.py in its data folder: fills the site, and says how a viewer signs in and what there is."""

import io
import json
import random
import sys
import tempfile
from pathlib import Path

import django
import numpy as np

django.setup()

from django.conf import settings  # noqa: E402  these need the apps to be ready
from django.contrib.auth.models import User  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.db import connection  # noqa: E402
from django.test import Client  # noqa: E402

from benchmarks import load_rows, synthetic  # noqa: E402
from benchmarks.serve_addresses import WORDS  # noqa: E402
from explorer import artifacts, directions, vocabulary  # noqa: E402
from explorer.models import Label, Sae  # noqa: E402
from sae_core.array_files import Streamed, write_arrays  # noqa: E402

FIRINGS, LABELLED = 6, 10  # in a context; one of so many features
WIDTH, BLOCK = 768, 8192  # of the directions, as GPT-2's; rows drawn at a time


def main() -> None:
    features = int(sys.argv[1])
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    with tempfile.TemporaryDirectory(dir=settings.PLACES.data) as made:
        folder = Path(made)
        corpus = load_rows.corpus(synthetic.corpus(folder))
        collection = load_rows.collection(features, FIRINGS, corpus, synthetic.evidence(folder, features, FIRINGS))
        sae = collection.sae
        _directions(sae, folder)
    _vocabulary(sae)
    _labels(sae)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    client = Client()
    client.force_login(User.objects.create_user("viewer"))
    cookies = {
        settings.SESSION_COOKIE_NAME: client.cookies[settings.SESSION_COOKIE_NAME].value,
        settings.CSRF_COOKIE_NAME: "a" * 32,  # a browser has one from its first page on
    }
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    print(json.dumps({"cookie": cookie, "sae": sae.slug, "lm": sae.lm.slug, "features": features}))


def _directions(sae: Sae, folder: Path) -> None:
    """Random ones, and an unembedding that reads the stream they are written to."""
    about = {"in_stream": [sae.hookpoint], "silent": []}
    _write(folder / "sae", "W_dec", sae.n_latents, {})
    _write(folder / "lm", directions.UNEMBEDDING, synthetic.N_VOCAB, about)
    with (folder / "sae").open("rb") as weights, (folder / "lm").open("rb") as unembedding:
        sae.weights = artifacts.put(weights, name="weights")
        sae.lm.unembedding = artifacts.put(unembedding, name="unembedding")
    sae.d_in = sae.d_out = WIDTH
    sae.save()
    sae.lm.save()


def _write(path: Path, name: str, rows: int, about: dict[str, list[str]]) -> None:
    rng, drawn = np.random.default_rng(4), path.with_suffix(".drawn")
    with drawn.open("wb") as file:
        for first in range(0, rows, BLOCK):
            file.write(rng.standard_normal((min(BLOCK, rows - first), WIDTH), np.float32).tobytes())
    write_arrays(path, {name: Streamed(np.dtype(np.float32), (rows, WIDTH), drawn)}, about)
    drawn.unlink()


def _vocabulary(sae: Sae) -> None:
    """Words of GPT-2's length, most with a blank before them."""
    dice = random.Random(2)
    letters = "etaoinshrdlucmfwypvbgkjqxz"
    words = [
        (" " * (dice.random() < 0.7) + "".join(dice.choices(letters, k=dice.randint(1, 9)))).encode()
        for _ in range(synthetic.N_VOCAB)
    ]
    sae.lm.vocabulary = artifacts.put(io.BytesIO(vocabulary.write(words, [])), name="vocabulary")
    sae.lm.save()


def _labels(sae: Sae) -> None:
    dice = random.Random(3)
    Label.objects.bulk_create(
        [
            Label(sae=sae, index=index, text=" ".join(dice.choices(WORDS, k=4)))
            for index in range(0, sae.n_latents, LABELLED)
        ],
        batch_size=5000,
    )


if __name__ == "__main__":
    main()
