"""Fits a recipe of conversations to recordings, by who speaks when in them.

python -m beam_jobs.fit_conversation --rttm 'ami/*.rttm' > my_meetings.json
"""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence

from beam_jobs.corpora.layout import match_files
from beam_jobs.recipes.conversation_fit import Fit, fit_conversation, read_recordings
from beam_jobs.storage import files
from command_line.exit_status import DONE, run_command
from command_line.options import UsageError, check_options, make_parser
from schemas.recipe_config import RecipeConfig

_NAME = "fit_conversation"
_MAX_SHOWN = 3


def build_parser() -> argparse.ArgumentParser:
    """Returns the parser of the options of this command."""
    parser = make_parser(
        "beam_jobs.fit_conversation",
        "fit-conversation",
        description="Fits a recipe of conversations to recordings, and prints it for"
        " build_mixtures --recipe.",
        epilog="Exit status: 0 done, 1 failed.",
    )
    parser.add_argument(
        "--rttm",
        nargs="+",
        action="extend",
        required=True,
        metavar="FILE|PATTERN",
        help="who speaks when in the recordings: RTTM files, local or gs://, or glob patterns",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status.

    Raises:
        UserError: a command line that can't be followed, or files that are not RTTM.
        OSError: a file can't be read.
    """
    parser = build_parser()
    check_options(argv, parser)
    paths = _find_files(parser.parse_args(argv).rttm)
    recordings = read_recordings(paths)
    _say_left_out("files without turns", set(paths) - {path for path, _ in recordings})
    conversations = {
        origin: turns
        for origin, turns in recordings.items()
        if len({turn.speaker for turn in turns}) > 1
    }
    alone = recordings.keys() - conversations.keys()
    _say_left_out("recordings of one speaker", {f"{name} in {path}" for path, name in alone})
    if not conversations:
        raise UsageError(f"no conversation of two or more speakers in {len(paths)} files")
    fit = fit_conversation(list(conversations.values()))
    _describe(fit)
    print(_format(fit.config))
    return DONE


def _find_files(arguments: Sequence[str]) -> list[str]:
    """Returns the files that arguments name or match, each once."""
    paths: dict[str, str] = {}
    for argument in arguments:
        if os.path.isdir(argument):
            raise UsageError(f"--rttm={argument}: a folder: name its files, as in '{argument}/*'")
        matched = match_files(files.absolute(argument))
        if not matched:
            raise UsageError(f"--rttm={argument}: no such file")
        paths |= {files.real_path(path): path for path in matched}
    return list(paths.values())


def _format(config: RecipeConfig) -> str:
    """Returns a configuration as people write them, with short lists on a line."""
    text = json.dumps(config.to_document(), indent=2)
    return re.sub(r"\[\s+([^][{}]*?)\s+\]", lambda found: f"[{' '.join(found[1].split())}]", text)


def _say_left_out(what: str, names: set[str]) -> None:
    if names:
        shown = ", ".join(sorted(names)[:_MAX_SHOWN])
        more = ", ..." if len(names) > _MAX_SHOWN else ""
        print(f"{_NAME}: left out {len(names)} {what}: {shown}{more}", file=sys.stderr)


def _describe(fit: Fit) -> None:
    by_number = ", ".join(f"{count} of {number}" for number, count in fit.num_speakers.items())
    num_recordings = sum(fit.num_speakers.values())
    print(
        f"{_NAME}: {num_recordings} recordings ({by_number} speakers), {fit.num_turns} turns,"
        f" {fit.speech_s / 3600:.2f} hours of speech",
        file=sys.stderr,
    )
    for key in fit.guessed:
        print(
            f"{_NAME}: no example of conversation.{key}: it is that of --recipe=conversation",
            file=sys.stderr,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; the last line it prints says how it ended."""
    return run_command(argv, run, name=_NAME, resumes=False)


if __name__ == "__main__":
    sys.exit(main())
