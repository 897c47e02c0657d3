from explorer.models.access import SignInLink
from explorer.models.artifacts import Artifact
from explorer.models.jobs import Job

__all__ = ["Artifact", "Job", "SignInLink"]
