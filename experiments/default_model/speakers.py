"""Lists speech that nobody trained the default model on, for tests of it: see `--help`.

OUTPUT gets a manifest of each corpus, `CORPUS.jsonl`, with all that is said by the speakers who are
kept for the test. `build_mixtures` takes a manifest as a corpus; all of it is for the test:
`--corpus OUTPUT/CORPUS.jsonl --splits test=1`.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from beam_jobs.corpora import find_utterances
from beam_jobs.corpora.headers import catalogue_utterance
from beam_jobs.corpora.layout import Corpus, parse_corpora
from beam_jobs.recipes.splits import parse_shares, split_by_shares
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from experiments.default_model import SPLITS
from schemas.dataset import Split
from schemas.errors import UserError
from schemas.recipe import Utterance


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.speakers", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--corpus", action="append", required=True, help="clean speech")
    parser.add_argument("--output", required=True, type=Path, help="the folder of the manifests")
    options = parser.parse_args(arguments)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        for corpus in parse_corpora(options.corpus):
            manifest = "".join(f"{json.dumps(line)}\n" for line in _list_unheard(corpus))
            (options.output / f"{corpus.name}.jsonl").write_text(manifest, encoding="utf-8")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def utterances(corpus: Corpus) -> Iterator[Utterance]:
    """Yields the usable utterances of a corpus, and prints why the others are left out."""
    for found in find_utterances(corpus):
        one = catalogue_utterance(*found, prefix_names=False)
        if isinstance(one, Rejected):
            print(f"left out: {one.path}: {one.reason}", file=sys.stderr)
        else:
            yield one


def split_speakers(names: Iterable[str]) -> dict[str, Split]:
    """Returns the split of each speaker of a corpus."""
    return split_by_shares(names, parse_shares(SPLITS), min_speakers=2)


def _list_unheard(corpus: Corpus) -> Iterator[dict[str, str | float]]:
    """Yields the lines of a manifest, as NeMo has them."""
    spoken = sorted(utterances(corpus), key=lambda one: one.id)
    splits = split_speakers({one.speaker for one in spoken})
    for one in spoken:
        if splits[one.speaker] == "test":
            line: dict[str, str | float] = {
                "audio_filepath": files.join(corpus.root, one.path),
                "offset": one.start / one.sample_rate,
                "duration": one.duration_s,
                "speaker": one.speaker,
                "gender": one.gender,
            }
            yield line if one.channel is None else line | {"channel": one.channel}


if __name__ == "__main__":
    sys.exit(main())
