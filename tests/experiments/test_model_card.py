import json
from pathlib import Path
from typing import Any

import pytest

from experiments.default_model.__main__ import TESTS
from experiments.default_model.card import MIXTURES, main


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
def evaluations(tmp_path: Path) -> Path:
    for name in MIXTURES:
        models = [summary("mixture", 0), summary("model", 9.876), summary("mask", 13.5)]
        results = [
            {"model": "model", "measures": {"si_sdri_db": value}} for value in (-1, 8, 10, 12)
        ]
        (tmp_path / "evaluations" / name).mkdir(parents=True)
        report = json.dumps({"models": models, "results": results})
        (tmp_path / "evaluations" / name / "report.json").write_text(report)
    return tmp_path / "evaluations"


def test_the_card_has_a_row_for_each_evaluation() -> None:
    assert MIXTURES.keys() == TESTS.keys()


def test_scores_replace_those_that_the_card_has(evaluations: Path, tmp_path: Path) -> None:
    card = tmp_path / "bundle/README.md"
    card.parent.mkdir()
    card.write_text("# A model\n<!-- scores -->\nold\n<!-- end of scores -->\n## Data\n")
    arguments = [f"--evaluations={evaluations}", f"--bundle={card.parent}"]
    assert main(arguments) == 0
    written = card.read_text()
    assert (
        "| fully overlapped (`librimix`) | 4 | 9.88 | 9.88 | 7.88 |  | 1.00 to 10.88 |" in written
    )
    assert "25% do not improve" in written
    assert "old" not in written
    assert written.startswith("# A model\n")
    assert written.endswith("<!-- end of scores -->\n## Data\n")
    assert main(arguments) == 0
    assert card.read_text() == written


def test_a_bundle_without_a_card_gets_one(evaluations: Path, tmp_path: Path) -> None:
    assert main([f"--evaluations={evaluations}", f"--bundle={tmp_path}"]) == 0
    assert (tmp_path / "README.md").read_text().count("\n| ") == len(MIXTURES) + 2
