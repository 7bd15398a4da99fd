"""WebDataset and Hugging Face's datasets read the tars, here and in Cloud Storage."""

import io
import json
import shutil
import tarfile

import numpy as np
import pytest
import soundfile
import webdataset
from exports import export, stored
from small_datasets import build, write_corpus
from webdataset.gopen import gopen_schemes

SPLITS = ("train", "validation", "test")
PARTS = ("mixture", "first_speaker", "second_speaker", "noise")


def decode_flac(content):
    """Returns int16 [samples]."""
    return soundfile.read(io.BytesIO(content), dtype="int16")[0]


def expected_parts(mixture):
    parts = (mixture.mixture, *mixture.sources, mixture.noise)
    return {f"{name}.flac": part[:, 0] for name, part in zip(PARTS, parts, strict=True)}


def check_examples(examples, mixtures):
    """Checks examples with decoded audio against all mixtures of a dataset."""
    seen = []
    for example in examples:
        about = example["json"]
        mixture = mixtures[about["id"]]
        recipe = mixture.recipe
        for name, samples in expected_parts(mixture).items():
            np.testing.assert_array_equal(example[name], samples)
        assert about["split"] == recipe.split
        assert about["sample_rate"] == recipe.sample_rate
        assert about["num_samples"] == len(mixture.mixture)
        assert about["speakers"] == [source.speaker for source in recipe.sources]
        assert about["offsets_s"] == [source.offset_s for source in recipe.sources]
        assert about["gains_db"] == list(mixture.gains_db)
        assert about["overlap_ratio"] == pytest.approx(recipe.overlap_ratio, abs=1e-4)
        assert about["recipe"] == recipe.to_json()
        for row, (source, stretch) in enumerate(zip(recipe.sources, about["speech"], strict=True)):
            assert stretch["source"] == row
            assert stretch["start_s"] == source.offset_s
            assert stretch["duration_s"] == pytest.approx(source.duration_s)
            assert stretch["text"] == (source.text or "")
            assert stretch["language"] == (source.language or "")
        seen.append(about["id"])
    assert sorted(seen) == sorted(mixtures)


def read_with_webdataset(urls):
    decode = webdataset.handle_extension("flac", decode_flac)
    return webdataset.WebDataset(urls, shardshuffle=False).decode(decode)


def load_with_huggingface(pattern, monkeypatch):
    """Yields the examples of all splits, as without torchcodec: FLAC is bytes."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    import datasets  # noqa: PLC0415

    text, number, integer = map(datasets.Value, ("string", "float64", "int64"))
    about = {
        "id": text,
        "split": text,
        "sample_rate": integer,
        "num_samples": integer,
        "speakers": datasets.List(text),
        "genders": datasets.List(text),
        "offsets_s": datasets.List(number),
        "gains_db": datasets.List(number),
        "overlap_ratio": number,
        "speech": datasets.List(
            {
                "source": integer,
                "start_s": number,
                "duration_s": number,
                "text": text,
                "language": text,
            }
        ),
        "recipe": text,
    }
    audio = {f"{part}.flac": datasets.Value("binary") for part in PARTS}
    splits = datasets.load_dataset(
        "webdataset",
        data_files={split: pattern.format(split) for split in SPLITS},
        features=datasets.Features({**audio, "json": about}),
        streaming=True,
    )
    assert set(splits) == set(SPLITS)
    for split, examples in splits.items():
        for example in examples:
            assert example["json"]["split"] == split
            yield example | {name: decode_flac(example[name]) for name in audio}


@pytest.fixture(scope="module")
def exported(noisy, tmp_path_factory):
    output = tmp_path_factory.mktemp("tars") / "export"
    assert export(noisy, output, "webdataset") == 0
    return output


def test_webdataset_reads_every_sample(noisy, exported):
    check_examples(read_with_webdataset(sorted(map(str, exported.glob("*.tar")))), stored(noisy))


def test_huggingface_reads_every_sample(noisy, exported, monkeypatch):
    examples = load_with_huggingface(f"{exported}/{{}}-*.tar", monkeypatch)
    check_examples(examples, stored(noisy))


def test_both_read_what_was_exported_to_cloud_storage(noisy, cloud_storage, monkeypatch):
    import gcsfs  # noqa: PLC0415

    dataset = cloud_storage.put(noisy, "tars/dataset")
    output = f"{cloud_storage.root}/tars/export"
    assert export(dataset, output, "webdataset") == 0
    # A file system that has seen the bucket before would remember what was in it.
    storage = gcsfs.GCSFileSystem(skip_instance_cache=True)
    urls = [f"gs://{path}" for path in storage.glob(f"{output}/*.tar")]
    monkeypatch.setitem(gopen_schemes, "gs", lambda url, mode, _: storage.open(url, mode))
    check_examples(read_with_webdataset(urls), stored(noisy))
    check_examples(load_with_huggingface(f"{output}/{{}}-*.tar", monkeypatch), stored(noisy))


def test_the_same_dataset_gives_the_same_bytes(noisy, exported, tmp_path):
    assert export(noisy, tmp_path / "again", "webdataset", "--direct_num_workers=1") == 0
    tars = sorted(exported.glob("*.tar"))
    assert tars
    for tar in tars:
        assert (tmp_path / "again" / tar.name).read_bytes() == tar.read_bytes()


def test_a_shard_without_mixtures_has_no_tar(recipe, tmp_path):
    """Both tools fail on an empty one."""
    corpus = write_corpus(tmp_path / "corpus", num_speakers=2, num_utterances=1)
    built = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        "--num_shards=4",
        corpus=corpus,
        output=tmp_path / "dataset",
    )
    assert built.num_mixtures == 1
    assert export(built.folder, tmp_path / "export", "webdataset") == 0
    (tar,) = (tmp_path / "export").glob("*.tar")
    assert len(list(read_with_webdataset(str(tar)))) == 1


def test_ids_with_dots_stay_apart(speech, tmp_path):
    """Both tools take what is before the first dot for the id."""
    recipes = tmp_path / "recipes.jsonl"
    lines = [
        line
        for path in sorted((speech / "recipes").glob("train-*"))
        for line in path.read_text().splitlines()
    ][:2]
    with recipes.open("w") as file:
        for number, line in enumerate(lines):
            file.write(json.dumps(json.loads(line) | {"id": f"take.{number}"}) + "\n")
    corpus = shutil.copytree(speech.parent / "corpus", tmp_path / "corpus")
    built = build(f"--recipes={recipes}", corpus=corpus, output=tmp_path / "dataset")
    assert export(built.folder, tmp_path / "export", "webdataset") == 0
    urls = sorted(map(str, (tmp_path / "export").glob("*.tar")))
    examples = list(read_with_webdataset(urls))
    assert sorted(example["json"]["id"] for example in examples) == ["take.0", "take.1"]
    assert {example["__key__"] for example in examples} == {"take%2E0", "take%2E1"}


def test_wav_can_be_in_tars_too(speech, tmp_path):
    assert export(speech, tmp_path, "webdataset", "--audio_format=wav") == 0
    with tarfile.open(min(tmp_path.glob("train-*.tar"))) as tar:
        assert {name.partition(".")[2] for name in tar.getnames()} == {
            "mixture.wav",
            "first_speaker.wav",
            "second_speaker.wav",
            "json",
        }
