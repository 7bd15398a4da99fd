"""A recipe that asks for clean speech measures its corpus, and leaves out what is not."""

import json

import numpy as np
import pytest
import soundfile
import soxr
from small_datasets import build, write_recipe

from beam_jobs.corpora.catalogue import MEASURES, read_table
from schemas.recipe_config import parse_recipe_config
from schemas.validation import InvalidDocumentError

RATE = 16_000
LIMITS = {
    "min_bandwidth_hz": 7000,
    "min_snr_db": 15,
    "max_clipped_share": 0.001,
    "min_speech_share": 0.3,
}
ASKED = ("--splits=train=1", "--num_mixtures=12", "--num_shards=1")
HERE = ("--direct_num_workers=1", "--direct_running_mode=in_memory")


def speech(seed, *, noise_db=-50.0):
    """Two words with a pause between them and a hiss under them, at all frequencies."""
    rng = np.random.default_rng(seed)
    words = rng.normal(0, 0.1, 2 * RATE) * ((np.arange(2 * RATE) % RATE) < 0.6 * RATE)
    return words + rng.normal(0, 10 ** (noise_db / 20), len(words))


def telephone(sound):
    return soxr.resample(soxr.resample(sound, RATE, 8000), 8000, RATE)


def noisy(sound):
    return sound + np.random.default_rng(1).normal(0, 0.03, len(sound))


def clipped(sound):
    return np.clip(9 * sound, -1, 1)


def silent(sound):
    hiss = np.random.default_rng(2).normal(0, 0.003, len(sound))
    return np.where(np.arange(len(sound)) < RATE // 5, sound, hiss)


UNCLEAN = {
    telephone: "too little bandwidth: ",
    noisy: "too noisy: an SNR of ",
    clipped: "clipped: 0.",
    silent: "too little speech: 0.1",
}


def write_clean_corpus(folder):
    for speaker in range(4):
        for number in range(2):
            path = folder / f"speaker{speaker}" / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, speech(10 * speaker + number), RATE)
    return folder


@pytest.fixture(scope="module")
def corpora(tmp_path_factory):
    """Writes a clean corpus, and the same one with unclean files, and one that is cut off."""
    folder = tmp_path_factory.mktemp("corpora")
    write_clean_corpus(folder / "clean" / "speech")
    mixed = write_clean_corpus(folder / "mixed" / "speech")
    for number, spoil in enumerate(UNCLEAN):
        path = mixed / f"speaker{number}" / f"{spoil.__name__}.wav"
        soundfile.write(path, spoil(speech(100 + number)), RATE)
    soundfile.write(mixed / "speaker0" / "cut_off.flac", speech(0), RATE)
    whole = (mixed / "speaker0" / "cut_off.flac").read_bytes()
    (mixed / "speaker0" / "cut_off.flac").write_bytes(whole[: len(whole) // 2])
    return folder


@pytest.fixture(scope="module")
def recipe(tmp_path_factory):
    path = tmp_path_factory.mktemp("recipe") / "recipe.json"
    return write_recipe(path, sample_rate=RATE, clean_enough=LIMITS)


@pytest.fixture(scope="module")
def built(corpora, recipe, tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    return build(
        *(f"--recipe={recipe}", f"--catalogue={folder / 'kept'}", *ASKED, *HERE),
        corpus=corpora / "mixed/speech",
        output=folder / "mixtures",
    )


def test_each_utterance_that_is_not_clean_enough_is_rejected_with_its_measure(built, corpora):
    assert (built.status, built.num_mixtures) == (3, 12)
    folder, rejected = corpora / "mixed/speech", built.rejected
    for number, (spoil, expected) in enumerate(UNCLEAN.items()):
        reason = rejected.pop(str(folder / f"speaker{number}/{spoil.__name__}.wav"))
        assert reason.startswith(expected)
        assert reason.endswith("out, or change clean_enough")
    assert list(rejected) == [str(folder / "speaker0/cut_off.flac")]
    used = {source.path for recipe in built.recipes() for source in recipe.sources}
    assert used == {f"speaker{speaker}/{number}.wav" for speaker in range(4) for number in (0, 1)}


def test_the_report_shows_what_was_measured_of_all_and_counts_what_was_left_out(built):
    histograms = built.quality["histograms"]
    for name in MEASURES:
        assert histograms[f"utterance_{name}"]["num"] == 8 + len(UNCLEAN)
    assert histograms["utterance_bandwidth_hz"]["min"] == pytest.approx(4000, abs=200)
    assert histograms["utterance_bandwidth_hz"]["max"] == 8000
    asked = {row["asked"]: row["achieved"] for row in built.quality["asked"]}
    assert asked["at least 7000 Hz"] == "8000 to 8000 Hz; 1 left out"
    assert asked["at most 1000 in a million"] == "0 to 0 in a million; 1 left out"
    assert asked["at least 15 dB"].endswith("; 1 left out")
    assert built.quality["rejected"]["by_reason"]["too noisy"] == 1


def test_a_dry_run_says_what_would_be_left(corpora, recipe, tmp_path):
    dry = build(
        *(f"--recipe={recipe}", "--dry_run", *ASKED, *HERE),
        corpus=corpora / "mixed/speech",
        output=tmp_path / "mixtures",
    )
    assert dry.status == 3
    assert "utterances   8, 0.00 h\n" in dry.printed
    assert "left out     4 that are not clean enough, 0.00 h\n" in dry.printed


def test_a_kept_catalogue_serves_recipes_with_other_limits(built, corpora, tmp_path):
    laxer = write_recipe(tmp_path / "laxer.json", sample_rate=RATE, clean_enough={"min_snr_db": 15})
    again = build(
        *(f"--recipe={laxer}", f"--catalogue={built.folder.parent / 'kept'}", *ASKED, *HERE),
        "--recipes_only",
        corpus=corpora / "mixed/speech",
        output=tmp_path / "mixtures",
    )
    assert {path.rpartition("/")[2] for path in again.rejected} == {"noisy.wav", "cut_off.flac"}


def test_a_kept_catalogue_without_measures_is_refused(corpora, recipe, tmp_path):
    plain = write_recipe(tmp_path / "plain.json", sample_rate=RATE)
    asked = {"corpus": corpora / "clean/speech", "output": tmp_path / "mixtures"}
    kept = f"--catalogue={tmp_path / 'kept'}"
    assert build(f"--recipe={plain}", kept, "--recipes_only", *HERE, **asked).status == 0
    table = read_table(str(tmp_path / "kept" / "catalogue.arrow"))
    assert not set(MEASURES) & set(table.column_names)
    asked["output"] = tmp_path / "clean"
    refused = build(f"--recipe={recipe}", kept, *HERE, **asked)
    assert refused.status == 1
    assert "has no measures of its speech, and the recipe's clean_enough" in refused.last_line


@pytest.mark.parametrize("clean_enough", [{}, LIMITS, {"max_clipped_share": 0}])
def test_limits_are_read_back_from_their_json(recipe, clean_enough):
    document = json.loads(recipe.read_text()) | {"clean_enough": clean_enough}
    config = parse_recipe_config(json.dumps(document), "recipe")
    assert config.to_document()["clean_enough"] == clean_enough


@pytest.mark.parametrize(
    ("clean_enough", "complaint"),
    [
        ({"min_snr": 3}, "clean_enough: unknown key 'min_snr' .did you mean 'min_snr_db'"),
        ({"max_clipped_share": 2}, "clean_enough.max_clipped_share: 2 is greater than"),
        ({"min_bandwidth_hz": 9000}, "min_bandwidth_hz 9000 and sample_rate 16000 do not go"),
    ],
)
def test_limits_that_make_no_sense_are_refused_with_their_names(recipe, clean_enough, complaint):
    document = json.loads(recipe.read_text()) | {"clean_enough": clean_enough}
    with pytest.raises(InvalidDocumentError, match=complaint):
        parse_recipe_config(json.dumps(document), "recipe")
