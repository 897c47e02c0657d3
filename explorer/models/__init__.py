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

__all__ = [
    "Account",
    "Activity",
    "ApiToken",
    "Artifact",
    "AuditEntry",
    "Bucket",
    "Collection",
    "Context",
    "Corpus",
    "Document",
    "Examples",
    "Feature",
    "FeatureList",
    "FeatureMap",
    "Job",
    "Label",
    "LanguageModel",
    "ListEntry",
    "MapPart",
    "Sae",
    "SignInLink",
    "Steering",
    "Strength",
    "TokenIndex",
]
