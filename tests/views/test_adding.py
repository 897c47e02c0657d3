"""The form that adds an SAE: what it takes, what it refuses and why, and what becomes of uploads."""

import hashlib
import io
import json
import resource
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from pytest_django import Settings

from explorer import artifacts
from explorer.actions.accounts import set_role
from explorer.models import Artifact, AuditEntry, Job
from explorer.models.access import Role

pytestmark = pytest.mark.django_db

WEIGHTS = b"\x02\x00\x00\x00\x00\x00\x00\x00{}"


@pytest.fixture
def researcher(client: Client, viewer: User) -> User:
    set_role(viewer.pk, Role.RESEARCHER, by=viewer)
    client.force_login(viewer)
    return viewer


@pytest.fixture
def root(tmp_path: Path, settings: Settings) -> Path:
    """A folder that may be named, with something beside it that may not."""
    root = tmp_path / "root"
    for folder in ("lm", "sae", "text", "made/of"):
        (root / folder).mkdir(parents=True)
    (root / "text" / "a.txt").write_text("some text")
    (root / "tokens.npy").write_bytes(b"")
    (root / "made" / "corpus.json").write_text("{}")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "b.txt").write_text("not for them")
    settings.ROOTS = (root,)
    return root


def filled(**fields: object) -> dict[str, object]:
    return {"lm": "lm", "sae": "sae", "text": "text", "better": "on", "hookpoint": "", "name": ""} | fields


def errors_of(client: Client, **fields: object) -> dict[str, list[str]]:
    answer = client.post("/saes/add/", filled(**fields))
    assert answer.status_code == 422
    assert not Job.objects.exists()
    errors = json.loads(answer.context["form"].errors.as_json())
    return {name: [each["message"] for each in found] for name, found in errors.items()}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, {"text": ["{root}/text"]}),
        ({"text": "{root}/text/a.txt\n\n  text \n"}, {"text": ["{root}/text/a.txt", "{root}/text"]}),
        ({"text": "tokens.npy"}, {"tokens": "{root}/tokens.npy"}),
        ({"text": "made"}, {"text": None, "corpus": "{root}/made"}),
        ({"name": "mine"}, {"name": "mine"}),
        ({"better": ""}, {"fit": "keep"}),
        ({"hookpoint": "blocks.0.hook_resid_post"}, {"hookpoint": "blocks.0.hook_resid_post"}),
        ({"contexts": "12", "context_length": "64"}, {"contexts": 12, "context_length": 64}),
        ({"lm": "openai-community/gpt2"}, {"lm": "openai-community/gpt2"}),
        ({"lm": "gpt2"}, {"lm": "gpt2"}),
        ({"sae": "owner/repository/layer_5/width_16k"}, {"sae": "owner/repository/layer_5/width_16k"}),
        ({"sae": "neurons:blocks.0.mlp.hook_post"}, {"sae": "neurons:blocks.0.mlp.hook_post"}),
    ],
)
def test_what_is_typed_becomes_the_arguments_of_a_job(
    client: Client, researcher: User, root: Path, fields: dict[str, str], expected: dict[str, object]
) -> None:
    typed = {name: value.replace("{root}", str(root)) for name, value in fields.items()}
    answer = client.post("/saes/add/", filled(**typed))
    job = Job.objects.get()
    assert answer.headers["Location"] == f"/jobs/{job.pk}/"
    assert (job.kind, job.created_by) == ("explore", researcher)
    usual = {
        "lm": f"{root}/lm",
        "sae": f"{root}/sae",
        "name": str(typed.get("sae", "sae")).rsplit("/", 1)[-1],
        "hookpoint": "",
        "fit": "use",
        "contexts": None,
        "context_length": None,
    }
    named = json.loads(json.dumps(expected).replace("{root}", str(root)))
    if not {"text", "tokens", "corpus"} & set(named):
        named["text"] = [f"{root}/text"]
    assert job.arguments == usual | {name: value for name, value in named.items() if value is not None}


def test_what_lies_in_the_roots_is_offered(client: Client, researcher: User, root: Path) -> None:
    for name in ("lm/config.json", "lm/tokenizer.json", "lm/model.safetensors", "sae/sae.safetensors"):
        (root / name).write_bytes(b"")
    (root / "a" / "b" / "c" / "d").mkdir(parents=True)
    (root / "a" / "b" / "c" / "d" / "too_deep.txt").write_bytes(b"")
    (root / ".hidden").mkdir()
    (root / ".hidden" / "w.safetensors").write_bytes(b"")
    found = client.get("/saes/add/").context["found"]
    assert (found.lms, found.saes) == ([f"{root}/lm"], [f"{root}/sae"])
    assert found.text == [f"{root}/{name}" for name in ("tokens.npy", "made", "text/a.txt")]


@pytest.mark.parametrize("field", ["lm", "sae", "text"])
@pytest.mark.parametrize(
    "name",
    ["../secret", "/etc", "{tmp}/secret", "lm/../../secret", "..\\secret", "link", "linked/b.txt", "~", "no\\such",
     "no/such/../thing", "%2e%2e/secret", "//etc/passwd", "x" * 900, "x/" * 400, "file:///etc"],
)  # fmt: skip
def test_nothing_outside_the_roots_is_named(
    client: Client, researcher: User, root: Path, tmp_path: Path, field: str, name: str
) -> None:
    (root / "link").symlink_to(tmp_path / "secret" / "b.txt")
    (root / "linked").symlink_to(tmp_path / "secret")
    (message,) = errors_of(client, **{field: name.replace("{tmp}", str(tmp_path))})[field]
    assert "without “..”" in message or message.endswith(f"there is nothing of that name in {root}.")


def test_a_null_byte_is_refused(client: Client, researcher: User, root: Path) -> None:
    for field in ("lm", "sae", "text"):
        assert errors_of(client, **{field: "lm\x00"}) == {field: ["Null characters are not allowed."]}


def test_a_folder_with_a_link_that_leads_out_is_refused(
    client: Client, researcher: User, root: Path, tmp_path: Path
) -> None:
    (root / "text" / "deeper").mkdir()
    (root / "text" / "deeper" / "within").symlink_to(root / "text" / "a.txt")
    assert client.post("/saes/add/", filled()).status_code == 302
    Job.objects.all().delete()
    (root / "text" / "deeper" / "out").symlink_to(tmp_path / "secret")
    message = f"{root}/text: deeper/out in it is a link that leads elsewhere."
    assert errors_of(client) == {"text": [message]}


def test_a_path_of_the_workers_own_folder_is_no_hub_id(client: Client, researcher: User, root: Path) -> None:
    """Relative to where the explorer lies, this is a folder."""
    assert errors_of(client, sae="explorer/views") == {
        "sae": [f"explorer/views: there is nothing of that name in {root}."]
    }


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"sae": ""}, {"sae": ["Name a folder or an id, or choose files to upload."]}),
        ({"text": ""}, {"corpus": ["Choose a corpus, or name text on the server."]}),
        ({"lm": ""}, {"lm": ["This field is required."]}),
        ({"text": "text\ntokens.npy"}, {"text": ["A file of token ids stands alone."]}),
        ({"contexts": "0"}, {"contexts": ["Ensure this value is greater than or equal to 1."]}),
    ],
)
def test_what_is_missing_is_said_where_it_is_missing(
    client: Client, researcher: User, root: Path, fields: dict[str, str], expected: dict[str, list[str]]
) -> None:
    assert errors_of(client, **fields) == expected


def files(*names: str) -> list[SimpleUploadedFile]:
    return [SimpleUploadedFile(name, WEIGHTS + name.encode()) for name in names]


def test_an_upload_is_kept_by_its_content_and_noted(client: Client, researcher: User, root: Path) -> None:
    answer = client.post("/saes/add/", filled(sae="", upload=files("w.safetensors", "cfg.json")))
    assert answer.status_code == 302
    arguments = Job.objects.get().arguments
    kept = arguments["sae"]["files"]
    assert set(kept) == {"w.safetensors", "cfg.json"}
    assert arguments["name"] == "w"
    stored = {row.name: row.sha256 for row in Artifact.objects.all()}
    assert stored == kept
    for name, sha256 in kept.items():
        path = django_settings.PLACES.artifacts / sha256[:2] / sha256
        assert path.read_bytes() == WEIGHTS + name.encode()
    entry = AuditEntry.objects.get(action="files imported")
    assert (entry.actor, entry.address) == ("viewer", "127.0.0.1")
    assert {each["name"]: each["sha256"] for each in entry.details["files"]} == kept


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["w.bin"], "w.bin: only .safetensors and .json are taken."),
        (["w.safetensors", "x.pt"], "x.pt: only .safetensors and .json are taken."),
        (["cfg.json"], "A .safetensors file, which holds the weights, is not among them."),
        (["a/w.safetensors", "b/w.safetensors"], "Two of these files have one name."),
        (["../../w.safetensors", "w.safetensors"], "Two of these files have one name."),
        ([f"{n}.safetensors" for n in range(9)], "An SAE has 8 files at most."),
    ],
)
def test_other_files_are_refused_and_not_kept(
    client: Client, researcher: User, root: Path, names: list[str], said: str
) -> None:
    assert errors_of(client, sae="", upload=files(*names)) == {"upload": [said]}
    assert not Artifact.objects.exists()


def test_an_sae_is_named_or_uploaded(client: Client, researcher: User, root: Path) -> None:
    assert errors_of(client, upload=files("w.safetensors")) == {
        "sae": ["Name a folder or an id, or choose files to upload, not both."]
    }


def test_an_empty_file_is_refused(client: Client, researcher: User, root: Path) -> None:
    empty = io.BytesIO()
    empty.name = "w.safetensors"
    assert errors_of(client, sae="", upload=[empty]) == {"upload": ["The submitted file is empty."]}


def test_a_file_that_the_disk_has_no_room_for_is_said(client: Client, researcher: User, root: Path) -> None:
    """Fault 9, by a real limit on what this process may write."""
    unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
    big = SimpleUploadedFile("w.safetensors", bytes(1 << 20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, unlimited[1]))
    try:
        errors = errors_of(client, sae="", upload=[big, *files("cfg.json")], name="what was typed stays")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
    assert "The disk is full: there was no room for w.safetensors. Nothing was kept." in errors["upload"]
    assert not Artifact.objects.exists()
    assert list(django_settings.PLACES.uploads.iterdir()) == []


def homeless() -> tuple[str, Path]:
    """A file's name, and the folder that it would be kept in, which is not there whatever other tests have kept."""
    store: Path = django_settings.PLACES.artifacts
    store.mkdir(parents=True, exist_ok=True)
    kept_beside = hashlib.sha256(WEIGHTS + b"one.safetensors").hexdigest()[:2]
    for number in range(10_000):
        name = f"two-{number}.json"
        folder = store / hashlib.sha256(WEIGHTS + name.encode()).hexdigest()[:2]
        if folder.name != kept_beside and not folder.exists():
            return name, folder
    raise AssertionError("all folders there can be are there")


def test_what_cannot_be_kept_leaves_nothing(client: Client, researcher: User, root: Path) -> None:
    """The second of two files has no place: a file is where its folder would be."""
    first, (second, folder) = hashlib.sha256(WEIGHTS + b"one.safetensors").hexdigest(), homeless()
    store = django_settings.PLACES.artifacts
    folder.write_bytes(b"")
    try:
        (error,) = errors_of(client, sae="", upload=files("one.safetensors", second))["upload"]
    finally:
        folder.unlink()
    assert error.startswith("These files could not be kept, and none was: ")
    assert not (store / first[:2] / first).exists()
    assert not Artifact.objects.exists()
    assert not AuditEntry.objects.filter(action="files imported").exists()


def test_what_was_kept_before_stays_when_more_does_not_fit(client: Client, researcher: User, root: Path) -> None:
    one = artifacts.put(io.BytesIO(WEIGHTS + b"one.safetensors"), name="one.safetensors")
    second, folder = homeless()
    folder.write_bytes(b"")
    try:
        errors_of(client, sae="", upload=files("one.safetensors", second))
    finally:
        folder.unlink()
    assert Artifact.objects.get() == one
    assert (django_settings.PLACES.artifacts / one.sha256[:2] / one.sha256).exists()
