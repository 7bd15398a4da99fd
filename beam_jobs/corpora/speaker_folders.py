"""A folder for each speaker, with the speaker's files anywhere in it: `SPEAKER/.../FILE.wav`."""

import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from beam_jobs.corpora.layout import Candidate, Corpus, audio_paths
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from schemas.errors import UserError

NAME = "speaker_folders"
LICENSES: tuple[str, ...] = ()

# What the folders of a corpus are called that are not those of speakers.
_NO_SPEAKER = re.compile(
    r"(train|training|dev|test|val|valid|validation|eval|evaluation|si_(tr|dt|et)|(in)?validated)"
    r"([-_. ].*)?"
    r"|(wavs?|flac|mp3|aac|m4a|ogg|sph|audio|sounds?|clips|data|corpus|speech|voices?|noise|music"
    r"|recordings?|segments|utterances|mono|stereo|clean|other|noisy)([-_ ]?\d+\w*)?"
    r"|(part|dis[ck]|cd|vol(ume)?|(sub)?set|batch|chunk|split|fold|shard|dr|session|chapter|book)"
    r"[-_ ]?\d+"
    r"|(fe)?males?|(wo)?men|boys|girls|children|adults"
    # Rates, such as 16k.
    r"|\d+ ?k(hz)?|\d{4,5} ?hz",
    re.IGNORECASE,
)
# Beside folders of mixtures, those of their sources, such as `s1`, are not those of speakers.
_MIXTURES = re.compile(r"mix(tures?)?([-_].*)?", re.IGNORECASE)
_LANGUAGE = re.compile(
    r"(a[fmrsz]|b[aegnrs]|c[asy]|d[ae]|e[lnostu]|f[air]|g[alu]|h[aeiruy]|i[dgst]|ja|k[akmnoy]|l[otv]"
    r"|m[klnrsty]|n[belno]|p[alst]|r[ouw]|s[klorqrvw]|t[aehkr]|u[grkz]|vi|wo|xh|y[ou]|z[hu])"
    r"([-_][a-z]{2,4})?"
    r"|arabic|bengali|catalan|chinese|czech|danish|dutch|english|farsi|finnish|french|german|greek"
    r"|hebrew|hindi|hungarian|indonesian|italian|japanese|korean|mandarin|norwegian|persian|polish"
    r"|portuguese|romanian|russian|spanish|swahili|swedish|tamil|telugu|thai|turkish|ukrainian|urdu"
    r"|vietnamese",
    re.IGNORECASE,
)

# So few speakers don't have so many files each, in so many folders.
_FEW_SPEAKERS, _MANY_FILES, _MANY_FOLDERS = 10, 200, 5


def recognises(corpus: Corpus, sampled_paths: Sequence[str]) -> bool:
    """Returns true for anything but a manifest: this layout is tried last."""
    del sampled_paths
    return not corpus.manifest


def candidates(corpus: Corpus) -> Iterator[Candidate | Rejected]:
    """Yields every utterance; its id is its path without the suffix."""
    for path in audio_paths(corpus):
        speaker, separator, _ = path.partition("/")
        if separator:
            yield Candidate(path, os.path.splitext(path)[0], speaker)
        else:
            reason = "not in the folder of a speaker: --speaker_regex can find it in a path"
            yield Rejected(files.join(corpus.root, path), reason)


def check_guess(corpus: Corpus, sampled_paths: Sequence[str]) -> None:
    """Checks that the folders of a corpus look like those of speakers, where nobody has said so.

    Raises:
        UserError: they are called like subsets or languages, or are too few for their size.
    """
    paths = defaultdict(list)
    for path in sampled_paths:
        speaker, separator, rest = path.partition("/")
        if separator:
            paths[speaker].append(rest)
    names = sorted(paths)
    if not names:
        return
    num_odd = sum(bool(_NO_SPEAKER.fullmatch(name)) for name in names)
    are_languages = all(_NO_SPEAKER.fullmatch(name) or _LANGUAGE.fullmatch(name) for name in names)
    are_parts = len(names) <= _FEW_SPEAKERS and any(map(_MIXTURES.fullmatch, names))
    is_odd = 2 * num_odd >= len(names) or are_languages or are_parts
    if is_odd or _are_too_few(list(paths.values())):
        shown = ", ".join(names[:3]) + (", ..." if names[3:] else "")
        raise UserError(
            f"--corpus={corpus.root}: no layout that is known, and its folders ({shown}) do not"
            " look like speakers: say where the speaker is in a path like"
            f" {names[0]}/{paths[names[0]][0]} with --speaker_regex ('([^/]+)/[^/]*$' takes the"
            f" last folder), or name the layout with --corpus_format ({NAME} if these are speakers)"
        )


def _are_too_few(paths_below: Sequence[Sequence[str]]) -> bool:
    """Returns whether the folders are more likely to be groups of speakers.

    Args:
        paths_below: the paths in each folder.
    """
    num_folders = [len({os.path.dirname(path) for path in paths}) for paths in paths_below]
    if len(paths_below) == 1:
        return num_folders[0] > 1 and not any("/" not in path for path in paths_below[0])
    return len(paths_below) <= _FEW_SPEAKERS and all(
        len(paths) >= _MANY_FILES and count >= _MANY_FOLDERS
        for paths, count in zip(paths_below, num_folders, strict=True)
    )
