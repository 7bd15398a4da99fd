import argparse
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from beam_jobs import build_mixtures, score_separation, separate_archive
from beam_jobs.corpora.layout import parse_corpora
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.rendering.rooms import check_simulation
from beam_jobs.runtime.options import parse_options
from experiments.default_model import CONFIGURATION, SAMPLE_RATE, measure, speakers
from experiments.default_model.__main__ import TRAINING, commands, main
from experiments.default_model.card import MIXTURES
from schemas.configuration import parse_configuration
from schemas.dataset import COMPLETED
from schemas.recipe_config import SimulatedRooms


@pytest.fixture
def options(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(
        corpus=["speech", "more_speech"],
        noise="noise",
        rooms="rooms",
        work=tmp_path,
        minutes=90.0,
        start_from="earlier",
        output="bundle",
        config=str(CONFIGURATION),
    )


@pytest.fixture
def measured(tmp_path: Path) -> argparse.Namespace:
    return argparse.Namespace(
        corpus="speech", noise="noise", rooms="rooms", work=tmp_path, bundle="bundle"
    )


def of(command: str, steps: Iterable[list[str]]) -> list[list[str]]:
    """The arguments of the steps that are one command."""
    return [arguments for name, *arguments in steps if name == f"beam_jobs.{command}"]


def test_its_mixtures_are_of_recipes_that_ship(
    options: argparse.Namespace, measured: argparse.Namespace
) -> None:
    to_train = of("build_mixtures", commands(options))
    to_test = of("build_mixtures", measure.commands(measured))
    assert len(to_train) == 2 * len(TRAINING)
    assert len(to_test) == len(MIXTURES) + 1
    for arguments in (*to_train, *to_test):
        build, _ = parse_options(build_mixtures.build_parser(), arguments)
        recipe = load_recipe_config(build.recipe, sample_rate=build.sample_rate)
        assert recipe.sample_rate == SAMPLE_RATE
        assert bool(build.noise) == (recipe.noise is not None)
        assert bool(build.rooms) == (recipe.rooms == "recorded")
        if isinstance(recipe.rooms, SimulatedRooms):
            check_simulation(recipe.rooms)


def test_it_trains_on_every_corpus_and_is_measured_on_the_first(
    options: argparse.Namespace,
) -> None:
    steps = list(commands(options))
    (train,) = (step for step in steps if step[0] == "training.train")
    assert train[train.index("--start_from") + 1] == "earlier"
    text = Path(train[train.index("--config") + 1]).read_text()
    assert parse_configuration(text, str(CONFIGURATION)).sample_rate == SAMPLE_RATE
    built = {step[step.index("--output") + 1]: step for step in steps if "build" in step[0]}
    trained_on = [built.pop(name) for name in train if name in built]
    assert not built
    assert {step[step.index("--corpus") + 1] for step in trained_on} == {"speech", "more_speech"}
    assert steps[-2][0] == "training.export"
    assert steps[-1][0] == "experiments.default_model.measure"
    assert steps[-1][steps[-1].index("--corpus") + 1] == "speech"
    assert steps[-1][steps[-1].index("--bundle") + 1] == "bundle"


def test_a_bundle_is_measured_as_an_archive_is_separated(measured: argparse.Namespace) -> None:
    steps = list(measure.commands(measured))
    separated = {}
    for arguments in of("separate_archive", steps):
        separate, _ = parse_options(separate_archive.build_parser(), arguments)
        assert separate.model == "bundle"
        separated[separate.output] = separate.input
    (by_telephone,) = (files for name, files in separated.items() if name.endswith("telephone"))
    assert by_telephone[0].endswith("degraded.wav")
    scored = [
        parse_options(score_separation.build_parser(), arguments)[0]
        for arguments in of("score_separation", steps)
    ]
    assert [Path(score.output).name for score in scored] == list(MIXTURES)
    assert set(separated) > {score.separated for score in scored}


def test_what_is_done_is_not_done_again(
    options: argparse.Namespace, measured: argparse.Namespace
) -> None:
    for step in [*commands(options), *measure.commands(measured)]:
        if step[0] == "beam_jobs.build_mixtures":
            folder = Path(step[step.index("--output") + 1])
            folder.mkdir()
            (folder / COMPLETED).touch()
    assert not of("build_mixtures", commands(options))
    assert not of("build_mixtures", measure.commands(measured))


def test_the_speakers_to_test_on_are_listed_as_a_corpus(tmp_path: Path) -> None:
    for number in range(20):
        path = tmp_path / f"speech/speaker_{number}/first.wav"
        path.parent.mkdir(parents=True)
        soundfile.write(path, np.zeros(8000), SAMPLE_RATE)
    arguments = ["--corpus", str(tmp_path / "speech"), "--output", str(tmp_path / "unheard")]
    assert speakers.main(arguments) == 0
    (listed,) = parse_corpora([str(tmp_path / "unheard/speech.jsonl")])
    unheard = {one.speaker: one for one in speakers.utterances(listed)}
    splits = speakers.split_speakers(f"speaker_{number}" for number in range(20))
    assert unheard.keys() == {name for name, split in splits.items() if split == "test"}
    assert {(one.start, one.stop) for one in unheard.values()} == {(0, 8000)}


@pytest.mark.parametrize(("of_builds", "ends_with", "is_finished"), [(3, 0, True), (1, 1, False)])
def test_a_few_files_that_can_not_be_used_do_not_end_it(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    of_builds: int,
    ends_with: int,
    is_finished: bool,
) -> None:
    started = []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        started.append(command[2])
        status = of_builds if command[2] == "beam_jobs.build_mixtures" else 0
        return subprocess.CompletedProcess(command, status)

    monkeypatch.setattr(subprocess, "run", run)
    folders = [f"--{name}=folder" for name in ("corpus", "noise", "rooms", "output")]
    assert main([*folders, f"--work={tmp_path}", "--minutes=1"]) == ends_with
    assert ("training.export" in started) == is_finished
