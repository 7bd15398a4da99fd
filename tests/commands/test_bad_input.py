import io
import os
import resource
import socket
import struct
from html.parser import HTMLParser

import numpy as np
import pytest
import soundfile
from small_datasets import (
    SAMPLE_RATE,
    build,
    build_elsewhere,
    leftovers,
    voice,
    write_corpus,
    write_recipe,
)

SOUND = voice(140, 0.6)
NUM_MIXTURES = 90


def encoded(sound=SOUND, file_format="WAV", subtype=None, sample_rate=SAMPLE_RATE):
    file = io.BytesIO()
    soundfile.write(file, sound, sample_rate, format=file_format, subtype=subtype)
    return file.getvalue()


def wav_with(field, value):
    """Returns a WAV file with one field of its 44-byte header changed."""
    position, layout = {
        "channels": (22, "<H"),
        "sample_rate": (24, "<I"),
        "num_bytes": (40, "<I"),
    }[field]
    data = bytearray(encoded())
    struct.pack_into(layout, data, position, value)
    return bytes(data)


def flac_of_length(num_samples):
    """Returns a FLAC file whose STREAMINFO (RFC 9639, section 8.2) gives a number of samples."""
    data = bytearray(encoded(file_format="FLAC"))
    fields = int.from_bytes(data[18:26], "big")
    data[18:26] = (fields >> 36 << 36 | num_samples).to_bytes(8, "big")
    return bytes(data)


def a_file(content):
    def write(path):
        path.write_bytes(content)

    return write


def a_sound(sound, *, subtype="FLOAT"):
    return a_file(encoded(sound, subtype=subtype))


def a_link(path):
    outside = path.parent.parent.parent / "outside.wav"
    soundfile.write(outside, SOUND, SAMPLE_RATE)
    path.symlink_to(outside)


def a_link_to_a_folder(path):
    outside = path.parent.parent.parent / "outside"
    outside.mkdir()
    soundfile.write(outside / "inside.wav", SOUND, SAMPLE_RATE)
    path.symlink_to(outside)


def a_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # The name of a socket must be short.
        server.bind(path.name)
        os.chdir(here)


BAD_FILES = {
    "empty file": ("empty.wav", a_file(b""), "empty file"),
    "not audio": ("text.wav", a_file(b"This is no sound at all. " * 40), "not decoded"),
    "truncated FLAC": (
        "truncated.flac",
        a_file(encoded(file_format="FLAC")[:2000]),
        "not decoded",
    ),
    "truncated WAV": ("truncated.wav", a_file(encoded()[:5000]), "ends early"),
    "truncated Ogg": ("truncated.ogg", a_file(encoded(file_format="OGG")[:3000]), "no audio"),
    "FLAC header that promises ten times the length": (
        "lies.flac",
        a_file(flac_of_length(10 * len(SOUND))),
        "not decoded",
    ),
    "FLAC header that promises months": (
        "months.flac",
        a_file(flac_of_length(2**36 - 1)),
        "too long for a mixture",
    ),
    "WAV header that promises ten times the length": (
        "lies.wav",
        a_file(wav_with("num_bytes", 20 * len(SOUND))),
        "ends early",
    ),
    "WAV without samples": ("nothing.wav", a_sound(np.zeros(0)), "no audio in the file"),
    "sample rate of 0": ("rate0.wav", a_file(wav_with("sample_rate", 0)), "not decoded"),
    "sample rate of 1 Hz": ("rate1.wav", a_file(wav_with("sample_rate", 1)), "sample rate"),
    "0 channels": ("channels0.wav", a_file(wav_with("channels", 0)), "not decoded"),
    "samples that are not numbers": (
        "nan.wav",
        a_sound(np.append(SOUND, np.nan)),
        "samples that are infinite or not numbers",
    ),
    "infinite samples": (
        "infinite.wav",
        a_sound(np.append(SOUND, -np.inf)),
        "samples that are infinite or not numbers",
    ),
    "enormous samples": ("enormous.wav", a_sound(SOUND * 1e30), "samples far beyond full scale"),
    "silence": ("silence.wav", a_sound(np.zeros(4000)), "silence"),
    "one sample": ("one.wav", a_sound(np.array([0.5])), "shorter than 0.1 s"),
    "a link out of the corpus": ("link.wav", a_link, "a link, or a path that leaves the corpus"),
    "a link to a folder": (
        "folder",
        a_link_to_a_folder,
        "a link, or a path that leaves the corpus",
    ),
    "unreadable": ("socket.wav", a_socket, "not a file"),
    "a pipe that nobody writes to": ("pipe.wav", os.mkfifo, "not a file"),
    "duplicate utterance id": ("0.wav", a_sound(SOUND), "duplicate utterance id: 'speaker0/0' is "),
    "name that is no text": (
        os.fsdecode(b"caf\xe9.wav"),
        a_sound(SOUND),
        "the file's name is not UTF-8",
    ),
}

NASTY_NAMES = {
    "spaces": "a b  c",
    "quotes": 'it\'s "quoted"',
    "newline": "two\nlines",
    "HTML": "<script><b>&amp;",
    "non-ASCII": "żółw 你 🎤",
    "glob": "[a-z]*?",
    "backslash": "a\\b",
    "percent": "100%20{x}",
}


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A dataset of good speech, with every bad file in the folder of a good speaker."""
    folder = tmp_path_factory.mktemp("mixed")
    corpus = write_corpus(folder / "corpus")
    for name, write, _ in BAD_FILES.values():
        write(corpus / "speaker0" / name)
    for number, name in enumerate(NASTY_NAMES.values()):
        (corpus / name).mkdir()
        soundfile.write(corpus / name / f"{name}.wav", voice(200 + number, 0.4), SAMPLE_RATE)
    channels = np.stack([SOUND] * 8, axis=1)
    soundfile.write(corpus / "speaker1" / "channels8.wav", channels, SAMPLE_RATE)
    recipe = write_recipe(folder / "recipe.json")
    return build(
        f"--recipe={recipe}",
        "--splits=train=0.5,test=0.5",
        f"--num_mixtures={NUM_MIXTURES}",
        "--num_shards=2",
        corpus=corpus,
        output=folder / "mixtures",
    )


@pytest.mark.parametrize(
    ("name", "reason"),
    [(name, reason) for name, _, reason in BAD_FILES.values()],
    ids=BAD_FILES,
)
def test_a_bad_file_is_rejected_with_its_reason(mixed, name, reason):
    rejected = {
        path.rstrip("/").rpartition("/")[2]: reason for path, reason in mixed.rejected.items()
    }
    assert rejected[name.encode(errors="backslashreplace").decode()].startswith(reason)


def test_nothing_else_is_rejected_and_every_path_is_where_the_file_is(mixed):
    assert len(mixed.rejected) == len(BAD_FILES)
    corpus = mixed.folder.parent / "corpus"
    names = {name.encode(errors="backslashreplace").decode() for name, *_ in BAD_FILES.values()}
    assert {path.rstrip("/") for path in mixed.rejected} == {
        str(corpus / "speaker0" / name) for name in names
    }


def test_bad_files_leave_the_full_count_and_a_last_line_that_tells(mixed):
    assert mixed.status == 3
    assert mixed.num_mixtures == NUM_MIXTURES == len(mixed.examples())
    assert mixed.last_line.startswith(f"done: {NUM_MIXTURES} mixtures, ")
    assert mixed.last_line.endswith(
        f"; {len(BAD_FILES)} files could not be used: see {mixed.folder / 'rejected.jsonl'}"
    )
    assert set(mixed.quality["checks"].values()) == {0}
    assert mixed.quality["rejected"]["total"] == len(BAD_FILES)
    assert leftovers(mixed.folder) == []


def test_a_bad_file_is_in_no_mixture(mixed):
    bad = {f"speaker0/{name}" for name, *_ in BAD_FILES.values()}
    used = {source.path for recipe in mixed.recipes() for source in recipe.sources}
    assert not used & bad


@pytest.mark.parametrize("name", NASTY_NAMES.values(), ids=NASTY_NAMES)
def test_a_name_of_any_text_is_used_and_kept(mixed, name):
    used = {
        (source.speaker, source.path, source.utterance)
        for recipe in mixed.recipes()
        for source in recipe.sources
    }
    assert (name, f"{name}/{name}.wav", f"{name}/{name}") in used
    speakers = {speaker for features in mixed.examples() for speaker in features["speakers"]}
    assert name.encode() in speakers


def test_eight_channels_are_used(mixed):
    used = {source.path for recipe in mixed.recipes() for source in recipe.sources}
    assert "speaker1/channels8.wav" in used


def test_html_in_names_is_text_in_the_report(recipe, tmp_path):
    name = "<b id=injected>&amp;"
    corpus = tmp_path / "corpus"
    for speaker in (name, f"{name}2"):
        (corpus / speaker).mkdir(parents=True)
        soundfile.write(corpus / speaker / "1.wav", SOUND, SAMPLE_RATE)
    built = build(
        f"--recipe={recipe}", "--splits=train=1", corpus=corpus, output=tmp_path / "<i>out"
    )
    assert built.status == 0
    html = (built.folder / "report.html").read_text("utf-8")
    tags = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, dict(attrs)))
    parser.feed(html)
    assert "injected" not in [attributes.get("id") for _, attributes in tags]
    assert "&lt;b id=injected&gt;&amp;amp;" in html


def test_a_pattern_that_leaves_the_corpus_is_rejected(corpus, recipe, tmp_path):
    (tmp_path / "outside").mkdir()
    soundfile.write(tmp_path / "outside" / "1.flac", SOUND, SAMPLE_RATE)
    built = build(
        f"--corpus={corpus}/*/../../outside/*.flac",
        f"--recipe={recipe}",
        "--speaker_regex=([^/]+)/[^/]*$",
        corpus=write_corpus(tmp_path / "other"),
        output=tmp_path / "out",
    )
    assert built.status == 3
    assert set(built.rejected.values()) == {
        "a link, or a path that leaves the corpus: copy what it points to into the corpus"
    }


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_a_file_without_permission_is_rejected(corpus, recipe, tmp_path):
    (corpus / "speaker0" / "secret.wav").write_bytes(encoded())
    (corpus / "speaker0" / "secret.wav").chmod(0)
    built = build(f"--recipe={recipe}", corpus=corpus, output=tmp_path / "out")
    assert (built.status, list(built.rejected.values())) == (3, ["permission denied"])


def test_a_file_that_goes_away_is_replaced(corpus, recipe, tmp_path):
    asked = (f"--recipe={recipe}", "--splits=train=1")
    build(*asked, "--recipes_only", corpus=corpus, output=tmp_path / "out")
    (corpus / "speaker0" / "0.flac").unlink()
    built = build(*asked, corpus=corpus, output=tmp_path / "out")
    assert (built.status, built.num_mixtures) == (3, 12)
    assert built.rejected == {str(corpus / "speaker0" / "0.flac"): "no such file or directory"}


def test_what_replaces_a_bad_file_is_the_same_every_time(corpus, recipe, tmp_path):
    for speaker in range(4):
        (corpus / f"speaker{speaker}" / "bad.flac").write_bytes(encoded(file_format="FLAC")[:2000])
    first, second = (
        build(
            f"--recipe={recipe}",
            f"--direct_running_mode={mode}",
            corpus=corpus,
            output=tmp_path / mode,
        )
        for mode in ("in_memory", "multi_threading")
    )
    assert first.status == second.status == 3
    assert first.digests == second.digests
    assert first.rejected == second.rejected


def test_mixtures_for_which_no_sound_is_left_are_missed_and_the_rest_is_made(recipe, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=4)
    asked = (f"--recipe={recipe}", "--splits=train=0.5,test=0.5")
    planned = build(*asked, "--recipes_only", corpus=corpus, output=tmp_path / "planned")
    bad_speaker = planned.recipes("test")[0].sources[0].speaker
    for path in (corpus / bad_speaker).iterdir():
        path.write_bytes(encoded(file_format="FLAC")[:2000])
    built = build(*asked, corpus=corpus, output=tmp_path / "out")
    assert built.status == 3
    assert built.quality["checks"]["missing_mixtures"] == 3
    assert len(built.recipes("train")) == built.num_mixtures == 3
    assert "3 mixtures are missing" in built.last_line
    assert len(built.rejected) == 3


def test_more_mixtures_than_pairs_repeat_them(recipe, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=2, num_utterances=1)
    built = build(f"--recipe={recipe}", "--num_mixtures=50", corpus=corpus, output=tmp_path / "out")
    assert (built.status, built.num_mixtures) == (0, 50)


def no_folder(tmp_path):
    return tmp_path / "nowhere"


def nothing(tmp_path):
    (tmp_path / "corpus").mkdir()
    return tmp_path / "corpus"


def only_bad_files(tmp_path):
    (nothing(tmp_path) / "anna").mkdir()
    (tmp_path / "corpus" / "anna" / "bad.wav").write_bytes(b"")
    return tmp_path / "corpus"


def only_files_that_end_early(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=2)
    for path in corpus.glob("*/*"):
        path.write_bytes(encoded(file_format="FLAC")[:2000])
    return corpus


def one_speaker(tmp_path):
    return write_corpus(tmp_path / "corpus", num_speakers=1)


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (no_folder, "there is no folder"),
        (nothing, "no usable utterance in the corpus"),
        (only_bad_files, "no usable utterance in the corpus"),
        (only_files_that_end_early, "not one mixture could be made"),
        (one_speaker, "no split has the 2 speakers of a mixture, all together have 1"),
    ],
)
def test_an_input_that_leaves_nothing_to_do_gets_one_line(tmp_path, recipe, make, complaint):
    built = build(f"--recipe={recipe}", corpus=make(tmp_path), output=tmp_path / "out")
    assert (built.status, built.printed) == (1, "")
    # It says what it found, and on a slow machine how far it is, before nothing can be made of it.
    (line,) = [line for line in built.complaints.splitlines() if line.startswith("build_mixtures")]
    assert "Traceback" not in built.complaints
    assert complaint in line
    assert "[while running" not in line
    assert not (tmp_path / "out" / "COMPLETED").exists()


def test_fewer_utterances_than_speakers_in_a_mixture_get_one_line(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=2, num_utterances=1)
    recipe = write_recipe(tmp_path / "three.json", num_speakers=3)
    built = build(f"--recipe={recipe}", corpus=corpus, output=tmp_path / "out")
    assert (built.status, built.printed) == (1, "")
    found, line = built.complaints.splitlines()
    assert found == "corpus: layout speaker_folders, 2 speakers, such as speaker0, speaker1"
    assert "no split has the 3 speakers of a mixture, all together have 2" in line


@pytest.mark.parametrize("first", [one_speaker, only_bad_files, only_files_that_end_early])
def test_a_corpus_that_was_mended_is_looked_at_again(tmp_path, recipe, first):
    asked = {"corpus": first(tmp_path), "output": tmp_path / "out"}
    assert build(f"--recipe={recipe}", "--num_mixtures=9", **asked).status == 1
    for path in sorted(asked["corpus"].rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
    for number, speaker in enumerate(("anna", "bert", "carl")):
        (asked["corpus"] / speaker).mkdir()
        soundfile.write(asked["corpus"] / speaker / "1.wav", voice(100 + number, 0.5), SAMPLE_RATE)
    mended = build(f"--recipe={recipe}", "--num_mixtures=9", **asked)
    assert (mended.status, mended.num_mixtures) == (0, 9)
    used = {source.speaker for recipe in mended.recipes() for source in recipe.sources}
    assert used == {"anna", "bert", "carl"}


def test_an_output_folder_that_a_file_stands_in_gets_one_line(corpus, recipe, tmp_path):
    (tmp_path / "file").write_text("in the way")
    built = build(f"--recipe={recipe}", corpus=corpus, output=tmp_path / "file" / "out")
    assert (built.status, built.printed) == (1, "")
    (line,) = built.complaints.splitlines()
    assert str(tmp_path / "file") in line


def test_a_disk_that_is_full_ends_the_job_and_with_room_it_goes_on(corpus, recipe, tmp_path):
    """A limit on the size of a file fails a write in the middle, as a full disk does."""
    asked = (f"--recipe={recipe}", "--num_mixtures=200", "--num_shards=2")
    full = build_elsewhere(
        *asked,
        corpus=corpus,
        output=tmp_path / "out",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
    )
    assert (full.status, full.printed) == (1, "")
    last = full.complaints.splitlines()[-1]
    assert last.startswith("build_mixtures: ")
    assert "File too large" in last
    assert "start the same command again" in last
    assert "Traceback" not in full.complaints
    assert not (full.folder / "COMPLETED").exists()
    assert [path for path in full.folder.rglob("*") if ".incomplete-" in path.name] == []
    built = build(*asked, corpus=corpus, output=tmp_path / "out")
    expected = build(*asked, corpus=corpus, output=tmp_path / "expected")
    assert (built.status, built.digests) == (0, expected.digests)


def test_the_name_of_the_output_folder_may_look_like_a_pattern(corpus, recipe, tmp_path):
    asked = {"corpus": corpus, "output": tmp_path / "we[ird] *?\n{x}"}
    assert build(f"--recipe={recipe}", **asked).status == 0
    again = build(f"--recipe={recipe}", "--seed=1", "--overwrite", **asked)
    assert (again.status, leftovers(again.folder)) == (0, [])
