"""What is known of features. Tables of many rows have a partition for each SAE or collection (partitions.py): it is
filled by COPY before anybody sees it, and dropped whole."""

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import SearchVector, SearchVectorField
from django.db import models
from django.db.models import F, Func, Q, TextField, Value
from django.db.models.functions import Lower, Now

from explorer import spelling
from explorer.models.artifacts import Artifact
from explorer.models.fields import RealField
from explorer.models.library import Corpus, Sae

UNKNOWN = -2.0  # no cosine is that
SPELLED = Func(
    F("text"), Value(f"[{spelling.APART}]+"), Value(" "), Value("g"),
    function="regexp_replace", output_field=TextField(),
)  # fmt: skip


class Collection(models.Model):
    """One SAE read over one corpus. Its row appears together with all others of it, in one transaction."""

    sae = models.ForeignKey(Sae, on_delete=models.PROTECT, related_name="collections")
    corpus = models.ForeignKey(Corpus, on_delete=models.PROTECT, related_name="collections")
    evidence = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="+")
    about = models.JSONField()  # what the evidence says of itself: how it was made
    tokens = models.BigIntegerField()  # that counted
    masked = models.BigIntegerField()
    n_never_fired = models.PositiveIntegerField()
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["sae", "corpus"], name="collection_once")]

    def __str__(self) -> str:
        return f"{self.sae} over {self.corpus}"


class Feature(models.Model):
    """What is known of a latent without any text. A partition for each SAE."""

    pk = models.CompositePrimaryKey("sae_id", "index")
    sae = models.ForeignKey(Sae, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+")
    index = models.IntegerField()
    decoder_norm = RealField()
    encoder_cosine = RealField()  # of encoder and decoder; UNKNOWN for transcoders
    packed = models.BinaryField()  # logit lens, input lens, neighbours: packed/feature.py

    def __str__(self) -> str:
        return f"feature {self.index}"


class Activity(models.Model):
    """A feature's figures in one collection, as narrow as the browser can do with, and nothing null, so that keyset
    pages stay in plain indexes. A partition for each collection."""

    pk = models.CompositePrimaryKey("collection_id", "index")
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    index = models.IntegerField()
    n_fired = models.BigIntegerField()
    n_contexts = models.IntegerField()
    n_documents = models.IntegerField()
    maximum = RealField()
    mean = RealField()  # over the tokens where it fires; 0 where it never does
    deviation = RealField()
    p99 = RealField()
    decoder_norm = RealField()
    neighbour_cosine = RealField()  # of the nearest; UNKNOWN where there is no other
    top_token = models.IntegerField()  # that it raises most; −1 where that is not known

    class Meta:
        # Within a partition, so that the browser's pages are read in either direction.
        indexes = [
            models.Index(fields=["n_fired", "index"], name="activity_by_firings"),
            models.Index(fields=["maximum", "index"], name="activity_by_maximum"),
            models.Index(fields=["mean", "index"], name="activity_by_mean"),
            models.Index(fields=["p99", "index"], name="activity_by_p99"),
            models.Index(fields=["decoder_norm", "index"], name="activity_by_norm"),
            models.Index(fields=["neighbour_cosine", "index"], name="activity_by_neighbour"),
            models.Index(fields=["top_token", "index"], name="activity_by_token"),
        ]

    def __str__(self) -> str:
        return f"feature {self.index}"


class Examples(models.Model):
    """All of a feature's examples in one collection, packed. A partition for each collection."""

    pk = models.CompositePrimaryKey("collection_id", "index")
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    index = models.IntegerField()
    packed = models.BinaryField()  # packed/examples.py

    def __str__(self) -> str:
        return f"examples of feature {self.index}"


class TokenIndex(models.Model):
    """Which features fire most strongly on a token: those whose top examples peak there. A partition for each
    collection."""

    pk = models.CompositePrimaryKey("collection_id", "block")
    collection = models.ForeignKey(
        Collection, on_delete=models.DO_NOTHING, db_index=False, db_constraint=False, related_name="+"
    )
    block = models.IntegerField()  # of neighbouring tokens
    packed = models.BinaryField()  # packed/token_index.py

    def __str__(self) -> str:
        return f"features on the tokens of block {self.block}"


class Label(models.Model):
    """A short text naming a feature. Rows are added; the current one is what a feature is called."""

    sae = models.ForeignKey(Sae, on_delete=models.CASCADE, related_name="labels")
    index = models.IntegerField()
    text = models.CharField(max_length=200, blank=True)  # empty: a label taken away
    current = models.BooleanField(default=True)
    author = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())
    # Words as they are, for prefixes and other languages, and as English bends them.
    words = models.GeneratedField(
        expression=SearchVector(SPELLED, config="simple") + SearchVector(SPELLED, config="english"),
        output_field=SearchVectorField(),
        db_persist=True,
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["sae", "index"], condition=Q(current=True), name="label_current_once")
        ]
        indexes = [
            models.Index(fields=["sae", "index", "-id"], name="label_of_feature"),
            models.Index(
                F("sae"), Lower("text"), F("index"), condition=Q(current=True) & ~Q(text=""), name="label_by_text"
            ),
            GinIndex(fields=["words"], condition=Q(current=True), name="label_by_words"),
        ]

    def __str__(self) -> str:
        return self.text


class FeatureList(models.Model):
    """Features that somebody keeps together, of whatever SAEs. Bookmarks are one too, each person's first."""

    name = models.CharField(max_length=200)
    notes = models.TextField(max_length=10_000, blank=True)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="lists")
    bookmarks = models.BooleanField(default=False)
    shared = models.BooleanField(default=True)  # else nobody but its owner sees it
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["owner"], condition=Q(bookmarks=True), name="list_bookmarks_once")
        ]

    def __str__(self) -> str:
        return self.name


class ListEntry(models.Model):
    list = models.ForeignKey(FeatureList, on_delete=models.CASCADE, related_name="entries")
    sae = models.ForeignKey(Sae, on_delete=models.CASCADE, related_name="+")
    index = models.IntegerField()
    note = models.CharField(max_length=1000, blank=True)
    added_by = models.ForeignKey(settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+")
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [models.UniqueConstraint(fields=["list", "sae", "index"], name="list_entry_once")]
        indexes = [models.Index(fields=["sae", "index"], name="list_entry_of_feature")]

    def __str__(self) -> str:
        return f"feature {self.index} of {self.sae}"
