"""The dataset's card and its Croissant, for the tools that read them."""

import re
import shutil

import pytest
from huggingface_hub import DatasetCard
from small_datasets import build, write_recipe
from spoken_corpora import speak

from beam_jobs import verify_dataset


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Mixtures of LibriSpeech over noise of unknown origin."""
    folder = tmp_path_factory.mktemp("card")
    for speaker in range(6):
        for number in range(2):
            name = f"{speaker}/1/{speaker}-1-{number:04d}.flac"
            speak(folder / "train-clean-9" / name, seed=10 * speaker + number)
    for number in range(8):
        speak(folder / "a|b" / f"{number}.wav", 4, seed=number)
    recipe = write_recipe(folder / "recipe.json", noise={"snr_db": 10})
    return build(
        f"--recipe={recipe}",
        f"--noise={folder / 'a|b'}",
        "--num_shards=2",
        "--splits=train=0.67,test=0.33",
        corpus=folder / "train-clean-9",
        output=folder / "tiny" / "2.0.0",
    )


def test_the_hub_reads_what_the_dataset_is_and_which_licences_are_known(built):
    card = DatasetCard.load(built.folder / "README.md")
    about = card.data.to_dict()
    assert about["pretty_name"] == "tiny"
    assert about["license"] == ["cc-by-4.0", "unknown"]
    assert about["size_categories"] == ["n<1K"]
    assert about["task_categories"] == ["audio-to-audio"]
    assert "| train-clean-9 | speech | librispeech | 6 | CC-BY-4.0 |" in card.content
    assert "| a\\|b | noise |  |  | not known |" in card.content
    assert "`mixture == sum(sources) + noise`" in card.content
    for split, counts in built.quality["splits"].items():
        assert f"| {split} | {counts['num_mixtures']} | " in card.content


def test_croissants_own_reader_finds_every_mixture_as_the_card_says(built):
    (code,) = re.findall(
        r"```python\n(import mlcroissant.*?)```",
        (built.folder / "README.md").read_text(),
        re.DOTALL,
    )
    found = {}
    exec(code.replace("FOLDER", str(built.folder)), found)
    described = found["mlcroissant"].Dataset(f"{built.folder}/croissant.json").metadata
    assert (described.name, described.version) == ("tiny", "2.0.0")
    assert described.license == ["https://spdx.org/licenses/CC-BY-4.0.html"]
    records = {record["mixtures/id"].decode(): record for record in found["recipes"]}
    recipes = built.recipes()
    assert len(records) == len(recipes) == built.num_mixtures
    for recipe in recipes:
        record = records[recipe.id]
        assert record["mixtures/split"].decode() == recipe.split
        assert record["mixtures/sample_rate"] == recipe.sample_rate
        assert record["mixtures/duration_s"] == recipe.duration_s


def test_both_are_the_same_whoever_makes_the_dataset(built, tmp_path):
    sources = built.folder.parents[1]
    again = build(
        f"--recipe={sources / 'recipe.json'}",
        f"--noise={sources / 'a|b'}",
        "--num_shards=2",
        "--splits=train=0.67,test=0.33",
        "--direct_num_workers=1",
        corpus=sources / "train-clean-9",
        output=tmp_path / "elsewhere" / "tiny" / "2.0.0",
    )
    for name in ("README.md", "croissant.json"):
        assert (again.folder / name).read_bytes() == (built.folder / name).read_bytes()


def test_a_completed_card_is_no_damage(built, tmp_path, capsys):
    folder = shutil.copytree(built.folder, tmp_path / "2.0.0")
    with (folder / "README.md").open("a") as card:
        card.write("\nThe noise is ours, CC0.\n")
    assert verify_dataset.main([f"--dataset={folder}"]) == 0
    with (folder / "croissant.json").open("a") as croissant:
        croissant.write(" ")
    assert verify_dataset.main([f"--dataset={folder}"]) == 1
    assert "croissant.json" in capsys.readouterr().out
