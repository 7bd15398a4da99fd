"""Lhotse opens the manifests, and finds every sample and every utterance."""

import json
import subprocess

import numpy as np
import pytest
import soundfile
from exports import export, stored

SPLITS = ("train", "validation", "test")

# Runs where PyTorch and Lhotse are, and tells what they read.
READER = """
import json, sys
from pathlib import Path
import numpy as np
from lhotse import CutSet, validate, validate_recordings_and_supervisions
from lhotse.recipes.utils import read_manifests_if_cached

exported, name, out, *splits = sys.argv[1:]
found = read_manifests_if_cached(
    splits, exported, prefix=name, suffix="jsonl", types=("recordings", "supervisions")
)
for split in splits:
    cuts = CutSet.from_file(f"{exported}/{name}_cuts_{split}.jsonl")
    validate_recordings_and_supervisions(**found[split])
    assert len(found[split]["recordings"]) == len(cuts)
    lines = []
    for cut in cuts:
        validate(cut, read_data=True)
        custom = {part: cut.load_custom(part) for part in cut.custom}
        np.savez(f"{out}/{cut.id}.npz", mixture=cut.load_audio(), **custom)
        speech = [[one.speaker, one.gender, one.start, one.end] for one in cut.supervisions]
        said = [[one.text, one.language] for one in cut.supervisions]
        about = {"id": cut.id, "split": split, "speech": speech, "said": said}
        lines.append(json.dumps(about) + "\\n")
    Path(out, f"{split}.jsonl").write_text("".join(lines))
"""


def speech_of(recipe):
    """Returns speaker, gender, start and end of each utterance."""
    return [
        [
            source.speaker,
            {"f": "female", "m": "male", "": None}[source.gender],
            pytest.approx(source.offset_s),
            pytest.approx(min(source.offset_s + source.duration_s, recipe.duration_s)),
        ]
        for source in recipe.sources
    ]


def parts_of(mixture):
    return {
        "mixture": mixture.mixture,
        "first_speaker": mixture.sources[0],
        "second_speaker": mixture.sources[1],
        "noise": mixture.noise,
    }


def test_cuts_name_the_files_of_every_mixture_and_say_who_speaks_when(noisy, tmp_path):
    assert export(noisy, tmp_path, "lhotse") == 0
    mixtures, seen = stored(noisy), []
    for split in SPLITS:
        for line in (tmp_path / f"dataset_cuts_{split}.jsonl").read_text().splitlines():
            cut = json.loads(line)
            mixture = mixtures[cut["id"]]
            assert mixture.recipe.split == split
            recordings = {"mixture": cut["recording"], **cut["custom"]}
            for part, samples in parts_of(mixture).items():
                (source,) = recordings[part]["sources"]
                read, _ = soundfile.read(source["source"], dtype="int16", always_2d=True)
                np.testing.assert_array_equal(read, samples)
            speech = [
                [one["speaker"], one["gender"], one["start"], one["start"] + one["duration"]]
                for one in cut["supervisions"]
            ]
            assert speech == speech_of(mixture.recipe)
            first, second = cut["supervisions"]
            assert (first["text"], first["language"]) == (f"I am {cut['id']}", "en")
            assert not {"text", "language"} & set(second)
            seen.append(cut["id"])
    assert sorted(seen) == sorted(mixtures)


@pytest.mark.pytorch
def test_lhotse_reads_every_sample_and_every_utterance(noisy, tmp_path, pytorch):
    out = tmp_path / "read"
    out.mkdir()
    assert export(noisy, tmp_path / "export", "lhotse") == 0
    arguments = [str(tmp_path / "export"), "dataset", str(out), *SPLITS]
    subprocess.run([pytorch, "-c", READER, *arguments], check=True)
    mixtures, seen = stored(noisy), []
    for split in SPLITS:
        for cut in map(json.loads, (out / f"{split}.jsonl").read_text().splitlines()):
            mixture = mixtures[cut["id"]]
            assert (cut["split"], cut["speech"]) == (
                mixture.recipe.split,
                speech_of(mixture.recipe),
            )
            assert cut["said"] == [[f"I am {cut['id']}", "en"], [None, None]]
            read = np.load(out / f"{cut['id']}.npz")
            for part, samples in parts_of(mixture).items():
                np.testing.assert_array_equal(read[part], samples.T / np.float32(1 << 15))
            seen.append(cut["id"])
    assert sorted(seen) == sorted(mixtures)
