"""A folder here, or one of the Hugging Face hub's, fetched where there is a network."""

import re
from pathlib import Path

import huggingface_hub
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, RepositoryNotFoundError

from sae_core.errors import BadInput

HUB_ID = re.compile(r"[\w-][\w.-]*/[\w.-]+(/[^/\\]+)*")
BARE = re.compile(r"[\w-][\w.-]*")  # as the oldest lms are called: gpt2


def local_path(
    path_or_hub_id: str | Path, *, only: tuple[str, ...] = ("*",), beside: tuple[str, ...] = (), bare: bool = False
) -> Path:
    """Where the files lie: a path as it is, or `owner/repository/folder/within` fetched from the hub.

    Of that folder `only` these are fetched, and what `beside` names in the folders above it. `bare` takes a name
    without an owner, too.
    """
    path = Path(path_or_hub_id).expanduser()
    if path.exists():
        return path
    name = str(path_or_hub_id)
    if isinstance(path_or_hub_id, Path) or not (HUB_ID.fullmatch(name) or (bare and BARE.fullmatch(name))):
        raise BadInput(f"{name}: there is no such file or folder, and it is no hub id (owner/name) either")
    parts = name.split("/")
    repository, inner = "/".join(parts[:2]), "/".join(parts[2:])
    patterns = [inner, *(f"{inner}/{each}" for each in only), *beside] if inner else [*only]
    try:
        fetched = Path(huggingface_hub.snapshot_download(repository, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise BadInput(f"{name}: neither a folder here nor a repository of the hub that may be read") from error
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(f"{name}: no such folder here, and the hub cannot be reached: {error}") from error
    if not (fetched / inner).exists():
        raise BadInput(f"{name}: {repository} is on the hub, and has no {inner}")
    return fetched / inner
