"""A folder here, or one of the Hugging Face hub's, fetched where there is a network."""

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from sae_core.errors import BadInput

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(/.+)?")


def local_path(path_or_hub_id: str | Path, *, beside: tuple[str, ...] = ()) -> Path:
    """Where the files lie: a path as it is, or `owner/repository/folder/within` fetched from the hub.

    Only that folder is fetched, and what `beside` names in the folders above it.
    """
    path = Path(path_or_hub_id)
    if path.exists():
        return path
    name = str(path_or_hub_id)
    if not HUB_ID.fullmatch(name) or name.startswith("."):
        raise BadInput(f"{name}: there is no such file or folder, and it is no hub id (owner/name) either")
    owner, repository, *within = name.strip("/").split("/")
    inner = "/".join(within)
    patterns = [inner, f"{inner}/*", *beside] if inner else None
    try:
        fetched = Path(huggingface_hub.snapshot_download(f"{owner}/{repository}", allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise BadInput(f"{name}: neither a folder here nor a repository of the hub that may be read") from error
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(f"{name}: no such folder here, and the hub cannot be reached: {error}") from error
    if not (fetched / inner).exists():
        raise BadInput(f"{name}: {owner}/{repository} is on the hub, and has no {inner}")
    return fetched / inner
