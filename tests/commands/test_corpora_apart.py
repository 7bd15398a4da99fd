"""A person is one speaker: corpora that share files are refused, and the speakers are said."""

import json
import os
import shutil

import pytest
import soundfile
from small_datasets import SAMPLE_RATE, build, voice, write_corpus, write_recipe

from beam_jobs.corpora.catalogue import open_catalogue
from schemas import dataset


def refused(recipe, output, first, *others, more=()):
    """Returns the only line that a job prints about its corpora."""
    built = build(
        f"--recipe={recipe}",
        "--splits=train=0.5,test=0.5",
        *(f"--corpus={other}" for other in others),
        *more,
        corpus=first,
        output=output,
    )
    assert (built.status, built.printed) == (1, "")
    assert "Traceback" not in built.complaints
    assert not (output / "COMPLETED").exists()
    (line,) = [line for line in built.complaints.splitlines() if "--corpus" in line]
    return line


def write_nemo(path, audio, *, speaker=lambda file: file.parent.name, **fields):
    """Writes a manifest of NeMo."""
    rows = [
        {"audio_filepath": str(file), "duration": 0.3, "speaker": speaker(file)} | fields
        for file in audio
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def a_part(corpus):
    return corpus, corpus / "speaker0"


def a_link_to_it(corpus):
    link = corpus.parent / "link"
    link.symlink_to(corpus)
    return corpus, link


def a_link_to_a_part(corpus):
    link = corpus.parent / "link"
    link.symlink_to(corpus / "speaker1")
    return corpus, link


def a_pattern_beside_it(corpus):
    return corpus.parent / "corp*" / "*" / "*.flac", corpus


@pytest.mark.parametrize("name", [a_part, a_link_to_it, a_link_to_a_part, a_pattern_beside_it])
def test_a_corpus_in_another_is_refused_with_both_names(corpus, recipe, tmp_path, name):
    first, second = name(corpus)
    more = (r"--speaker_regex=([^/]+)/[^/]*$",)
    line = refused(recipe, tmp_path / "out", first, second, more=more)
    assert f"--corpus={first}" in line
    assert f"--corpus={second}" in line
    assert line.endswith("leave one of them out")
    assert not (tmp_path / "out").exists()


def test_noise_in_the_folder_of_speech_is_refused(corpus, tmp_path):
    noise = shutil.copytree(corpus / "speaker0", corpus / "noise")
    recipe = write_recipe(tmp_path / "noisy.json", noise={"snr_db": 10})
    line = refused(recipe, tmp_path / "out", corpus, more=(f"--noise={noise}",))
    assert f"--noise={noise} is in --corpus={corpus}: " in line
    assert not (tmp_path / "out").exists()


def test_noise_that_is_speech_by_a_manifest_is_refused(corpus, tmp_path):
    noise = shutil.copytree(corpus / "speaker0", tmp_path / "noise")
    recipe = write_recipe(tmp_path / "noisy.json", noise={"snr_db": 10})
    listed = write_nemo(tmp_path / "listed.json", [*corpus.rglob("0.flac"), noise / "1.flac"])
    line = refused(recipe, tmp_path / "out", listed, more=(f"--noise={noise}",))
    assert "--corpus: listed and noise have the same audio 1 times" in line


def test_noise_beside_speech_that_a_pattern_picks_is_used(corpus, tmp_path):
    noise = corpus / "noise"
    noise.mkdir()
    soundfile.write(noise / "1.wav", voice(500, 3.0), SAMPLE_RATE)
    recipe = write_recipe(tmp_path / "noisy.json", noise={"snr_db": 10})
    built = build(
        f"--recipe={recipe}",
        f"--noise={noise}",
        "--splits=train=1",
        r"--speaker_regex=([^/]+)/[^/]*$",
        corpus=corpus / "speaker*" / "*.flac",
        output=tmp_path / "out",
    )
    assert built.status == 0


def test_a_copy_of_a_corpus_by_hard_links_is_refused(corpus, recipe, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "copy", copy_function=os.link)
    line = refused(recipe, tmp_path / "out", corpus, copy)
    assert "--corpus: copy and corpus have the same audio 24 times" in line


def test_a_file_with_several_names_is_used_once(corpus, recipe, tmp_path):
    file = corpus / "speaker0" / "0.flac"
    names = [corpus / "speaker0" / "00.flac", corpus / "speaker0" / "more" / "0.flac"]
    names[1].parent.mkdir()
    for name in names:
        os.link(file, name)
    os.link(corpus / "speaker1" / "1.flac", corpus / "speaker2" / "else.flac")
    built = build(f"--recipe={recipe}", "--splits=train=1", corpus=corpus, output=tmp_path / "out")
    assert built.status == 3
    assert len(open_catalogue(str(built.folder / dataset.CATALOGUE))) == 8 * 3 - 1
    reasons = {path: reason.partition(":")[0] for path, reason in built.rejected.items()}
    assert reasons == dict.fromkeys(map(str, names), "another name of a file") | {
        str(corpus / "speaker1" / "1.flac"): "the same audio has two speakers"
    }


@pytest.mark.parametrize("linked", [False, True])
def test_manifests_that_name_the_same_audio_are_refused(corpus, recipe, tmp_path, linked):
    audio = sorted(corpus.rglob("*.flac"))
    # A link is not followed that leads out of the folder of a manifest.
    (tmp_path / "lists").mkdir()
    first = write_nemo(tmp_path / "lists" / "monday.json", audio[:16])
    others = audio[12:]
    if linked:
        (tmp_path / "link").symlink_to(corpus)
        others = [tmp_path / "link" / file.relative_to(corpus) for file in others]
    second = write_nemo(tmp_path / "lists" / "tuesday.json", others)
    line = refused(recipe, tmp_path / "out", first, second)
    assert "--corpus: monday and tuesday have the same audio 4 times, such as " in line
    assert str(corpus / "speaker4") in line
    assert "leave one of them out" in line


def test_a_manifest_of_files_in_another_corpus_is_refused(corpus, recipe, tmp_path):
    listed = write_nemo(tmp_path / "listed.json", sorted(corpus.rglob("0.flac")))
    line = refused(recipe, tmp_path / "out", corpus, listed)
    assert "--corpus: corpus and listed have the same audio 8 times" in line


def test_manifests_of_different_parts_of_long_files_go_together(corpus, recipe, tmp_path):
    audio = sorted(corpus.rglob("2.flac"))
    first = write_nemo(tmp_path / "begin.json", audio, duration=0.2, offset=0.0)
    second = write_nemo(tmp_path / "end.json", audio, duration=0.2, offset=0.25)
    built = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        f"--corpus={second}",
        corpus=first,
        output=tmp_path / "out",
    )
    assert built.status == 0


def test_the_same_audio_of_two_speakers_in_one_manifest_is_rejected(corpus, recipe, tmp_path):
    (tmp_path / "lists").mkdir()
    listed = write_nemo(tmp_path / "lists" / "listed.json", sorted(corpus.rglob("*.flac")))
    (tmp_path / "again").symlink_to(corpus)
    again = write_nemo(
        tmp_path / "again.json",
        [tmp_path / "again" / "speaker0" / "0.flac"],
        speaker=lambda _: "eve",
    )
    listed.write_text(listed.read_text() + again.read_text())
    built = build(f"--recipe={recipe}", "--splits=train=1", corpus=listed, output=tmp_path / "out")
    assert built.status == 3
    (reason,) = set(built.rejected.values())
    assert reason.startswith("the same audio has two speakers: ")
    assert list(built.rejected) == [str(corpus / "speaker0" / "0.flac")]
    used = {source.path for recipe in built.recipes() for source in recipe.sources}
    assert not [path for path in used if path.endswith("speaker0/0.flac")]


def test_the_layout_and_some_speakers_are_said_and_kept(corpus, recipe, tmp_path):
    other = write_corpus(tmp_path / "other", num_speakers=2)
    built = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        f"--corpus={other}",
        corpus=corpus,
        output=tmp_path / "out",
    )
    assert built.complaints.splitlines()[:2] == [
        "corpus: layout speaker_folders, 8 speakers, such as corpus/speaker0, corpus/speaker1,"
        " corpus/speaker2",
        "other: layout speaker_folders, 2 speakers, such as other/speaker0, other/speaker1",
    ]
    assert built.quality["corpora"][1] == {
        "corpus": "other",
        "layout": "speaker_folders",
        "num_speakers": 2,
        "speakers": ["other/speaker0", "other/speaker1"],
    }
    assert os.path.exists(built.folder / "COMPLETED")
