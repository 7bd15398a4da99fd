from pathlib import Path
from typing import Any

import pytest

from experiments.default_model.card import MIXTURES, Alone, Cost, describe, write_into_card


def summary(model: str, si_sdri_db: float) -> dict[str, Any]:
    measures = {"si_sdri_db": si_sdri_db, "sdr_db": si_sdri_db + 1, "stoi": 0.75}
    groups = {"gender": {"same": {"mixtures": 2, "mean": si_sdri_db - 2}}}
    return {
        "model": model,
        "mixtures": 4,
        **{name: {"mean": value, "median": value} for name, value in measures.items()},
        "groups": groups,
    }


@pytest.fixture
def scores() -> str:
    model = summary("model", 9.876) | {"silent_outputs": {"total": 3}}
    models = [summary("mixture", 0), model, summary("mask", 13.5)]
    results = [{"model": "model", "measures": {"si_sdri_db": value}} for value in (-1, 8, 10, 12)]
    reports = {name: {"models": models, "results": results} for name in MIXTURES}
    return describe(reports, Alone(120, 118), Cost(13.26, num_cores=2, memory_gb=0.84))


def test_a_card_says_what_was_measured(scores: str) -> None:
    assert scores.count("\n| ") == len(MIXTURES) + 1
    assert "| fully overlapped (`librimix`) | 4 | 9.88 | 9.88 | 7.88 |  | 1.00 to 10.88 |" in scores
    assert scores.count(" | 13.50 | 3 |") == len(MIXTURES)
    assert "25% do not improve" in scores
    assert "Of 120 recordings of one speaker, 118 have all speech in one file" in scores
    assert "13.3 times as fast as they play, with start-up, and takes 0.8 GB" in scores


def test_scores_replace_those_that_the_card_has(scores: str, tmp_path: Path) -> None:
    card = tmp_path / "README.md"
    card.write_text("# A model\n<!-- scores -->\nold\n<!-- end of scores -->\n## Data\n")
    write_into_card(card, scores)
    written = card.read_text()
    assert scores in written
    assert "old" not in written
    assert written.startswith("# A model\n")
    assert written.endswith("<!-- end of scores -->\n## Data\n")
    write_into_card(card, scores)
    assert card.read_text() == written


def test_a_bundle_without_a_card_gets_one(scores: str, tmp_path: Path) -> None:
    write_into_card(tmp_path / "README.md", scores)
    assert scores in (tmp_path / "README.md").read_text()
