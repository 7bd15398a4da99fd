"""Checking that the corpora of a dataset have no folder in common."""

import itertools
from collections.abc import Sequence

from beam_jobs.corpora.layout import SOUNDS, Corpus
from schemas.errors import UserError


class NestedCorporaError(UserError):
    """A corpus is in another one, or is the same folder; the message names both."""


def check_apart(corpora: Sequence[Corpus]) -> None:
    """Checks that no folder is searched for two corpora, wherever links lead.

    Speakers are known by their names within one corpus. In two corpora, a person would have two
    names, be in two splits, and be mixed with herself. Manifests may be beside each other, and what
    they name is compared once the catalogue is made.

    Raises:
        NestedCorporaError: the folder of one corpus is that of another, or in it.
    """
    folders = [corpus for corpus in corpora if not corpus.manifest]
    for one, other in itertools.combinations(folders, 2):
        inner, outer = sorted((one, other), key=lambda corpus: -len(_prefix(corpus)))
        if not _prefix(inner).startswith(_prefix(outer)):
            continue
        if _is_sound(inner) or _is_sound(outer):
            # A pattern may well leave out the noise that is beside the speech.
            if inner.pattern or outer.pattern or (_is_sound(inner) and _is_sound(outer)):
                continue
            raise NestedCorporaError(
                f"{_name(inner)} is in {_name(outer)}: the same files would be speech and sounds"
                " without speech: name folders that are apart, or a pattern"
            )
        raise NestedCorporaError(
            f"{_name(inner)} is {_name(outer)}, or a part of it: a speaker in both would be in two"
            " splits, and be mixed with herself: leave one of them out"
        )


def _prefix(corpus: Corpus) -> str:
    return corpus.real_root.rstrip("/") + "/"


def _is_sound(corpus: Corpus) -> bool:
    return corpus.layout in SOUNDS


def _name(corpus: Corpus) -> str:
    option = corpus.layout if _is_sound(corpus) else "corpus"
    return f"--{option}={corpus.root}{'/' if corpus.pattern else ''}{corpus.pattern}"
