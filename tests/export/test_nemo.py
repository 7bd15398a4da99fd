"""NeMo's manifests name every recording and every utterance, and build a dataset again."""

import json

import numpy as np
import soundfile
from exports import export, stored
from small_datasets import SAMPLE_RATE
from spoken_corpora import catalogue

from beam_jobs.separation.turns import parse_rttm

SPLITS = ("train", "validation", "test")


def lines(path):
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def read(path):
    return soundfile.read(path, dtype="int16", always_2d=True)[0]


def test_each_mixture_is_a_recording_of_a_name_of_its_own_with_its_turns(noisy, tmp_path):
    assert export(noisy, tmp_path, "nemo") == 0
    mixtures, names = stored(noisy), set()
    for split in SPLITS:
        for row in lines(tmp_path / f"{split}_mixtures.json"):
            name = row["audio_filepath"].rpartition("/")[2].removesuffix(".wav")
            names.add(name)
            np.testing.assert_array_equal(read(row["audio_filepath"]), mixtures[name].mixture)
            assert (row["num_speakers"], row["text"], row["label"]) == (2, "-", "infer")
            assert row["duration"] == len(mixtures[name].mixture) / SAMPLE_RATE
            with open(row["rttm_filepath"]) as file:
                turns = parse_rttm(file.read())
            sources = mixtures[name].recipe.sources
            assert {turn.speaker for turn in turns} == {source.speaker for source in sources}
            assert (tmp_path / split / f"{name}.stm").exists()
    assert names == set(mixtures)


def test_the_utterances_are_a_corpus_of_clean_speech(noisy, tmp_path):
    assert export(noisy, tmp_path, "nemo") == 0
    for split in SPLITS:
        expected = {
            (source.speaker, round(source.duration_s * SAMPLE_RATE), source.text, source.language)
            for mixture in stored(noisy).values()
            if mixture.recipe.split == split
            for source in mixture.recipe.sources
        }
        utterances, rejected = catalogue(tmp_path / f"{split}_utterances.json")
        assert not rejected
        assert {
            (one.speaker, one.stop - one.start, one.text, one.language)
            for one in utterances.values()
        } == expected
