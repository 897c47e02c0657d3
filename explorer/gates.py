"""What pages and API fetch rows through: whoever may not have one is stopped here."""

from django.contrib.auth.models import User
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from explorer.access import (
    Person,
    may_change_job,
    may_change_map,
    may_change_rubric,
    may_change_sae,
    may_change_study,
    may_remove_list,
    may_score,
    may_see_list,
    may_see_results,
    role_of,
)
from explorer.front.forwarded import client_key
from explorer.models import (
    Annotator,
    ApiToken,
    FeatureList,
    FeatureMap,
    Item,
    Job,
    ListEntry,
    Rubric,
    Sae,
    Steering,
    Study,
)
from explorer.models.studies import StudyState
from explorer.queries import access as access_queries
from explorer.queries import features as feature_queries
from explorer.queries import jobs as job_queries
from explorer.queries import library as library_queries
from explorer.queries import lists as list_queries
from explorer.queries import maps as map_queries
from explorer.queries import results as result_queries
from explorer.queries import rubrics as rubric_queries
from explorer.queries import scoring as scoring_queries
from explorer.queries import steerings as steering_queries
from explorer.queries import studies as study_queries
from explorer.queries.features import FeaturePage


def signed_in(request: HttpRequest) -> User:
    """Whoever asks, in a view that lets in nobody who has not signed in."""
    assert isinstance(request.user, User)
    return request.user


def address_of(request: HttpRequest) -> str:
    """Where a request came from; front/forwarded.py has seen to proxies."""
    address: str = request.META["REMOTE_ADDR"]
    return address


def who_asks(request: HttpRequest) -> tuple[User | None, str]:
    """The person, if they have signed in, and what limits count them by."""
    if isinstance(request.user, User):
        return request.user, f"person {request.user.pk}"
    return None, f"address {household_of(request)}"


def household_of(request: HttpRequest) -> str:
    """What limits count by where nobody has signed in: an address, or the network that one customer is given."""
    return client_key(address_of(request))


def person_to_see(person_id: int) -> User:
    person = access_queries.person(person_id)
    if person is None:
        raise Http404(f"There is no person {person_id}.")
    return person


def token_to_revoke(user: Person, token_id: int) -> ApiToken:
    """One's own; an administrator anybody's. Of others' not even that there are any is told."""
    token = access_queries.token(token_id)
    if token is None or (token.user_id != user.pk and not role_of(user).may_administer):
        raise Http404(f"There is no token {token_id}.")
    return token


def sae_to_see(slug: str) -> Sae:
    return _there(library_queries.sae(slug), slug)


def _there(sae: Sae | None, slug: str) -> Sae:
    if sae is None:
        raise Http404(f"There is no SAE {slug}.")
    return sae


def sae_to_change(user: Person, slug: str) -> Sae:
    sae = sae_to_see(slug)
    if not may_change_sae(user, sae):
        raise PermissionDenied("Only whoever added an SAE, or an administrator, may change it.")
    return sae


def sae_of_feature(slug: str, index: int) -> Sae:
    """For what is about a feature and shows nothing of its evidence."""
    sae = sae_to_see(slug)
    if index >= sae.n_latents:
        raise Http404(f"{sae.name} has no feature {index}.")
    return sae


def sae_to_read(slug: str) -> Sae:
    """With its newest map, and the same object for everyone: nobody changes it."""
    return _there(library_queries.sae_to_read(slug), slug)


def feature_to_see(slug: str, index: int) -> FeaturePage:
    sae = sae_to_read(slug)
    page = feature_queries.feature(sae, index) if index < sae.n_latents else None
    if page is None:
        raise Http404(f"{sae.name} has no feature {index}.")
    return page


def map_to_see(map_id: int) -> FeatureMap:
    found = map_queries.feature_map(map_id)
    if found is None:
        raise Http404(f"There is no map {map_id}.")
    return found


def map_to_change(user: Person, map_id: int) -> FeatureMap:
    found = map_to_see(map_id)
    if not may_change_map(user, found):
        raise PermissionDenied("Only whoever made a map, or an administrator, may remove it.")
    return found


def list_to_see(user: Person, list_id: int) -> FeatureList:
    """Of others' that are not shared, not even that there are any is told."""
    found = list_queries.feature_list(list_id)
    if found is None or not may_see_list(user, found):
        raise Http404(f"There is no list {list_id}.")
    return found


def list_to_change(user: User, list_id: int) -> FeatureList:
    found = list_to_see(user, list_id)
    if found.owner_id != user.pk:
        raise PermissionDenied("Only whoever made a list may change it.")
    return found


def list_to_remove(user: User, list_id: int) -> FeatureList:
    found = list_to_see(user, list_id)
    if not may_remove_list(user, found):
        raise PermissionDenied("Only whoever made a list, or an administrator, may remove it.")
    return found


def entry_to_change(user: User, list_id: int, entry_id: int) -> ListEntry:
    found = list_queries.entry(list_to_change(user, list_id), entry_id)
    if found is None:
        raise Http404(f"There is no entry {entry_id} in this list.")
    return found


def job_to_see(job_id: int) -> Job:
    job = job_queries.detail(job_id)
    if job is None:
        raise Http404(f"There is no job {job_id}.")
    return job


def reading_to_see(reading_id: int) -> Job:
    """A text that was read, which whoever may read here may see by its address, as other jobs they may not."""
    job = job_queries.detail(reading_id)
    if job is None or job.kind != "read_text":
        raise Http404(f"There is no text {reading_id}.")
    return job


def steering_to_see(key: str) -> Steering:
    """Whoever may read here may see one whose address they were given."""
    found = steering_queries.steering(key)
    if found is None:
        raise Http404(f"There is no steering {key}.")
    return found


def may_cancel_steering(request: HttpRequest, found: Steering) -> bool:
    """Whoever asked for it, whom limits tell apart also where they have not signed in; or an administrator."""
    _, who = who_asks(request)
    return found.who == who or (found.job is not None and may_change_job(request.user, found.job))


def steering_to_cancel(request: HttpRequest, key: str) -> Steering:
    found = steering_to_see(key)
    if not may_cancel_steering(request, found):
        raise PermissionDenied("Only whoever asked for it, or an administrator, may cancel it.")
    return found


def job_to_change(user: Person, job_id: int) -> Job:
    job = job_to_see(job_id)
    if not may_change_job(user, job):
        raise PermissionDenied("Only whoever started a job, or an administrator, may change it.")
    return job


def study_to_score(study_id: int) -> Study:
    """Of one that is not open yet not even that it is there is told."""
    found = scoring_queries.study(study_id)
    if found is None or found.state == StudyState.DRAFT:
        raise Http404(f"There is no study {study_id}.")
    return found


def item_to_score(study_id: int, key: str, annotator: Annotator) -> Item:
    """One that they were offered; of others not even that there are any is told."""
    item = scoring_queries.item_offered(study_id, key, annotator)
    if item is None or item.subject.study.state == StudyState.DRAFT:
        study_to_score(study_id)
        raise Http404("This study has no such item for you.")
    return item


def study_to_see(study_id: int) -> Study:
    """With all that is known of it, for researchers."""
    found = study_queries.study(study_id)
    if found is None:
        raise Http404(f"There is no study {study_id}.")
    return found


def study_to_change(user: Person, study_id: int) -> Study:
    found = study_to_see(study_id)
    if not may_change_study(user, found):
        raise PermissionDenied("Only whoever made a study, or an administrator, may change it.")
    return found


def item_to_see(study_id: int, key: str) -> Item:
    """With what it truly is."""
    found = study_queries.item(study_id, key)
    if found is None:
        raise Http404(f"Study {study_id} has no item {key}.")
    return found


def item_to_change(user: Person, study_id: int, key: str) -> Item:
    study_to_change(user, study_id)
    return item_to_see(study_id, key)


class Blind(PermissionDenied):
    """Whoever annotates in a study that is open sees nothing of what others gave, nor of what items are."""

    def __init__(self, study: Study) -> None:
        super().__init__(f"You annotate in {study}, and so its results show when it is closed.")
        self.study = study


def study_to_know(user: Person, study_id: int) -> Study:
    """That it is there, and what annotators go by. Of one that somebody may neither score nor see the results of, not
    even that is told."""
    found = study_queries.study(study_id)
    if found is None or not (may_see_results(user, found) or may_score(user, found)):
        raise Http404(f"There is no study {study_id}.")
    return found


def results_to_see(user: Person, study_id: int) -> Study:
    """Where they may not be seen, not even that there are any is told."""
    found = study_queries.study(study_id)
    if found is None or not may_see_results(user, found):
        raise Http404(f"There are no results of a study {study_id}.")
    if found.state == StudyState.OPEN and result_queries.annotates(found.pk, user):
        raise Blind(found)
    return found


def rubric_to_see(slug: str, version: int) -> Rubric:
    found = rubric_queries.rubric(slug, version)
    if found is None:
        raise Http404(f"There is no version {version} of a rubric {slug}.")
    return found


def rubric_to_change(user: Person, slug: str, version: int) -> Rubric:
    found = rubric_to_see(slug, version)
    if not may_change_rubric(user, found):
        raise PermissionDenied("Only whoever made a rubric, or an administrator, may change it. Make a version of it.")
    return found
