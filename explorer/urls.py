from django.urls import include, path, register_converter
from django.urls.converters import IntConverter, StringConverter

from explorer.api import guide
from explorer.sheets import MEDIA_TYPES
from explorer.views import (
    ablate,
    account,
    adding,
    artifacts,
    beside,
    browser,
    events,
    features,
    guess,
    health,
    jobs,
    labels,
    library,
    lists,
    map_features,
    map_selection,
    map_tiles,
    maps,
    own_text,
    patterns,
    people,
    recompute,
    results,
    rubrics,
    saes,
    score,
    search,
    sign_in,
    steer,
    steer_find,
    studies,
    vectors,
)


class Sha256Converter(StringConverter):
    """No other name reaches the rows or the store."""

    regex = "[0-9a-f]{64}"


class TokenConverter(StringConverter):
    """What secrets.token_urlsafe makes; nothing else is asked for, NUL bytes least of all."""

    regex = "[A-Za-z0-9_-]{1,64}"


class RowConverter(IntConverter):
    """A row's number, as long as PostgreSQL's can be."""

    regex = "[0-9]{1,18}"


class SheetConverter(StringConverter):
    """The forms that rows of data are taken home in."""

    regex = "|".join(MEDIA_TYPES)


register_converter(Sha256Converter, "sha256")
register_converter(TokenConverter, "token")
register_converter(RowConverter, "row")
register_converter(SheetConverter, "sheet")

urlpatterns = [
    path("", library.library, name="library"),
    path("saes/add/", adding.sae_add, name="sae_add"),
    path("saes/<slug:slug>/", saes.sae, name="sae"),
    path("saes/<slug:slug>/charts/<slug:chart>/", saes.sae_chart, name="sae_chart"),
    path("saes/<slug:slug>/remove/", saes.sae_remove, name="sae_remove"),
    path("saes/<slug:slug>/features/", browser.features, name="features"),
    path("saes/<slug:slug>/features.<sheet:sheet>", browser.features_sheet, name="features_sheet"),
    path("saes/<slug:slug>/features/<row:index>/", features.feature, name="feature"),
    path("saes/<slug:slug>/features/<row:index>.json", features.feature_json, name="feature_json"),
    path("saes/<slug:slug>/features/<row:index>/label/", features.feature_label, name="feature_label"),
    path("saes/<slug:slug>/features/<row:index>/charts/<slug:chart>/", features.feature_chart, name="feature_chart"),
    path("saes/<slug:slug>/features/<row:index>/<slug:side>.npy", vectors.vector_npy, name="vector_npy"),
    path("saes/<slug:slug>/features/<row:index>/<slug:side>.json", vectors.vector_json, name="vector_json"),
    path("saes/<slug:slug>/features/<row:index>/recompute/", recompute.feature_recompute, name="feature_recompute"),
    path(
        "saes/<slug:slug>/features/<row:index>/recompute/<row:job_id>/",
        recompute.feature_recomputed,
        name="feature_recomputed",
    ),
    path("saes/<slug:slug>/features/<row:index>/text/", own_text.feature_text, name="feature_text"),
    path(
        "saes/<slug:slug>/features/<row:index>/text/<row:reading_id>/",
        own_text.feature_text_read,
        name="feature_text_read",
    ),
    path("saes/<slug:slug>/features/<row:index>/ablate/", ablate.feature_ablate, name="feature_ablate"),
    path("saes/<slug:slug>/features/<row:index>/ablate/<row:job_id>/", ablate.feature_ablated, name="feature_ablated"),
    path("saes/<slug:slug>/features/<row:index>/steer/", steer.feature_steer, name="feature_steer"),
    path("saes/<slug:slug>/features/<row:index>/strength/", steer.feature_strength, name="feature_strength"),
    path("saes/<slug:slug>/features/<row:index>/beside/", beside.feature_beside_choice, name="feature_beside_choice"),
    path(
        "saes/<slug:slug>/features/<row:index>/beside/<slug:other_slug>/<row:other>/",
        beside.feature_beside,
        name="feature_beside",
    ),
    path("saes/<slug:slug>/features/<row:index>/labels/", labels.feature_labels, name="feature_labels"),
    path("saes/<slug:slug>/features/<row:index>/keep/", lists.feature_keep, name="feature_keep"),
    path("saes/<slug:slug>/map/", maps.sae_map, name="sae_map"),
    path("saes/<slug:slug>/maps/", maps.sae_maps, name="sae_maps"),
    path("saes/<slug:slug>/maps/make/", maps.map_make, name="map_make"),
    path("maps/<row:map_id>/", maps.map_permalink, name="map"),
    path("maps/<row:map_id>/remove/", maps.map_remove, name="map_remove"),
    path("maps/<row:map_id>/features/<row:part>/<row:index>/card/", map_features.map_card, name="map_card"),
    path("maps/<row:map_id>/features/<row:part>/<row:index>/panel/", map_features.map_panel, name="map_panel"),
    path("maps/<row:map_id>/features/<row:part>/<row:index>/place/", map_features.map_place, name="map_place"),
    path("maps/<row:map_id>/labelled/", map_features.map_marks, name="map_marks"),
    path("maps/<row:map_id>/scored/", map_features.map_scores, name="map_scores"),
    path("maps/<row:map_id>/clusters/", map_features.map_clusters, name="map_clusters"),
    path("maps/<row:map_id>/search/", map_features.map_search_found, name="map_search"),
    path("maps/<row:map_id>/selection/", map_selection.map_selection, name="map_selection"),
    path("maps/<row:map_id>/selection.<sheet:sheet>", map_selection.map_selection_sheet, name="map_selection_sheet"),
    path("maps/<row:map_id>/selection/keep/", map_selection.map_selection_keep, name="map_selection_keep"),
    path("maps/tiles/<sha256:sha256>/index.json", map_tiles.map_index, name="map_index"),
    path("maps/tiles/<sha256:sha256>/points/<row:z>/<row:x>/<row:y>", map_tiles.map_points, name="map_points"),
    path("maps/tiles/<sha256:sha256>/density/<row:z>/<row:x>/<row:y>.png", map_tiles.map_density, name="map_density"),
    path("saes/<slug:slug>/labels/", labels.labels, name="labels"),
    path("saes/<slug:slug>/labels.<sheet:sheet>", labels.labels_sheet, name="labels_sheet"),
    path("saes/<slug:slug>/labels/import/", labels.labels_import, name="labels_import"),
    path("lists/", lists.lists, name="lists"),
    path("lists/make/", lists.list_make, name="list_make"),
    path("lists/<row:list_id>/", lists.feature_list, name="list"),
    path("lists/<row:list_id>.<sheet:sheet>", lists.list_sheet, name="list_sheet"),
    path("lists/<row:list_id>/change/", lists.list_change, name="list_change"),
    path("lists/<row:list_id>/remove/", lists.list_remove, name="list_remove"),
    path("lists/<row:list_id>/entries/<row:entry_id>/note/", lists.entry_note, name="entry_note"),
    path("lists/<row:list_id>/entries/<row:entry_id>/remove/", lists.entry_remove, name="entry_remove"),
    path("search/", search.search, name="search"),
    path("search/text/", search.text_read, name="text_read"),
    path("search/text/<row:reading_id>/", search.reading, name="reading"),
    path("search/prepare/<slug:slug>/", search.search_prepare, name="search_prepare"),
    path("steer/", steer.steer, name="steer"),
    path("steer/find/", steer_find.steer_find, name="steer_find"),
    path("steer/by/<slug:slug>/<row:index>/", steer_find.steer_measures, name="steer_measures"),
    path("steer/<token:key>/", steer.steering, name="steering"),
    path("steer/<token:key>/place/", steer.steering_place, name="steering_place"),
    path("steer/<token:key>/title/", steer.steering_title, name="steering_title"),
    path("steer/<token:key>/cancel/", steer.steering_cancel, name="steering_cancel"),
    path("steer/<token:key>/again/", steer.steering_again, name="steering_again"),
    path("studies/", studies.studies, name="studies"),
    path("studies/make/", studies.study_make, name="study_make"),
    path("studies/<row:study_id>/", studies.study, name="study"),
    path("studies/<row:study_id>/change/", studies.study_change, name="study_change"),
    path("studies/<row:study_id>/open/", studies.study_open, name="study_open"),
    path("studies/<row:study_id>/close/", studies.study_close, name="study_close"),
    path("studies/<row:study_id>/show/", studies.study_show, name="study_show"),
    path("studies/<row:study_id>/remove/", studies.study_remove, name="study_remove"),
    path("studies/<row:study_id>/items/<token:key>/", studies.study_item, name="study_item"),
    path("studies/<row:study_id>/items/<token:key>/known/", studies.study_item_known, name="study_item_known"),
    path("studies/<row:study_id>/items/<token:key>/unknown/", studies.study_item_unknown, name="study_item_unknown"),
    path("rubrics/", rubrics.rubrics, name="rubrics"),
    path("rubrics/make/", rubrics.rubric_make, name="rubric_make"),
    path("rubrics/<slug:slug>/<row:version>/", rubrics.rubric, name="rubric"),
    path("rubrics/<slug:slug>/<row:version>/revise/", rubrics.rubric_revise, name="rubric_revise"),
    path("rubrics/<slug:slug>/<row:version>/change/", rubrics.rubric_change, name="rubric_change"),
    path("studies/<row:study_id>/results/", results.study_results, name="study_results"),
    path("studies/<row:study_id>/results/<token:key>/", results.item_results, name="item_results"),
    path("studies/<row:study_id>/charts/<slug:chart>/", results.study_chart, name="study_chart"),
    path("studies/<row:study_id>/adjudicate/", results.study_adjudicate, name="study_adjudicate"),
    path("studies/<row:study_id>/agreement.json", results.study_agreement, name="study_agreement"),
    path("studies/<row:study_id>/scores.<sheet:sheet>", results.scores_sheet, name="scores_sheet"),
    path("studies/<row:study_id>/scores/import/", results.scores_import, name="scores_import"),
    path("guess/", guess.guess, name="guess"),
    path("guess/<row:seed>/", guess.guess_round, name="guess_round"),
    path("score/", score.score, name="score"),
    path("score/<row:study_id>/", score.score_study, name="score_study"),
    path("score/<row:study_id>/next/", score.score_next, name="score_next"),
    path("score/<row:study_id>/undo/", score.score_undo, name="score_undo"),
    path("score/<row:study_id>/leave/", score.score_leave, name="score_leave"),
    path("score/<row:study_id>/<token:key>/", score.score_item, name="score_item"),
    path("score/<row:study_id>/<token:key>/say/", score.score_say, name="score_say"),
    path("score/<row:study_id>/<token:key>/save/", score.score_save, name="score_save"),
    path("score/<row:study_id>/<token:key>/reveal/", score.score_reveal, name="score_reveal"),
    path("score/<row:study_id>/<token:key>/submit/", score.score_submit, name="score_submit"),
    path("score/<row:study_id>/<token:key>/answer/", score.score_answer, name="score_answer"),
    path("score/<row:study_id>/<token:key>/skip/", score.score_skip, name="score_skip"),
    path("jobs/", jobs.jobs, name="jobs"),
    path("jobs/diagnose/", jobs.diagnose, name="diagnose"),
    path("jobs/<row:job_id>/", jobs.job, name="job"),
    path("jobs/<row:job_id>/row/", jobs.job_row, name="job_row"),
    path("jobs/<row:job_id>/panel/", jobs.job_panel, name="job_panel"),
    path("jobs/<row:job_id>/cancel/", jobs.job_cancel, name="job_cancel"),
    path("jobs/<row:job_id>/retry/", jobs.job_retry, name="job_retry"),
    path("artifacts/<sha256:sha256>/", artifacts.artifact, name="artifact"),
    path("events/", events.events, name="events"),
    path("account/", account.account, name="account"),
    path("account/password/", account.account_password, name="account_password"),
    path("account/tokens/", account.token_make, name="token_make"),
    path("account/tokens/<row:token_id>/revoke/", account.token_revoke, name="token_revoke"),
    path("people/", people.people, name="people"),
    path("people/invite/", people.person_invite, name="person_invite"),
    path("people/<row:person_id>/", people.person, name="person"),
    path("people/<row:person_id>/role/", people.person_role, name="person_role"),
    path("people/<row:person_id>/active/", people.person_active, name="person_active"),
    path("people/<row:person_id>/link/", people.person_link, name="person_link"),
    path("audit/", people.audit, name="audit"),
    path("patterns/", patterns.patterns, name="patterns"),
    path("patterns/charts/<slug:name>/", patterns.pattern_chart, name="pattern_chart"),
    path("sign-in/", sign_in.sign_in, name="sign_in"),
    path("sign-in/<token:token>/", sign_in.sign_in_link, name="sign_in_link"),
    path("sign-out/", sign_in.sign_out, name="sign_out"),
    path("invitation/<token:token>/", sign_in.invitation, name="invitation"),
    path("register/", sign_in.register, name="register"),
    path("api/", guide.api_guide, name="api_guide"),
    path("api/v1/", include("explorer.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
]

handler400 = "explorer.views.errors.bad_request"
handler403 = "explorer.views.errors.forbidden"
handler404 = "explorer.views.errors.not_found"
handler500 = "explorer.views.errors.server_error"
