"""What `benchmarks/serve.py` serves, and who looks at it; imported once Django is set up."""

import io
import random
import tempfile
from pathlib import Path

import numpy as np
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection
from django.test import Client

from benchmarks import load_rows, synthetic
from benchmarks.serve_addresses import WORDS
from explorer import artifacts, directions, vocabulary
from explorer.models import Label, Sae
from sae_core.array_files import Streamed, write_arrays

FIRINGS, LABELLED = 6, 10  # in a context; one of so many features
WIDTH, BLOCK = 768, 8192  # of the directions, as GPT-2's; rows drawn at a time


def fill(features: int) -> dict[str, str | int]:
    """How a viewer signs in, and what there is."""
    call_command("migrate", interactive=False, verbosity=0)
    call_command("collectstatic", interactive=False, verbosity=0)
    with tempfile.TemporaryDirectory(dir=settings.PLACES.data) as made:
        folder = Path(made)
        corpus = load_rows.corpus(synthetic.corpus(folder))
        collection = load_rows.collection(features, FIRINGS, corpus, synthetic.evidence(folder, features, FIRINGS))
        sae = collection.sae
        _directions(sae, folder)
    vocabulary_of(sae)
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
    return {"cookie": cookie, "sae": sae.slug, "lm": sae.lm.slug, "features": features}


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


def vocabulary_of(sae: Sae) -> None:
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
