"""Six items, blind: which are features? All that somebody says stands in the address."""

from dataclasses import dataclass
from secrets import randbelow

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from explorer import scoring
from explorer.access import READERS, allow
from explorer.forms.guessing import CONTROL, FEATURE, SaidForm
from explorer.models import Subject
from explorer.models.studies import SubjectKind
from explorer.queries import guessing
from explorer.queries.guessing import Round

ROUNDS = 1_000_000


@dataclass(frozen=True, slots=True)
class Told:
    subject: Subject
    feature: bool
    right: bool


@allow(READERS)
@require_safe
def guess(request: HttpRequest) -> HttpResponseRedirect:
    return redirect("guess_round", randbelow(ROUNDS))


@allow(READERS)
@require_safe
def guess_round(request: HttpRequest, seed: int) -> HttpResponse:
    found = guessing.round_of(seed)
    if found is None:
        raise Http404("There is no study yet whose items could be guessed.")
    answers = SaidForm(request.GET).answers
    if len(answers) < len(found.subjects):
        return _asked(request, seed, found, answers)
    told = [_told(*each) for each in zip(guessing.told(found), answers, strict=False)]
    ctx = {
        "study": found.study,
        "told": told,
        "right": sum(each.right for each in told),
        "control": found.control.label,
    }
    return render(request, "guess/told.html", ctx)


def _asked(request: HttpRequest, seed: int, found: Round, answers: str) -> HttpResponse:
    item = guessing.item_of(found.subjects[len(answers)])
    if item is None:
        raise Http404("This item has been removed.")
    ctx = {
        "study": found.study,
        "seed": seed,
        "number": len(answers) + 1,
        "of": len(found.subjects),
        "shown": scoring.shown(item, found.study.lm, staged=True),
        "control": found.control.label,
        "as_feature": answers + FEATURE,
        "as_control": answers + CONTROL,
    }
    return render(request, "guess/asked.html", ctx)


def _told(subject: Subject, answer: str) -> Told:
    feature = subject.kind == SubjectKind.FEATURE
    return Told(subject, feature, right=feature == (answer == FEATURE))
