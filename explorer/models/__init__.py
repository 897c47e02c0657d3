from explorer.models.access import Account, ApiToken, AuditEntry, Bucket, SignInLink
from explorer.models.artifacts import Artifact
from explorer.models.jobs import Job

__all__ = ["Account", "ApiToken", "Artifact", "AuditEntry", "Bucket", "Job", "SignInLink"]
