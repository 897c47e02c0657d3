"""From files to rows, by COPY: a corpus, and the evidence of an SAE read over one. Seen all at once, or never."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from django.contrib.auth.models import User
from django.db import OperationalError, connection, transaction
from django.utils.text import slugify
from numpy.typing import NDArray
from psycopg import sql
from psycopg.errors import LockNotAvailable

from explorer import artifacts, partitions
from explorer.actions import editions
from explorer.actions.collections import OF_COLLECTION, OF_CORPUS, forget_rows, forget_unnamed
from explorer.models import (
    Activity,
    Artifact,
    Collection,
    Context,
    Corpus,
    Document,
    Examples,
    Feature,
    Sae,
    TokenIndex,
)
from explorer.models.features import UNKNOWN
from explorer.plain import plain
from explorer.work import packing
from explorer.work.attempt import Attempt, Refused, Removed
from explorer.work.copying import copying, fixed, with_bytes
from explorer.work.opening import scratch
from explorer.work.token_index import Pairs
from sae_core import ArrayFile, open_corpus
from sae_core import Corpus as OpenedCorpus

FILES = ("corpus.json", "contexts.npy", "lengths.npy", "pieces.npy", "documents.jsonl", "document_starts.npy")
AT_ONCE = 4096  # contexts, or documents
TAKEN = {"add"}  # /saes/add/
TRIES, PAUSE = 200, 1.0  # to lock tables; seconds between two

OnRows = Callable[[int, int], None]  # rows done, of how many; what it raises undoes the load


def load_corpus(folder: Path, name: str, *, attempt: Attempt | None = None) -> Corpus:
    """The same ids are one corpus, however often they are brought."""
    opened = open_corpus(folder, check_hash=True)
    config = opened.config
    if known := Corpus.objects.filter(sha256=config.sha256).first():
        return known
    with new_artifacts() as put, transaction.atomic(), beside(attempt, "Contexts", "contexts") as on_rows:
        corpus = Corpus.objects.create(
            slug=free_slug(Corpus, name),
            name=plain(name)[:200],
            tokenizer=config.fingerprint or "",
            sha256=config.sha256,
            context_length=config.context_length,
            n_contexts=config.contexts,
            n_tokens=config.tokens,
            n_documents=config.documents,
            id_bytes=opened.contexts.dtype.itemsize,
            prepend_bos=config.prepend_bos,
            files={each: put(folder / each, each) for each in FILES},
        )
        with copying(partitions.make(Document, corpus.pk), ("corpus_id", "index", "n_tokens", "name")) as copy:
            for start in range(0, config.documents, AT_ONCE):
                for chunk in _documents(corpus, opened, start, min(start + AT_ONCE, config.documents)):
                    copy.write(chunk)
        with copying(partitions.make(Context, corpus.pk), ("corpus_id", "index", "ids", "pieces")) as copy:
            for start in range(0, config.contexts, AT_ONCE):
                for chunk in _contexts(corpus, opened, start, min(start + AT_ONCE, config.contexts)):
                    copy.write(chunk)
                on_rows(min(start + AT_ONCE, config.contexts), config.contexts)
        for model in OF_CORPUS:
            partitions.index(model, corpus.pk)
        _patiently(lambda: partitions.attach(OF_CORPUS, corpus.pk), lambda: on_rows(config.contexts, config.contexts))
        if attempt:
            attempt.hold()
    return corpus


def load_collection(
    sae: Sae, corpus: Corpus, evidence: Path, *, by: User | None = None, attempt: Attempt | None = None
) -> Collection:
    """In the place of an older one of the same two."""
    file = ArrayFile(evidence)
    if file.about["latents"] != sae.n_latents:
        raise Refused(f"The evidence is of {file.about['latents']} latents, and {sae} has {sae.n_latents}.")
    if file.about["top_k"] > packing.MOST_TOP_K:
        raise Refused(f"The evidence holds the top {file.about['top_k']}; rows can hold {packing.MOST_TOP_K}.")
    with new_artifacts() as put, transaction.atomic(), beside(attempt, "Rows", "features") as on_rows:
        _hold(sae, corpus)
        old = Collection.objects.filter(sae=sae, corpus=corpus).first()
        if old:
            Collection.objects.filter(pk=old.pk).delete()
        collection = Collection.objects.create(
            sae=sae,
            corpus=corpus,
            evidence_id=put(evidence, f"{sae.slug}.evidence.safetensors"),
            about=file.about,
            tokens=file.about["tokens"],
            masked=file.about["masked"],
            n_never_fired=int((file["n_fired"] == 0).sum()),
            created_by=by,
        )
        new = _load_features(sae, file, on_rows)
        _load_activity(collection, file)
        _load_examples(collection, file, on_rows)
        _load_token_index(collection, corpus, file)

        def show() -> None:
            partitions.attach(new, sae.pk)
            partitions.attach(OF_COLLECTION, collection.pk)
            if old:
                forget_rows(old)

        _patiently(show, lambda: on_rows(sae.n_latents, sae.n_latents))
        editions.of(sae.pk)
        if attempt:  # last, as the job's row waits for the transaction from here on, and its lease with it
            attempt.hold()
    return collection


def _hold(sae: Sae, corpus: Corpus) -> None:
    """Neither can be removed before the rows are there, and only one collection of an SAE is loaded at a time."""
    with connection.cursor() as cursor:
        for row in (sae, corpus):
            statement = sql.SQL("SELECT 1 FROM {} WHERE id = {} FOR KEY SHARE")
            cursor.execute(statement.format(sql.Identifier(row._meta.db_table), sql.Literal(row.pk)))
            if cursor.fetchone() is None:
                raise Removed(f"{row} has been removed.")
    partitions.alone(Feature, sae.pk)


def _patiently(work: Callable[[], None], check: Callable[[], None]) -> None:
    """For what takes whole tables for itself. A backup may read them for minutes; pages go on between two tries."""
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                partitions.give_up_soon()
                return work()
        except OperationalError as why:
            if not isinstance(why.__cause__, LockNotAvailable):
                raise
        check()
        time.sleep(PAUSE)
    raise Refused("The tables that this was to be loaded into are being read all the time, by a backup perhaps.")


def _load_features(sae: Sae, file: ArrayFile, on_rows: OnRows) -> tuple[type[Feature], ...]:
    """Once an SAE, whatever it is read over. What there is to attach."""
    if Feature.objects.filter(sae=sae).exists():
        return ()
    table = partitions.make(Feature, sae.pk)
    with copying(table, ("sae_id", "index", "decoder_norm", "encoder_cosine", "packed")) as copy:
        for first, stop in _blocks(sae.n_latents):
            numbers = _keys("sae_id", sae.pk, first, stop) | {
                "decoder_norm": file["decoder_norm"][first:stop],
                "encoder_cosine": file["encoder_cosine"][first:stop],
            }
            for chunk in with_bytes(numbers, packing.features(file, first, stop)):
                copy.write(chunk)
            on_rows(first, sae.n_latents)
    partitions.index(Feature, sae.pk)
    return (Feature,)


def _load_activity(collection: Collection, file: ArrayFile) -> None:
    table, n = partitions.make(Activity, collection.pk), int(file.about["latents"])
    columns = (
        "collection_id", "index", "n_fired", "n_contexts", "n_documents", "maximum", "mean", "deviation", "p99",
        "decoder_norm", "neighbour_cosine", "top_token",
    )  # fmt: skip
    with copying(table, columns) as copy:
        for first, stop in _blocks(n):
            some = slice(first, stop)
            fired = np.maximum(file["n_fired"][some], 1)
            mean = file["sum_act"][some] / fired
            variance = np.maximum(file["sum_sq_act"][some] / fired - mean**2, 0)
            near = file["neighbour_cosine"][some, 0] if file["neighbour_cosine"].shape[1] else UNKNOWN
            top = file["logit_top_id"][some, 0] if "logit_top_id" in file else np.full(stop - first, -1)
            numbers = _keys("collection_id", collection.pk, first, stop) | {
                "n_fired": file["n_fired"][some],
                "n_contexts": file["n_contexts"][some].astype(np.int32),
                "n_documents": file["n_documents"][some].astype(np.int32),
                "maximum": file["max_act"][some],
                "mean": mean.astype(np.float32),
                "deviation": np.sqrt(variance).astype(np.float32),
                "p99": file["p99_act"][some],
                "decoder_norm": file["decoder_norm"][some],
                "neighbour_cosine": np.asarray(near, np.float32),
                "top_token": top.astype(np.int32),
            }
            copy.write(fixed({name: np.asarray(numbers[name]) for name in columns}))
    partitions.index(Activity, collection.pk)


def _load_examples(collection: Collection, file: ArrayFile, on_rows: OnRows) -> None:
    table, n = partitions.make(Examples, collection.pk), int(file.about["latents"])
    with copying(table, ("collection_id", "index", "packed")) as copy:
        for first, stop in _blocks(n):
            for chunk in with_bytes(
                _keys("collection_id", collection.pk, first, stop), packing.examples(file, first, stop)
            ):
                copy.write(chunk)
            on_rows(stop, n)
    partitions.index(Examples, collection.pk)


def _load_token_index(collection: Collection, corpus: Corpus, file: ArrayFile) -> None:
    contexts = np.lib.format.open_memmap(artifacts.path(corpus.files["contexts.npy"]), mode="r")
    with scratch() as folder, closing(Pairs(folder, collection.sae.n_latents)) as pairs:
        for first, stop in _blocks(int(file.about["latents"])):
            context, position = (np.asarray(file[f"top_{each}"][first:stop]) for each in ("context", "position"))
            there = context >= 0
            features = np.broadcast_to(np.arange(first, stop)[:, None], context.shape)[there]
            pairs.add(np.asarray(contexts[context[there], position[there]]).astype(np.int64), features)
        table = partitions.make(TokenIndex, collection.pk)
        with copying(table, ("collection_id", "block", "packed")) as copy:
            for blocks, packed in pairs.rows():
                owners = np.full(len(blocks), collection.pk, np.int64)
                for chunk in with_bytes({"collection_id": owners, "block": blocks}, packed):
                    copy.write(chunk)
    partitions.index(TokenIndex, collection.pk)


def _documents(corpus: Corpus, opened: OpenedCorpus, first: int, stop: int) -> Iterator[bytes]:
    rows = [opened.document(index) for index in range(first, stop)]
    numbers = _keys("corpus_id", corpus.pk, first, stop) | {
        "n_tokens": np.array([row.tokens for row in rows], np.int64)
    }
    return with_bytes(numbers, (plain(row.name).encode() for row in rows))


def _contexts(corpus: Corpus, opened: OpenedCorpus, first: int, stop: int) -> Iterator[bytes]:
    """Ids without padding, and where in each context a document's tokens begin."""
    ids = np.asarray(opened.contexts[first:stop])
    ids = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    lengths = opened.lengths[first:stop].tolist()
    pieces = opened.pieces
    low, high = np.searchsorted(pieces[:, 0], [first, stop])
    some = np.asarray(pieces[low:high])
    bounds = np.searchsorted(some[:, 0], np.arange(first, stop + 1)).tolist()
    triples = some[:, 1:].astype("<i4")
    strings = (
        (ids[row, : lengths[row]].tobytes(), triples[bounds[row] : bounds[row + 1]].tobytes())
        for row in range(stop - first)
    )
    return with_bytes(_keys("corpus_id", corpus.pk, first, stop), strings)


def _keys(owner: str, pk: int, first: int, stop: int) -> dict[str, NDArray[Any]]:
    return {owner: np.full(stop - first, pk, np.int64), "index": np.arange(first, stop, dtype=np.int32)}


def _blocks(n: int) -> Iterator[tuple[int, int]]:
    for first in range(0, n, packing.BLOCK):
        yield first, min(first + packing.BLOCK, n)


def free_slug(model: Any, name: str) -> str:
    """Readable, nobody else's, and no address of ours."""
    wanted = slugify(name)[:70] or model._meta.model_name
    slug, number = wanted, 1
    while slug in TAKEN or model.objects.filter(slug=slug).exists():
        number += 1
        slug = f"{wanted}-{number}"
    return slug


@contextmanager
def new_artifacts() -> Iterator[Callable[[Path, str], str]]:
    """Keeps files as artifacts; those that are new are forgotten where what needs them fails."""
    new: list[str] = []

    def put(path: Path, name: str) -> str:
        with path.open("rb") as file:
            sha256, _ = artifacts.digest(file)
            if not Artifact.objects.filter(pk=sha256).exists():
                new.append(sha256)
            file.seek(0)
            return artifacts.put(file, name=name).sha256

    try:
        yield put
    except BaseException:
        forget_unnamed(new)
        raise


def _close() -> None:
    connection.close()  # of the thread that calls this


@contextmanager
def beside(attempt: Attempt | None, message: str, unit: str) -> Iterator[OnRows]:
    """Progress from within a long transaction, by another thread's connection: written by this one, it would lock the
    job's row until the end, and nobody could renew its lease."""
    if attempt is None:
        yield lambda done, total: None
        return
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="reporting") as thread:

        def on_rows(done: int, total: int) -> None:
            thread.submit(attempt.report, done=done, total=total, unit=unit, message=message).result()

        try:
            yield on_rows
        finally:
            thread.submit(_close).result()
