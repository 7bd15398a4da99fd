import argparse
import subprocess
from pathlib import Path

import pytest

from beam_jobs import build_mixtures
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.rendering.rooms import check_simulation
from beam_jobs.runtime.options import parse_options
from experiments.default_model import CONFIGURATION, SAMPLE_RATE
from experiments.default_model.__main__ import TESTS, TRAINING, commands, main
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


def test_its_mixtures_are_of_recipes_that_ship(options: argparse.Namespace) -> None:
    builds = [command for command in commands(options) if command[0].endswith("build_mixtures")]
    assert len(builds) == 2 * len(TRAINING) + len(TESTS)
    for _, *arguments in builds:
        build, _ = parse_options(build_mixtures.build_parser(), arguments)
        recipe = load_recipe_config(build.recipe, sample_rate=build.sample_rate)
        assert recipe.sample_rate == SAMPLE_RATE
        assert bool(build.noise) == (recipe.noise is not None)
        assert bool(build.rooms) == (recipe.rooms == "recorded")
        if isinstance(recipe.rooms, SimulatedRooms):
            check_simulation(recipe.rooms)


def test_it_trains_on_every_corpus_and_is_tested_on_the_first(options: argparse.Namespace) -> None:
    steps = list(commands(options))
    (train,) = (step for step in steps if step[0] == "training.train")
    assert train[train.index("--start_from") + 1] == "earlier"
    text = Path(train[train.index("--config") + 1]).read_text()
    assert parse_configuration(text, str(CONFIGURATION)).sample_rate == SAMPLE_RATE
    built = {step[step.index("--output") + 1]: step for step in steps if "--corpus" in step}
    trained_on = [built.pop(name) for name in train if name in built]
    assert {step[step.index("--corpus") + 1] for step in trained_on} == {"speech", "more_speech"}
    assert {step[step.index("--corpus") + 1] for step in built.values()} == {"speech"}
    tested_on = {step[step.index("--dataset") + 1] for step in steps if "evaluate" in step[0]}
    assert tested_on == set(built)
    assert [step[0] for step in steps[-2:]] == ["training.export", "experiments.default_model.card"]


def test_what_is_done_is_not_done_again(options: argparse.Namespace) -> None:
    for step in list(commands(options)):
        if "--corpus" in step:
            folder = Path(step[step.index("--output") + 1])
            folder.mkdir()
            (folder / COMPLETED).touch()
    assert not any("--corpus" in step for step in commands(options))


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
