"""What is explored: language models, text, SAEs."""

from typing import TYPE_CHECKING

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from explorer.models.artifacts import Artifact

if TYPE_CHECKING:
    from explorer.models.features import Collection
    from explorer.models.maps import FeatureMap


class LanguageModel(models.Model):
    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    source = models.CharField(max_length=1000)  # a folder that workers see, or an id of the hub
    fingerprint = models.CharField(max_length=64, unique=True)  # of its weights, wherever they lie
    kind = models.CharField(max_length=64)  # as transformers calls it
    n_layers = models.PositiveIntegerField()
    d_model = models.PositiveIntegerField()
    n_vocab = models.PositiveIntegerField()
    mask_ids = models.JSONField(default=list)  # which do not count unless somebody says otherwise
    tokenizer = models.CharField(max_length=64, blank=True)  # its fingerprint; empty where there is none
    vocabulary = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT, related_name="+")  # vocabulary.py
    # What logits are read with, for searches over all features: work/unembedding.py; null: not made yet
    unembedding = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Corpus(models.Model):
    """Text, cut into contexts of token ids. Its files are those of sae_core.corpus."""

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    tokenizer = models.CharField(max_length=64, blank=True)  # the fingerprint of that which made its ids
    sha256 = models.CharField(max_length=64, unique=True)  # of its ids
    context_length = models.PositiveIntegerField()
    n_contexts = models.PositiveIntegerField()
    n_tokens = models.BigIntegerField()
    n_documents = models.PositiveIntegerField()
    id_bytes = models.PositiveSmallIntegerField()  # of an id in Context.ids: 2 or 4
    prepend_bos = models.BooleanField()
    files = models.JSONField()  # name: sha256, each an artifact
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return self.name


class Document(models.Model):
    """A partition for each corpus (partitions.py), so nothing but the corpus's own rows is touched when it goes."""

    pk = models.CompositePrimaryKey("corpus_id", "index")
    corpus = models.ForeignKey(
        Corpus, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    index = models.IntegerField()
    name = models.TextField()
    n_tokens = models.BigIntegerField()

    def __str__(self) -> str:
        return self.name


class Context(models.Model):
    """One window of a corpus. A partition for each corpus."""

    pk = models.CompositePrimaryKey("corpus_id", "index")
    corpus = models.ForeignKey(
        Corpus, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    index = models.IntegerField()
    ids = models.BinaryField()  # little-endian, Corpus.id_bytes each, without padding
    pieces = models.BinaryField()  # int32 triples: position, document, offset of that token in the document

    def __str__(self) -> str:
        return f"context {self.index}"


class Sae(models.Model):
    collection: "Collection | None"  # the newest, which pages show; queries.library attaches it
    newest_map: "FeatureMap | None"  # likewise, for pages that only read

    slug = models.SlugField(max_length=80, unique=True)
    name = models.CharField(max_length=200)
    lm = models.ForeignKey(LanguageModel, on_delete=models.PROTECT, related_name="saes")
    hookpoint = models.CharField(max_length=200)
    hookpoint_out = models.CharField(max_length=200, blank=True)
    family = models.CharField(max_length=32)
    d_in = models.PositiveIntegerField()
    d_out = models.PositiveIntegerField()
    n_latents = models.PositiveIntegerField()
    config = models.JSONField()  # what sae_core's SaeConfig says
    weights = models.ForeignKey(Artifact, null=True, on_delete=models.PROTECT, related_name="+")  # null: neurons
    source = models.CharField(max_length=1000, blank=True)  # where it was read from
    fingerprint = models.CharField(max_length=64)  # of weights and configuration
    fit = models.JSONField(null=True)  # what the fit check found
    metrics = models.JSONField(null=True)  # None until they are measured
    # Rises with all that pages of its features show and that can change (actions/editions.py): what was read, what
    # people call them, which lists they are in.
    edition = models.PositiveBigIntegerField(default=0)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["lm", "fingerprint"], name="sae_once")]

    def __str__(self) -> str:
        return self.name
