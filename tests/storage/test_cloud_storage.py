"""Corpora and datasets in Google Cloud Storage, as on this machine and with a faulty network."""

import base64
import contextlib
import io
import json
import logging

import pytest
import soundfile
from cloud_storage import BUCKET, FAULTS, PAGE_OBJECTS, TOKEN
from small_datasets import SAMPLE_RATE, build, kill_when, start, voice, write_corpus

from beam_jobs import build_mixtures, export_audio, verify_dataset
from beam_jobs.audio import decoding as audio
from beam_jobs.corpora.layout import audio_paths, parse_corpora
from beam_jobs.storage import files


def run(*argv):
    """Runs the mixture job and returns its status and its messages."""
    said = io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        status = build_mixtures.main(["--direct_running_mode=multi_threading", *map(str, argv)])
    return status, said.getvalue()


def shards(dataset):
    """Returns the shards among a dataset's files, without the common beginning of their names."""
    return {
        name.partition("-")[2]: content for name, content in dataset.items() if ".tfrecord-" in name
    }


def local_files(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.fixture
def corpus(tmp_path):
    """A corpus of few files, each of which takes several requests."""
    return write_corpus(tmp_path / "corpus", num_speakers=4, num_utterances=2)


@pytest.fixture
def asked(recipe):
    return (f"--recipe={recipe}", "--splits=train=1", "--num_shards=3")


def test_a_dataset_in_cloud_storage_is_the_local_one(cloud_storage, corpus, asked, tmp_path):
    (corpus / "speaker0" / "0.flac").write_bytes(b"no audio")
    here = build(*asked, corpus=corpus, output=tmp_path / "dataset")
    remote_corpus = cloud_storage.put(corpus, "same/corpus")
    output = f"{cloud_storage.root}/same/dataset"
    status, said = run(f"--corpus={remote_corpus}", f"--output={output}", *asked)
    assert status == here.status == 3, said
    there = cloud_storage.get("same/dataset")
    assert there.keys() == local_files(here.folder).keys()
    assert shards(there) == shards(local_files(here.folder))
    assert verify_dataset.main([f"--dataset={output}"]) == 0


def test_a_dry_run_on_this_machine_leaves_nothing_there_even_if_it_is_killed(
    cloud_storage, corpus, asked
):
    output = f"{cloud_storage.root}/dry/dataset"
    status, said = run(f"--corpus={corpus}", f"--output={output}", "--dry_run", *asked)
    assert (status, said.splitlines()[-1]) == (0, "dry run: nothing was written")
    # One object, in two requests, shows that the folder can be written, and is removed at once.
    assert cloud_storage.requests.count("upload") == 2
    assert cloud_storage.requests[-1] == "batch"
    assert not cloud_storage.get("dry")


def test_nothing_is_lost_or_doubled_when_the_service_fails(cloud_storage, corpus, asked, tmp_path):
    here = build(*asked, corpus=corpus, output=tmp_path / "dataset")
    remote_corpus = cloud_storage.put(corpus, "faults/corpus")
    cloud_storage.faults = True
    argv = (f"--corpus={remote_corpus}", f"--output={cloud_storage.root}/faults/dataset", *asked)
    status, said = run(*argv)
    assert status == here.status == 0, said
    kinds = ("list", "look up", "read", "upload")
    assert cloud_storage.met >= {(kind, fault) for kind in kinds for fault in FAULTS}
    there = cloud_storage.get("faults/dataset")
    assert there.keys() == local_files(here.folder).keys()
    assert shards(there) == shards(local_files(here.folder))


def test_killed_and_started_again_it_leaves_whole_objects_only(
    cloud_storage, corpus, asked, tmp_path
):
    here = build(*asked, corpus=corpus, output=tmp_path / "dataset")
    remote_corpus = cloud_storage.put(corpus, "killed/corpus")
    argv = (f"--corpus={remote_corpus}", f"--output={cloud_storage.root}/killed/dataset", *asked)
    kill_when(start(*argv), lambda: shards(dict.fromkeys(cloud_storage.names("killed/dataset"))))
    left = cloud_storage.get("killed/dataset")
    assert "COMPLETED" not in left
    whole = shards(local_files(here.folder))
    assert shards(left).items() <= whole.items()
    status, said = run(*argv)
    assert status == 0, said
    there = cloud_storage.get("killed/dataset")
    assert shards(there) == whole
    assert there.keys() == local_files(here.folder).keys()


def test_an_utterance_is_read_once_for_all_its_mixtures_in_a_shard(cloud_storage, recipe, tmp_path):
    corpus = write_corpus(tmp_path / "corpus", num_speakers=32, num_utterances=1)
    remote_corpus = cloud_storage.put(corpus, "once/corpus")
    asked = (f"--recipe={recipe}", "--splits=train=1", "--num_shards=1", "--num_mixtures=128")
    cloud_storage.forget()
    status, said = run(
        f"--corpus={remote_corpus}", f"--output={cloud_storage.root}/once/dataset", *asked
    )
    assert status == 0, said
    # Each of the 32 is in 8 of the 128 mixtures, and its header is read before. The dataset's own
    # files take some thirty more, and showing how far a slow job is some dozens.
    assert cloud_storage.requests.count("read") < 8 * 32


def test_a_bucket_can_be_a_corpus(cloud_storage, tmp_path):
    (tmp_path / "speaker0").mkdir()
    (tmp_path / "speaker0" / "0.wav").touch()
    folder = cloud_storage.put(tmp_path, "bucket")
    (corpus,) = parse_corpora([cloud_storage.root])
    assert (corpus.name, corpus.root) == (BUCKET, cloud_storage.root)
    assert f"{folder}/speaker0/0.wav" in {
        files.join(corpus.root, path) for path in audio_paths(corpus)
    }


def test_an_error_while_an_object_is_written_leaves_none(cloud_storage):
    path = f"{cloud_storage.root}/broken"
    with contextlib.suppress(KeyError), files.write_atomically(path) as file:
        file.write(b"half of it")
        raise KeyError
    assert "upload" not in cloud_storage.requests
    assert not files.exists(path)


def test_overwriting_a_dataset_removes_all_of_the_one_before(cloud_storage, corpus, asked):
    remote_corpus = cloud_storage.put(corpus, "again/corpus")
    argv = (f"--corpus={remote_corpus}", f"--output={cloud_storage.root}/again/dataset", *asked)
    assert run(*argv)[0] == 0
    cloud_storage.forget()
    cloud_storage.faults = True
    assert run(*argv, "--num_shards=2", "--overwrite")[0] == 0
    assert cloud_storage.met >= {("batch", fault) for fault in FAULTS}
    assert len(shards(dict.fromkeys(cloud_storage.names("again/dataset")))) == 2


def test_a_listing_is_read_a_page_at_a_time(cloud_storage, tmp_path):
    for number in range(3 * PAGE_OBJECTS):
        (tmp_path / f"{number:02d}.wav").touch()
    (tmp_path / "notes.txt").touch()
    folder = cloud_storage.put(tmp_path, "many")
    found = files.find_paths(folder, "**.wav")
    assert next(found) == f"{folder}/00.wav"
    assert cloud_storage.requests == ["list"]
    assert len(list(found)) == 3 * PAGE_OBJECTS - 1
    assert cloud_storage.requests == ["list"] * 4


@pytest.mark.parametrize(
    ("name", "duration_s"), [("long.wav", 120), ("long.flac", 120), ("short.m4a", 5)]
)
def test_only_what_is_needed_of_a_recording_is_read(cloud_storage, tmp_path, name, duration_s):
    path = tmp_path / name
    write_sound(path, voice(100, duration_s))
    remote = f"{cloud_storage.put(tmp_path, 'ranges')}/{name}"
    header = audio.read_header(remote)
    assert header == audio.read_header(str(path))
    if path.suffix != ".m4a":
        assert cloud_storage.requests == ["look up", "read"]
        assert cloud_storage.bytes_read < path.stat().st_size / 3
    start, stop = (duration_s - 2) * SAMPLE_RATE, (duration_s - 1) * SAMPLE_RATE
    there = audio.read_segment(remote, start, stop)
    assert (there == audio.read_segment(str(path), start, stop)).all()
    if path.suffix == ".wav":
        assert cloud_storage.bytes_read < path.stat().st_size / 2
    assert sum(len(block) for block in audio.read_blocks(remote, 5000)) == header.num_frames


def write_sound(path, sound):
    if path.suffix != ".m4a":
        soundfile.write(path, sound, SAMPLE_RATE)
        return
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=SAMPLE_RATE)
        frame = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
        frame.sample_rate = SAMPLE_RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


@pytest.mark.parametrize("name", ["speech.wav", "speech.flac", "speech.m4a"])
def test_what_the_network_fails_to_bring_is_not_taken_for_a_bad_file(cloud_storage, tmp_path, name):
    write_sound(tmp_path / name, voice(100, 3.0))
    remote = f"{cloud_storage.put(tmp_path, 'unread')}/{name}"
    cloud_storage.refusals["read"] = "400"
    with pytest.raises(OSError, match=f"{name}: 400"):
        audio.read_header(remote)


@pytest.mark.parametrize(
    ("refusals", "reason"),
    [({}, "no such object or bucket"), ({"look up": "403"}, "not now")],
)
def test_what_is_missing_or_forbidden_is_rejected(cloud_storage, refusals, reason):
    cloud_storage.refusals |= refusals
    with pytest.raises(audio.UnusableAudioError, match=reason):
        audio.read_header(f"{cloud_storage.root}/nobody/has/this.wav")


def test_credentials_are_shown_to_the_service_and_to_nobody_else(
    cloud_storage, corpus, asked, caplog
):
    (corpus / "speaker0" / "0.flac").write_bytes(b"no audio")
    remote_corpus = cloud_storage.put(corpus, "secret/corpus")
    cloud_storage.forget()
    argv = (f"--corpus={remote_corpus}", f"--output={cloud_storage.root}/secret/dataset", *asked)
    with caplog.at_level(logging.DEBUG):
        status, said = run(*argv)
        cloud_storage.refusals["look up"] = "401"
        failed_status, failed_said = run(*argv)
    assert (status, failed_status) == (3, 1)
    assert cloud_storage.tokens == {f"Bearer {TOKEN}"}
    key_lines = json.loads(cloud_storage.key.read_text())["private_key"].splitlines()[1:-1]
    written = b"".join(cloud_storage.get("secret/dataset").values())
    told = (said + failed_said + caplog.text).encode() + written
    assert b"secret/dataset" in told
    for secret in (TOKEN, *key_lines):
        assert secret.encode() not in told
        assert base64.b64encode(secret.encode()) not in told


def test_a_dataset_is_exported_from_cloud_storage_into_it(cloud_storage, corpus, asked, tmp_path):
    built = build(*asked, corpus=corpus, output=tmp_path / "dataset")
    dataset = cloud_storage.put(built.folder, "exported/dataset")
    arguments = ["--layout=spleeter", "--audio_format=flac"]
    output = f"{cloud_storage.root}/exported/audio"
    assert export_audio.main([f"--dataset={dataset}", f"--output={output}", *arguments]) == 0
    here = tmp_path / "audio"
    assert export_audio.main([f"--dataset={built.folder}", f"--output={here}", *arguments]) == 0
    there, expected = cloud_storage.get("exported/audio"), local_files(here)
    # It names the folder that it is in.
    del there["configuration.json"], expected["configuration.json"]
    assert there == expected
