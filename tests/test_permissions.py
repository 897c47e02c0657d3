"""Who may do what: every address, every role. An address that is not in the table fails the test."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django import Settings

from explorer import artifacts
from explorer.actions import api_tokens, lists, sign_in
from explorer.actions.accounts import set_role
from explorer.models import Job, Steering
from explorer.models.access import Role, Scope
from tests.explored import Explored, explored, read
from tests.laid_out import OnMap, on_map
from tests.studied import Studied, studied

__all__ = ["explored", "on_map", "read", "studied"]

# What each is answered. `in`: sent to sign in. The job, the token and the account that the addresses
# name are another person's. `closed` and `open` are visitors, where reading is closed and where it is open.
TABLE = """
address                 method  closed open   viewer annotator researcher admin

library                 GET     in     200    200    200    200    200
library                 POST    in     405    405    405    405    405
sae_add                 GET     in     in     403    403    200    200
sae_add                 POST    in     in     403    403    422    422
sae                     GET     in     200    200    200    200    200
sae                     POST    in     405    405    405    405    405
sae_remove              GET     in     in     403    403    405    405
sae_remove              POST    in     in     403    403    403    302
features                GET     in     200    200    200    200    200
features                POST    in     405    405    405    405    405
features_sheet          GET     in     200    200    200    200    200
features_sheet          POST    in     405    405    405    405    405
feature                 GET     in     200    200    200    200    200
feature                 POST    in     405    405    405    405    405
feature_json            GET     in     302    302    302    302    302
feature_json            POST    in     405    405    405    405    405
sae_chart               GET     in     200    200    200    200    200
sae_chart               POST    in     405    405    405    405    405
feature_chart           GET     in     200    200    200    200    200
feature_chart           POST    in     405    405    405    405    405
vector_npy              GET     in     200    200    200    200    200
vector_npy              POST    in     405    405    405    405    405
vector_json             GET     in     200    200    200    200    200
vector_json             POST    in     405    405    405    405    405
feature_beside          GET     in     200    200    200    200    200
feature_beside          POST    in     405    405    405    405    405
feature_recompute       GET     in     in     403    405    405    405
feature_recompute       POST    in     in     403    302    302    302
feature_recomputed      GET     in     in     404    404    404    404
feature_recomputed      POST    in     in     405    405    405    405
feature_text            GET     in     405    405    405    405    405
feature_text            POST    in     422    422    422    422    422
feature_text_read       GET     in     404    404    404    404    404
feature_text_read       POST    in     405    405    405    405    405
feature_ablate          GET     in     in     405    405    405    405
feature_ablate          POST    in     in     302    302    302    302
feature_ablated         GET     in     in     404    404    404    404
feature_ablated         POST    in     in     405    405    405    405
feature_strength        GET     in     in     403    403    405    405
feature_strength        POST    in     in     403    403    302    302
feature_steer           GET     in     405    405    405    405    405
feature_steer           POST    in     422    422    422    422    422
steer                   GET     in     200    200    200    200    200
steer                   POST    in     422    422    422    422    422
steer_find              GET     in     200    200    200    200    200
steer_find              POST    in     405    405    405    405    405
steer_measures          GET     in     200    200    200    200    200
steer_measures          POST    in     405    405    405    405    405
steering                GET     in     200    200    200    200    200
steering                POST    in     405    405    405    405    405
steering_place          GET     in     200    200    200    200    200
steering_place          POST    in     405    405    405    405    405
steering_title          GET     in     in     403    403    405    405
steering_title          POST    in     in     403    403    302    302
steering_again          GET     in     405    405    405    405    405
steering_again          POST    in     302    302    302    302    302
steering_cancel         GET     in     405    405    405    405    405
steering_cancel         POST    in     403    403    403    403    302
feature_beside_choice   GET     in     200    200    200    200    200
feature_beside_choice   POST    in     405    405    405    405    405
feature_label           GET     in     in     403    405    405    405
feature_label           POST    in     in     403    302    302    302
feature_labels          GET     in     200    200    200    200    200
feature_labels          POST    in     405    405    405    405    405
feature_keep            GET     in     in     200    200    200    200
feature_keep            POST    in     in     302    302    302    302
sae_map                 GET     in     200    200    200    200    200
sae_map                 POST    in     405    405    405    405    405
sae_maps                GET     in     200    200    200    200    200
sae_maps                POST    in     405    405    405    405    405
map_make                GET     in     in     403    403    405    405
map_make                POST    in     in     403    403    422    422
map                     GET     in     302    302    302    302    302
map                     POST    in     405    405    405    405    405
map_remove              GET     in     in     403    403    405    405
map_remove              POST    in     in     403    403    403    302
map_card                GET     in     200    200    200    200    200
map_card                POST    in     405    405    405    405    405
map_panel               GET     in     200    200    200    200    200
map_panel               POST    in     405    405    405    405    405
map_place               GET     in     200    200    200    200    200
map_place               POST    in     405    405    405    405    405
map_marks               GET     in     200    200    200    200    200
map_marks               POST    in     405    405    405    405    405
map_scores              GET     in     200    200    200    200    200
map_scores              POST    in     405    405    405    405    405
map_clusters            GET     in     200    200    200    200    200
map_clusters            POST    in     405    405    405    405    405
map_search              GET     in     200    200    200    200    200
map_search              POST    in     405    405    405    405    405
map_selection           GET     in     200    200    200    200    200
map_selection           POST    in     405    405    405    405    405
map_selection_sheet     GET     in     200    200    200    200    200
map_selection_sheet     POST    in     405    405    405    405    405
map_selection_keep      GET     in     in     405    405    405    405
map_selection_keep      POST    in     in     422    422    422    422
map_index               GET     in     200    200    200    200    200
map_index               POST    in     405    405    405    405    405
map_points              GET     in     200    200    200    200    200
map_points              POST    in     405    405    405    405    405
map_density             GET     in     200    200    200    200    200
map_density             POST    in     405    405    405    405    405
labels                  GET     in     200    200    200    200    200
labels                  POST    in     405    405    405    405    405
labels_sheet            GET     in     200    200    200    200    200
labels_sheet            POST    in     405    405    405    405    405
labels_import           GET     in     in     403    403    405    405
labels_import           POST    in     in     403    403    422    422
lists                   GET     in     200    200    200    200    200
lists                   POST    in     405    405    405    405    405
list_make               GET     in     in     405    405    405    405
list_make               POST    in     in     422    422    422    422
list                    GET     in     200    200    200    200    200
list                    POST    in     405    405    405    405    405
list_sheet              GET     in     200    200    200    200    200
list_sheet              POST    in     405    405    405    405    405
list_change             GET     in     in     405    405    405    405
list_change             POST    in     in     403    403    403    403
list_remove             GET     in     in     405    405    405    405
list_remove             POST    in     in     403    403    403    302
entry_note              GET     in     in     405    405    405    405
entry_note              POST    in     in     403    403    403    403
entry_remove            GET     in     in     405    405    405    405
entry_remove            POST    in     in     403    403    403    403
search                  GET     in     200    200    200    200    200
search                  POST    in     405    405    405    405    405
text_read               GET     in     405    405    405    405    405
text_read               POST    in     422    422    422    422    422
reading                 GET     in     200    200    200    200    200
reading                 POST    in     405    405    405    405    405
search_prepare          GET     in     in     403    403    405    405
search_prepare          POST    in     in     403    403    302    302
studies                 GET     in     200    200    200    200    200
studies                 POST    in     405    405    405    405    405
study_make              GET     in     in     403    403    200    200
study_make              POST    in     in     403    403    422    422
study                   GET     in     in     403    403    200    200
study                   POST    in     in     403    403    405    405
study_change            GET     in     in     403    403    405    405
study_change            POST    in     in     403    403    403    422
study_open              GET     in     in     403    403    405    405
study_open              POST    in     in     403    403    403    302
study_close             GET     in     in     403    403    405    405
study_close             POST    in     in     403    403    403    302
study_show              GET     in     in     403    403    405    405
study_show              POST    in     in     403    403    403    302
study_remove            GET     in     in     403    403    405    405
study_remove            POST    in     in     403    403    403    302
study_item              GET     in     in     403    403    200    200
study_item              POST    in     in     403    403    405    405
study_item_known        GET     in     in     403    403    405    405
study_item_known        POST    in     in     403    403    403    422
study_item_unknown      GET     in     in     403    403    405    405
study_item_unknown      POST    in     in     403    403    403    302
rubrics                 GET     in     200    200    200    200    200
rubrics                 POST    in     405    405    405    405    405
rubric_make             GET     in     in     403    403    200    200
rubric_make             POST    in     in     403    403    422    422
rubric                  GET     in     200    200    200    200    200
rubric                  POST    in     405    405    405    405    405
rubric_revise           GET     in     in     403    403    200    200
rubric_revise           POST    in     in     403    403    422    422
rubric_change           GET     in     in     403    403    403    200
rubric_change           POST    in     in     403    403    403    422
study_results           GET     in     404    404    404    200    200
study_results           POST    in     405    405    405    405    405
item_results            GET     in     404    404    404    404    404
item_results            POST    in     405    405    405    405    405
study_chart             GET     in     404    404    404    200    200
study_chart             POST    in     405    405    405    405    405
study_adjudicate        GET     in     in     403    403    200    200
study_adjudicate        POST    in     in     403    403    422    422
study_agreement         GET     in     404    404    404    200    200
study_agreement         POST    in     405    405    405    405    405
scores_sheet            GET     in     404    404    404    200    200
scores_sheet            POST    in     405    405    405    405    405
scores_import           GET     in     in     403    403    403    200
scores_import           POST    in     in     403    403    403    422
guess                   GET     in     302    302    302    302    302
guess                   POST    in     405    405    405    405    405
guess_round             GET     in     404    404    404    404    404
guess_round             POST    in     405    405    405    405    405
score                   GET     in     in     403    200    200    200
score                   POST    in     in     403    405    405    405
score_study             GET     in     in     403    200    200    200
score_study             POST    in     in     403    405    405    405
score_next              GET     in     in     403    405    405    405
score_next              POST    in     in     403    302    302    302
score_undo              GET     in     in     403    405    405    405
score_undo              POST    in     in     403    302    302    302
score_leave             GET     in     in     403    405    405    405
score_leave             POST    in     in     403    302    302    302
score_item              GET     in     in     403    404    404    404
score_item              POST    in     in     403    405    405    405
score_say               GET     in     in     403    404    404    404
score_say               POST    in     in     403    404    404    404
score_save              GET     in     in     403    405    405    405
score_save              POST    in     in     403    404    404    404
score_reveal            GET     in     in     403    404    404    404
score_reveal            POST    in     in     403    404    404    404
score_submit            GET     in     in     403    404    404    404
score_submit            POST    in     in     403    404    404    404
score_answer            GET     in     in     403    404    404    404
score_answer            POST    in     in     403    405    405    405
score_skip              GET     in     in     403    404    404    404
score_skip              POST    in     in     403    404    404    404
jobs                    GET     in     in     200    200    200    200
jobs                    POST    in     in     405    405    405    405
diagnose                GET     in     in     403    403    405    405
diagnose                POST    in     in     403    403    302    302
job                     GET     in     in     200    200    200    200
job                     POST    in     in     405    405    405    405
job_row                 GET     in     in     200    200    200    200
job_row                 POST    in     in     405    405    405    405
job_panel               GET     in     in     200    200    200    200
job_panel               POST    in     in     405    405    405    405
job_cancel              GET     in     in     405    405    405    405
job_cancel              POST    in     in     403    403    403    302
job_retry               GET     in     in     405    405    405    405
job_retry               POST    in     in     403    403    403    302
artifact                GET     in     200    200    200    200    200
artifact                POST    in     405    405    405    405    405
events                  GET     401    401    200    200    200    200
events                  POST    405    405    405    405    405    405
account                 GET     in     in     200    200    200    200
account                 POST    in     in     405    405    405    405
account_password        GET     in     in     405    405    405    405
account_password        POST    in     in     422    422    422    422
token_make              GET     in     in     405    405    405    405
token_make              POST    in     in     422    422    422    422
token_revoke            GET     in     in     405    405    405    405
token_revoke            POST    in     in     404    404    404    302
people                  GET     in     in     403    403    403    200
people                  POST    in     in     403    403    403    405
person                  GET     in     in     403    403    403    200
person                  POST    in     in     403    403    403    405
person_invite           GET     in     in     403    403    403    405
person_invite           POST    in     in     403    403    403    422
person_role             GET     in     in     403    403    403    405
person_role             POST    in     in     403    403    403    422
person_active           GET     in     in     403    403    403    405
person_active           POST    in     in     403    403    403    302
person_link             GET     in     in     403    403    403    405
person_link             POST    in     in     403    403    403    200
audit                   GET     in     in     403    403    403    200
audit                   POST    in     in     403    403    403    405
patterns                GET     in     in     403    403    403    200
patterns                POST    in     in     403    403    403    405
pattern_chart           GET     in     in     403    403    403    200
pattern_chart           POST    in     in     403    403    403    405
sign_in                 GET     200    200    302    302    302    302
sign_in                 POST    200    200    302    302    302    302
sign_in_link            GET     302    302    302    302    302    302
sign_in_link            POST    405    405    405    405    405    405
sign_out                GET     405    405    405    405    405    405
sign_out                POST    302    302    302    302    302    302
invitation              GET     200    200    200    200    200    200
invitation              POST    422    422    422    422    422    422
register                GET     404    404    404    404    404    404
register                POST    404    404    404    404    404    404
healthz                 GET     200    200    200    200    200    200
healthz                 POST    405    405    405    405    405    405
readyz                  GET     503    503    503    503    503    503
readyz                  POST    405    405    405    405    405    405

api_guide               GET     in     200    200    200    200    200
api_guide               POST    in     405    405    405    405    405
api:api-root            GET     302    302    302    302    302    302
api:api-root            POST    302    302    302    302    302    302
api:openapi-json        GET     200    200    200    200    200    200
api:openapi-json        POST    405    405    405    405    405    405
api:me                  GET     401    200    200    200    200    200
api:me                  POST    405    405    405    405    405    405
api:list_jobs           GET     401    401    200    200    200    200
api:list_jobs           POST    405    405    405    405    405    405
api:diagnose            GET     405    405    405    405    405    405
api:diagnose            POST    401    401    403    403    202    202
api:list_saes           GET     401    200    200    200    200    200
api:list_saes           POST    405    405    405    405    405    405
api:get_sae             GET     401    200    200    200    200    200
api:get_sae             POST    405    405    405    405    405    405
api:list_features       GET     401    200    200    200    200    200
api:list_features       POST    405    405    405    405    405    405
api:get_feature         GET     401    200    200    200    200    200
api:get_feature         POST    405    405    405    405    405    405
api:list_labels         GET     401    200    200    200    200    200
api:list_labels         POST    405    405    405    405    405    405
api:list_feature_labels GET     401    200    200    200    200    200
api:list_feature_labels POST    405    405    405    405    405    405
api:give_label          GET     405    405    405    405    405    405
api:give_label          POST    405    405    405    405    405    405
api:list_maps           GET     401    200    200    200    200    200
api:list_maps           POST    401    401    403    403    422    422
api:make_map            GET     401    200    200    200    200    200
api:make_map            POST    401    401    403    403    422    422
api:get_map             GET     401    200    200    200    200    200
api:get_map             POST    405    405    405    405    405    405
api:remove_map          GET     401    200    200    200    200    200
api:remove_map          POST    405    405    405    405    405    405
api:get_map_selection   GET     401    200    200    200    200    200
api:get_map_selection   POST    405    405    405    405    405    405
api:get_map_feature     GET     401    200    200    200    200    200
api:get_map_feature     POST    405    405    405    405    405    405
api:list_lists          GET     401    200    200    200    200    200
api:list_lists          POST    401    401    422    422    422    422
api:make_list           GET     401    200    200    200    200    200
api:make_list           POST    401    401    422    422    422    422
api:get_list            GET     401    200    200    200    200    200
api:get_list            POST    405    405    405    405    405    405
api:remove_list         GET     401    200    200    200    200    200
api:remove_list         POST    405    405    405    405    405    405
api:list_entries        GET     401    200    200    200    200    200
api:list_entries        POST    401    401    422    422    422    422
api:add_entry           GET     401    200    200    200    200    200
api:add_entry           POST    401    401    422    422    422    422
api:remove_entry        GET     405    405    405    405    405    405
api:remove_entry        POST    405    405    405    405    405    405
api:search_features     GET     401    422    422    422    422    422
api:search_features     POST    405    405    405    405    405    405
api:read_text           GET     405    405    405    405    405    405
api:read_text           POST    401    401    422    422    422    422
api:steer               GET     405    405    405    405    405    405
api:steer               POST    401    401    422    422    422    422
api:get_steering        GET     401    200    200    200    200    200
api:get_steering        POST    405    405    405    405    405    405
api:list_studies        GET     401    200    200    200       200        200
api:list_studies        POST    405    405    405    405       405        405
api:get_study           GET     401    404    404    200       200        200
api:get_study           POST    405    405    405    405       405        405
api:get_results         GET     401    404    404    404       200        200
api:get_results         POST    405    405    405    405       405        405
api:get_agreement       GET     401    404    404    404       200        200
api:get_agreement       POST    405    405    405    405       405        405
api:list_study_items    GET     401    404    404    404       200        200
api:list_study_items    POST    405    405    405    405       405        405
api:get_item_to_score   GET     401    401    403    404       404        404
api:get_item_to_score   POST    405    405    405    405       405        405
api:save_draft          GET     405    405    405    405       405        405
api:save_draft          POST    405    405    405    405       405        405
api:say_hypothesis      GET     405    405    405    405       405        405
api:say_hypothesis      POST    405    405    405    405       405        405
api:claim_item          GET     405    405    405    405       405        405
api:claim_item          POST    401    401    403    422       422        422
api:reveal_raised       GET     405    405    405    405       405        405
api:reveal_raised       POST    401    401    403    422       422        422
api:score_item          GET     405    405    405    405       405        405
api:score_item          POST    401    401    403    422       422        422
api:skip_item           GET     405    405    405    405       405        405
api:skip_item           POST    401    401    403    422       422        422
api:undo_score          GET     405    405    405    405       405        405
api:undo_score          POST    401    401    403    422       422        422
api:leave_study         GET     405    405    405    405       405        405
api:leave_study         POST    401    401    403    422       422        422
api:get_job             GET     401    401    200    200    200    200
api:get_job             POST    405    405    405    405    405    405
api:cancel_job          GET     405    405    405    405    405    405
api:cancel_job          POST    401    401    403    403    403    200
api:retry_job           GET     405    405    405    405    405    405
api:retry_job           POST    401    401    403    403    403    409
"""


ASKED = {
    "lm": "0" * 64, "prompt": "a", "chat": False, "texts": [{"times": 0, "seed": 0, "control": None}], "sampling": {},
    "new_tokens": 9,
    "changes": [{"sae": "gone", "fingerprint": "", "index": 0, "method": "add", "strength": 1, "unit": "raw",
                 "value": 1, "where": "everywhere"}],
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    address: str
    method: str
    who: str
    answer: str

    def __str__(self) -> str:
        return f"{self.method} {self.address} {self.who}"


def cells() -> Iterator[Cell]:
    head, *rows = (line.split() for line in TABLE.splitlines() if line)
    for address, method, *answers in rows:
        for who, answer in zip(head[2:], answers, strict=True):
            yield Cell(address, method, who, answer)


def addresses(resolver: URLResolver, namespace: str = "") -> Iterator[str]:
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from addresses(each, f"{each.namespace}:" if each.namespace else namespace)
        else:
            assert isinstance(each, URLPattern)
            assert each.name, f"{each.pattern} has no name"
            yield f"{namespace}{each.name}"


def test_every_address_is_in_the_table() -> None:
    found = list(addresses(get_resolver()))
    assert sorted(set(found)) == sorted(found), "two addresses have one name"
    assert {(cell.address, cell.method) for cell in cells()} == {
        (address, method) for address in found for method in ("GET", "POST")
    }


@pytest.fixture
def places(request: pytest.FixtureRequest, db: None) -> dict[str, object]:
    """What the addresses name: all of it somebody else's."""
    other = User.objects.create_user("somebody-else")
    cell: Cell = request.node.callspec.params["cell"]
    rows: dict[str, object] = {"map_id": 1, "part": 0, "index": 0, "z": 0, "x": 0, "y": 0, "seed": 0}
    if "version" in _converters(cell.address):
        rows |= {"slug": "monosemanticity", "version": 1}
    elif "slug" in _converters(cell.address):  # its rows take a moment to load
        found: Explored = request.getfixturevalue("explored")
        chart = "logits" if "index" in _converters(cell.address) else "density"
        rows |= {"slug": found.sae.slug, "chart": chart, "side": "decoder"}
        rows |= {"other_slug": found.sae.slug, "other": 1}
    if "map" in cell.address and cell.answer not in ("in", "401", "405"):  # before it is looked for
        laid: OnMap = request.getfixturevalue("on_map")
        rows |= {"map_id": laid.map.pk, "sha256": laid.map.tiles_id, "slug": laid.explored.sae.slug}
    if "study_id" in _converters(cell.address):
        rows |= {"study_id": 1, "chart": "totals"}
        if cell.answer not in ("in", "401", "405") and (cell.answer, cell.who) != ("403", "viewer"):  # as above
            study: Studied = request.getfixturevalue("studied")
            rows |= {"study_id": study.study.pk}
            rows |= {"key": study.items[0].key} if "study_item" in cell.address else {}
    steer = Job.objects.create(kind="steer", queue="interactive", created_by=other)
    token, _ = api_tokens.make(other, "theirs", [Scope.READ], sign_in.LASTS)
    return {
        "job_id": Job.objects.create(kind="diagnose", queue="interactive", created_by=other).pk,
        "reading_id": Job.objects.create(kind="read_text", queue="interactive", created_by=other).pk,
        "key": Steering.objects.create(key="theirs", asked=ASKED, who="another", created_by=other, job=steer).key,
        "sha256": artifacts.put(ContentFile(b"content"), name="file.bin").sha256,
        "person_id": other.pk,
        "token_id": token.pk,
        "token": sign_in.make_link(other),
        "name": "histogram",
        "sheet": "csv",
        "list_id": lists.make("theirs", shared=True, by=other).pk,
        "entry_id": 1,
    } | rows


def somebody(role: str) -> User:
    """A person of this role, who owns nothing."""
    user = User.objects.create_user(role)
    set_role(user.pk, next(each for each in Role if each.label == role), by=user)
    return User.objects.get(pk=user.pk)


@pytest.mark.parametrize("cell", list(cells()), ids=str)
def test_permissions(cell: Cell, client: Client, places: dict[str, object], settings: Settings) -> None:
    settings.OPEN_READING = cell.who == "open"
    if cell.who not in ("closed", "open"):
        client.force_login(somebody(cell.who))
    path = reverse(cell.address, kwargs=_wanted(cell.address, places))
    if cell.address == "events":
        path += f"?job={places['job_id']}"
    answer = client.generic(cell.method, path)
    if cell.answer == "in":
        assert answer.status_code == 302
        assert answer.headers["Location"].startswith("/sign-in/?next=/")
    else:
        assert answer.status_code == int(cell.answer)
        assert not answer.headers.get("Location", "").startswith("/sign-in/")
    if cell.address.startswith("api:") and answer.status_code >= 400:
        assert answer.headers["Content-Type"] == "application/problem+json"
        assert answer.json()["status"] == answer.status_code


def _wanted(address: str, places: dict[str, object]) -> dict[str, object]:
    """Those of the values that this address takes."""
    return {key: places[key] for key in _converters(address)}


def _converters(address: str) -> set[str]:
    _, _, name = address.rpartition(":")
    return {key for each in _patterns(get_resolver()) if each.name == name for key in each.pattern.converters}


def _patterns(resolver: URLResolver) -> Iterator[URLPattern]:
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from _patterns(each)
        else:
            assert isinstance(each, URLPattern)
            yield each
