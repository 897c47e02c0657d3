from explorer.models.access import Account, ApiToken, AuditEntry, Bucket, SignInLink
from explorer.models.artifacts import Artifact
from explorer.models.features import (
    Activity,
    Collection,
    Examples,
    Feature,
    FeatureList,
    Label,
    ListEntry,
    TokenIndex,
)
from explorer.models.jobs import Job
from explorer.models.library import Context, Corpus, Document, LanguageModel, Sae
from explorer.models.maps import FeatureMap, MapPart
from explorer.models.steering import Steering, Strength
from explorer.models.studies import (
    Adjudication,
    Annotator,
    Draft,
    FeatureScore,
    Hypothesis,
    Item,
    Rubric,
    Score,
    Skip,
    Slot,
    Study,
    Subject,
)

__all__ = [
    "Account",
    "Activity",
    "Adjudication",
    "Annotator",
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "Bucket",
    "Collection",
    "Context",
    "Corpus",
    "Document",
    "Draft",
    "Examples",
    "Feature",
    "FeatureList",
    "FeatureMap",
    "FeatureScore",
    "Hypothesis",
    "Item",
    "Job",
    "Label",
    "LanguageModel",
    "ListEntry",
    "MapPart",
    "Rubric",
    "Sae",
    "Score",
    "SignInLink",
    "Skip",
    "Slot",
    "Steering",
    "Strength",
    "Study",
    "Subject",
    "TokenIndex",
]
