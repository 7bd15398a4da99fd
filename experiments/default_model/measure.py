"""Measures a separator and writes its card: `python -m experiments.default_model.measure --help`.

It builds mixtures by each of the recipes for tests, of speakers whom the default model has not
heard, separates them as an archive, scores what comes out of it, and writes scores, speed and
memory into the card, `README.md` in the folder of the bundle. Run again, it goes on where it
stopped; with another bundle it separates the same mixtures.
"""

import argparse
import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from command_line.exit_status import DONE
from experiments.default_model.card import MIXTURES, Alone, Cost, describe, write_into_card
from experiments.default_model.steps import build_mixtures, read_recipe, run_steps
from schemas.dataset import COMPLETED
from schemas.ledger import LEDGER, SUMMARY, parse_ledger_record

ONE_SPEAKER, CONVERSATION = "test_one_speaker", "conversation"

# A conversation lasts two minutes, so that few of them hold as much speech as many short mixtures.
NUM_MIXTURES, NUM_CONVERSATIONS = 120, 12


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or that of the step that failed."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.measure", description=__doc__, allow_abbrev=False
    )
    parser.add_argument("--corpus", required=True, help="the clean speech that it is tested on")
    parser.add_argument("--noise", required=True, help="a folder of noise")
    parser.add_argument("--rooms", required=True, help="a folder of recorded room responses")
    parser.add_argument(
        "--work", type=Path, required=True, help="the folder for everything in between"
    )
    parser.add_argument("--bundle", required=True, help="the folder of the bundle")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        if status := run_steps(commands(options)):
            return status
        cost = _measure_cost(options)
        reports = {
            name: json.loads((options.work / "scores" / name / "report.json").read_text("utf-8"))
            for name in MIXTURES
        }
        alone = _count_alone(options.work / "separated" / ONE_SPEAKER)
        write_into_card(Path(options.bundle, "README.md"), describe(reports, alone, cost))
    except (OSError, subprocess.CalledProcessError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return DONE


def commands(options: argparse.Namespace) -> Iterator[list[str]]:
    """Yields the command of each step before the last ones, leaving out finished datasets."""
    work: Path = options.work
    yield ["experiments.default_model.speakers", "--corpus", options.corpus, "--output", str(work)]
    for recipe in (*MIXTURES, ONE_SPEAKER):
        dataset = work / recipe
        if not (dataset / COMPLETED).exists():
            yield build_mixtures(
                str(work / f"{Path(options.corpus).name}.jsonl"),
                recipe,
                dataset,
                NUM_CONVERSATIONS if recipe == CONVERSATION else NUM_MIXTURES,
                splits="test=1",
                noise=options.noise,
                rooms=options.rooms,
            )
        audio = ["--output", str(work / "audio" / recipe), "--layout", "folders"]
        yield ["beam_jobs.export_audio", "--dataset", str(dataset), *audio]
        yield _separate(options, recipe)
        if recipe in MIXTURES:
            separated = ["--separated", str(work / "separated" / recipe)]
            output = ["--output", str(work / "scores" / recipe)]
            yield ["beam_jobs.score_separation", *separated, "--dataset", str(dataset), *output]


def _separate(options: argparse.Namespace, recipe: str) -> list[str]:
    heard = "degraded" if "transmission" in read_recipe(recipe) else "mixture"
    recordings = options.work / "audio" / recipe / "test/*" / f"{heard}.wav"
    output = ["--output", str(options.work / "separated" / recipe)]
    command = ["beam_jobs.separate_archive", "--input", str(recordings), *output]
    return [*command, "--model", options.bundle]


def _measure_cost(options: argparse.Namespace) -> Cost:
    """Separates the conversations once more, and returns what that costs."""
    command = [*_separate(options, CONVERSATION), "--force"]
    process = subprocess.Popen([sys.executable, "-m", *command])
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command)
    summary = json.loads((options.work / "separated" / CONVERSATION / SUMMARY).read_text("utf-8"))
    return Cost(
        times_real_time=summary["speed"],
        num_cores=len(os.sched_getaffinity(0)),
        # In kilobytes on Linux.
        memory_gb=usage.ru_maxrss * 1024 / 1e9,
    )


def _count_alone(separated: Path) -> Alone:
    """Counts the recordings of one speaker that have one voice, by the ledger."""
    voices = [
        parse_ledger_record(path.read_text("utf-8"), str(path)).num_voices
        for path in (separated / LEDGER).rglob("*.json")
    ]
    return Alone(num_recordings=len(voices), num_one_voice=voices.count(1))


if __name__ == "__main__":
    sys.exit(main())
