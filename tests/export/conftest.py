import json

import pytest
from small_datasets import SAMPLE_RATE, build, write_corpus, write_recipe
from stems import noise, write_song


@pytest.fixture(scope="package")
def speech(tmp_path_factory):
    """Two speakers a mixture, in three splits."""
    folder = tmp_path_factory.mktemp("speech")
    recipe = write_recipe(folder / "recipe.json")
    corpus = write_corpus(folder / "corpus", num_speakers=8, num_utterances=2)
    splits = "--splits=train=0.5,validation=0.25,test=0.25"
    arguments = [f"--recipe={recipe}", splits, "--num_shards=2", "--num_mixtures=8"]
    built = build(*arguments, corpus=corpus, output=folder / "dataset")
    assert built.status == 0
    return built.folder


@pytest.fixture(scope="package")
def noisy(speech, tmp_path_factory):
    """The same recipes, over noise; what the first speaker says is known."""
    folder = tmp_path_factory.mktemp("noisy")
    hiss = folder / "hiss"
    write_song(hiss, {"long": noise(0, num_frames=10 * SAMPLE_RATE, channels=1)}, rate=SAMPLE_RATE)
    lines = []
    for path in sorted((speech / "recipes").iterdir()):
        for line in path.read_text().splitlines():
            recipe = json.loads(line)
            recipe["noise"] = {
                "corpus": "hiss",
                "path": "long.wav",
                "start": 0,
                "stop": 8 * SAMPLE_RATE,
                "num_frames": 8 * SAMPLE_RATE,
                "file_sample_rate": SAMPLE_RATE,
                "gain_db": -12.0,
            }
            recipe["sources"][0] |= {"text": f"I am {recipe['id']}", "language": "en"}
            lines.append(json.dumps(recipe) + "\n")
    (folder / "recipes.jsonl").write_text("".join(lines))
    arguments = [f"--recipes={folder / 'recipes.jsonl'}", f"--noise={hiss}"]
    built = build(*arguments, corpus=speech.parent / "corpus", output=folder / "dataset")
    assert built.status == 0
    return built.folder


@pytest.fixture(scope="package")
def transmitted(speech, tmp_path_factory):
    """The same recipes, clipped on their transmission."""
    folder = tmp_path_factory.mktemp("transmitted")
    lines = [
        json.dumps(json.loads(line) | {"transmission": [{"clipping": {"below_peak_db": 6}}]})
        for path in sorted((speech / "recipes").iterdir())
        for line in path.read_text().splitlines()
    ]
    (folder / "recipes.jsonl").write_text("\n".join(lines))
    arguments = [f"--recipes={folder / 'recipes.jsonl'}"]
    built = build(*arguments, corpus=speech.parent / "corpus", output=folder / "dataset")
    assert built.status == 0
    return built.folder
