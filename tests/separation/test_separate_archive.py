import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib import resources

import numpy as np
import pytest
import shelf_file_system
import soundfile
import soxr
from tones import write_tones

from beam_jobs.runtime import retries
from beam_jobs.separate_archive import main
from beam_jobs.separation import page
from demo.speak_corpus import speak_corpus
from schemas.configuration import parse_configuration
from schemas.ledger import parse_ledger_record
from training.bundle_export import export
from training.model_dir import Metrics, ModelDir, TrainingState


@pytest.fixture
def archive(tmp_path):
    """Three short calls, in a tree."""
    for name in ("monday/a.wav", "monday/b.wav", "tuesday/a.wav"):
        path = tmp_path / "calls" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_tones(path, 1.5)
    return tmp_path


def run(archive, bundle, *options, pattern="calls/**.wav", output="out"):
    is_given = any(option.startswith("--input") for option in options)
    return main(
        [
            *([] if is_given else [f"--input={archive / pattern}"]),
            f"--model={bundle}",
            f"--output={archive / output}",
            "--direct_num_workers=1",
            *options,
        ]
    )


def summary(archive):
    return json.loads((archive / "out/summary.json").read_text())


def rejected(archive):
    return [json.loads(line) for line in (archive / "out/rejected.jsonl").read_text().splitlines()]


def outputs(archive):
    paths = (archive / "out").rglob("*")
    return {
        str(path.relative_to(archive / "out")): path
        for path in paths
        if path.suffix in (".wav", ".flac")
    }


def test_outputs_mirror_the_tree_of_the_input(archive, bundle, capsys):
    assert run(archive, bundle) == 0
    assert sorted(outputs(archive)) == [
        f"{stem}_speaker{number}.wav"
        for stem in ("monday/a", "monday/b", "tuesday/a")
        for number in (1, 2)
    ]
    assert summary(archive)["separated"] == 3
    assert summary(archive)["separated_hours"] == pytest.approx(4.5 / 3600, abs=1e-4)
    assert "3 separated, 0 skipped" in capsys.readouterr().out
    assert rejected(archive) == []


def test_a_log_says_how_far_the_run_is(archive, bundle, capsys):
    (archive / "calls/monday/empty.wav").touch()
    assert run(archive, bundle) == 3
    assert re.search(
        r"^100% 4/4 files, 0\.00/0\.00 h of audio, 1 rejected, .* as it plays, 00:00 left$",
        capsys.readouterr().err,
        re.MULTILINE,
    )
    assert run(archive, bundle) == 3
    assert "100% 4/4 files, nothing to separate, 1 rejected" in capsys.readouterr().err
    assert all(path.suffix == ".json" for path in (archive / "out/_runs").iterdir())


def test_a_second_run_separates_only_what_is_new_or_changed(archive, bundle):
    assert run(archive, bundle) == 0
    before = {name: path.stat().st_mtime_ns for name, path in outputs(archive).items()}
    write_tones(archive / "calls/tuesday/new.wav", 1.0)
    write_tones(archive / "calls/monday/b.wav", 1.2)
    assert run(archive, bundle) == 0
    assert (summary(archive)["separated"], summary(archive)["skipped"]) == (2, 2)
    for name, modified_ns in before.items():
        redone = name.startswith("monday/b")
        assert (outputs(archive)[name].stat().st_mtime_ns != modified_ns) == redone


@pytest.mark.parametrize("option", ["--force", "--audio_format=flac", "--output_sample_rate=model"])
def test_everything_is_separated_again_by_force_or_with_other_parameters(archive, bundle, option):
    assert run(archive, bundle) == 0
    assert run(archive, bundle, option) == 0
    assert summary(archive)["separated"] == 3


def test_everything_is_separated_again_with_another_model(archive, bundle, swapping_bundle):
    assert run(archive, bundle) == 0
    assert run(archive, swapping_bundle) == 0
    assert summary(archive)["separated"] == 3
    record = archive / "out/_ledger/monday/a.wav.json"
    (voices,) = parse_ledger_record(record.read_text(), "record").voices
    assert voices.number in {1, 2}


def test_an_output_that_was_deleted_is_made_again(archive, bundle):
    run(archive, bundle)
    outputs(archive)["monday/b_speaker2.wav"].unlink()
    assert run(archive, bundle) == 0
    assert (summary(archive)["separated"], summary(archive)["skipped"]) == (1, 2)


def test_unreadable_files_show_in_rejected_jsonl_and_the_exit_status(archive, bundle, capsys):
    (archive / "calls/monday/empty.wav").touch()
    (archive / "calls/monday/text.wav").write_text("not audio")
    write_tones(archive / "calls/monday/cut.wav", 2.0)
    cut = archive / "calls/monday/cut.wav"
    cut.write_bytes(cut.read_bytes()[:20])
    assert run(archive, bundle) == 3
    lines = {os.path.basename(line["path"]): line for line in rejected(archive)}
    assert sorted(lines) == ["cut.wav", "empty.wav", "text.wav"]
    assert "not decoded" in lines["text.wav"]["reason"]
    assert "UnusableAudioError" in lines["text.wav"]["traceback"]
    assert len(outputs(archive)) == 6
    assert "3 rejected" in capsys.readouterr().out


def test_long_files_are_separated_too(archive, bundle):
    write_tones(archive / "calls/long.wav", 70.0)
    assert run(archive, bundle) == 0
    samples, rate = soundfile.read(archive / "out/long_speaker1.wav")
    expected = 0.3 * np.sin(2 * np.pi * 200 * np.arange(len(samples)) / rate)
    np.testing.assert_allclose(samples[200:-200], expected[200:-200], atol=0.01)


def test_a_manifest_names_the_files(archive, bundle):
    manifest = archive / "tonight.txt"
    manifest.write_text(f"calls/monday/b.wav\n\n{archive}/calls/tuesday/a.wav\n")
    assert run(archive, bundle, pattern="tonight.txt") == 0
    absolute = str(archive).lstrip("/")
    assert sorted(outputs(archive)) == sorted(
        f"{stem}_speaker{number}.wav"
        for stem in ("calls/monday/b", f"{absolute}/calls/tuesday/a")
        for number in (1, 2)
    )


def test_who_speaks_when_is_written_as_rttm(archive, bundle):
    time = np.arange(6 * 8000) / 8000
    low = 0.3 * np.sin(2 * np.pi * 200 * time) * (time < 2)
    high = 0.3 * np.sin(2 * np.pi * 3000 * time) * (time > 3) * (time < 5)
    soundfile.write(archive / "calls/turns.wav", low + high, 8000)
    assert run(archive, bundle, "--rttm") == 0
    lines = (archive / "out/turns.wav.rttm").read_text().splitlines()
    turns = [
        (*line.split()[1:3], *map(float, line.split()[3:5]), line.split()[7]) for line in lines
    ]
    assert turns == [
        ("turns", "1", pytest.approx(0, abs=0.05), pytest.approx(2, abs=0.05), "speaker1"),
        ("turns", "1", pytest.approx(3, abs=0.05), pytest.approx(2, abs=0.05), "speaker2"),
    ]
    assert run(archive, bundle, "--rttm") == 0
    assert summary(archive)["skipped"] == 4


def test_a_gate_is_refused_where_outputs_never_swap(archive, bundle, swapping_bundle, capsys):
    assert run(archive, bundle, "--gate") == 1
    assert f"those of {bundle.name} never do" in capsys.readouterr().err
    assert not (archive / "out").exists()
    assert run(archive, swapping_bundle) == 0
    assert run(archive, swapping_bundle, "--gate") == 0
    assert summary(archive)["separated"] == 3


def test_outputs_inside_the_input_tree_are_not_inputs(archive, bundle):
    for _ in range(2):
        assert run(archive, bundle, output="calls/out") == 0
    counts = json.loads((archive / "calls/out/summary.json").read_text())
    assert (counts["files"], counts["skipped"]) == (3, 3)


def test_the_model_that_ships_separates_speakers(tmp_path, capsys):
    speak_corpus(tmp_path / "speech", num_voices=3, num_utterances=1)
    voices = []
    for path in sorted((tmp_path / "speech").glob("*/00.wav")):
        samples, rate = soundfile.read(path)
        samples = soxr.resample(samples, rate, 8000)[: 4 * 8000]
        voices.append(0.05 * samples / samples.std())
    pairs = list(itertools.combinations(voices, 2))
    (tmp_path / "calls").mkdir()
    for number, pair in enumerate(pairs):
        soundfile.write(tmp_path / f"calls/{number}.wav", sum(pair), 8000)
    soundfile.write(tmp_path / "calls/alone.wav", voices[1], 8000)
    arguments = [f"--input={tmp_path}/calls/*.wav", f"--output={tmp_path}/out"]
    assert main([*arguments, "--direct_num_workers=1"]) == 0
    assert "two_speakers_8k separates at 8000 Hz" in capsys.readouterr().out
    for number, pair in enumerate(pairs):
        separated = [
            soundfile.read(path)[0] for path in sorted((tmp_path / "out").glob(f"{number}_*.wav"))
        ]
        # SNR rather than SI-SDR: level and sign of an output must be right too.
        snr_db = max(
            np.mean(
                [
                    10 * np.log10(np.sum(x**2) / np.sum((x - y) ** 2))
                    for x, y in zip(pair, order, strict=True)
                ]
            )
            for order in itertools.permutations(separated)
        )
        assert snr_db > 5
    # Who is alone is in the first output, but for what a network makes of espeak's voices.
    first, _ = soundfile.read(min((tmp_path / "out").glob("alone_*.wav")))
    assert np.sum((first - voices[1]) ** 2) < 0.1 * np.sum(voices[1] ** 2)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--name_template={stem}/{source}.wav", "{folder}, {stem} and {suffix}"),
        ("--name_template={folder}/{stem}.wav", "put {source}"),
        ("--name_template={speaker}.wav", "not a name template"),
        ("--name_template=../{stem}_{source}.wav", "no place for an output"),
        ("--input=/nowhere/*.wav", "no such files"),
        ("--model=/nowhere", "not a model"),
        ("--model={archive}/training", "training.export --model_dir"),
        ("--frobnicate", "unknown option"),
    ],
)
def test_a_mistake_is_reported_in_one_line_before_anything_runs(
    archive, bundle, capsys, option, message
):
    (archive / "training").mkdir()
    for name in ("configuration.json", "checkpoint"):
        (archive / "training" / name).touch()
    assert run(archive, bundle, option.replace("{archive}", str(archive))) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (archive / "out").exists()


def test_two_files_that_differ_in_their_suffix_need_it_in_the_template(archive, bundle, capsys):
    write_tones(archive / "calls/monday/a.flac")
    assert run(archive, bundle, pattern="calls/**") == 3
    assert "{suffix}" in capsys.readouterr().out
    template = "--name_template={folder}/{stem}.{suffix}/{source}.{extension}"
    assert run(archive, bundle, template, pattern="calls/**") == 0
    assert "monday/a.flac/speaker1.wav" in outputs(archive)


def _command(archive, bundle):
    return [
        *(sys.executable, "-m", "beam_jobs.separate_archive"),
        *(f"--input={archive}/calls/**.wav", f"--model={bundle}", f"--output={archive}/out"),
    ]


def test_killed_at_any_moment_the_next_run_completes_the_rest(archive, bundle):
    for index in range(12):
        write_tones(archive / f"calls/{index}.wav", 61.0, 16000)
    job = subprocess.Popen(_command(archive, bundle), stdout=subprocess.DEVNULL)
    ledger = archive / "out/_ledger"
    while len(list(ledger.rglob("*.json"))) < 2 and job.poll() is None:
        time.sleep(0.02)
    job.send_signal(signal.SIGKILL)
    job.wait()
    finished = [parse_ledger_record(path.read_text(), str(path)) for path in ledger.rglob("*.json")]
    assert 2 <= len(finished) < 15
    # A file with its final name is complete.
    for name, path in outputs(archive).items():
        frames = 61 * 16000 if name[0].isdigit() else 12_000
        assert soundfile.info(path).frames == frames
    assert run(archive, bundle) == 0
    assert summary(archive)["skipped"] == len(finished)
    assert summary(archive)["separated"] == 15 - len(finished)
    assert len(outputs(archive)) == 30


def test_two_runs_at_once_leave_whole_files(archive, bundle):
    other = subprocess.Popen(_command(archive, bundle))
    while not (archive / "out/_runs").exists() and other.poll() is None:
        time.sleep(0.001)
    assert run(archive, bundle) == 0
    assert other.wait() == 0
    assert len(outputs(archive)) == 6
    assert all(soundfile.info(path).frames == 12_000 for path in outputs(archive).values())
    assert run(archive, bundle) == 0
    assert summary(archive)["skipped"] == 3


_LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
from beam_jobs.separate_archive import main
from beam_jobs.runtime import retries
sys.exit(main(sys.argv[1:]))
"""


@pytest.mark.flink
def test_flink_separates_the_same(flink, archive, bundle):
    command = _command(archive, bundle)
    there = [*command, f"--output={archive}/there", *flink.job_options()]
    assert subprocess.run(there, check=False).returncode == 0
    assert subprocess.run(command, check=False).returncode == 0
    assert len(outputs(archive)) == 6
    for name, path in outputs(archive).items():
        assert (archive / "there" / name).read_bytes() == path.read_bytes()
    again = subprocess.run(there, capture_output=True, text=True, check=False)
    assert "0 separated, 3 skipped" in again.stdout


def test_when_the_output_disk_is_full_the_job_fails_and_says_so(archive, bundle):
    write_tones(archive / "calls/long.wav", 30.0)
    command = _command(archive, bundle)
    job = subprocess.run(
        [sys.executable, "-c", _LIMITED, *command[3:]], capture_output=True, text=True, check=False
    )
    assert job.returncode == 1
    assert "long_speaker1.wav: can't be written" in job.stderr.splitlines()[-1]
    assert not list((archive / "out").glob("long*"))
    assert run(archive, bundle) == 0
    assert len(outputs(archive)) == 8


def test_inputs_model_and_outputs_may_all_be_remote(archive, bundle, monkeypatch):
    monkeypatch.setenv(shelf_file_system.ROOT, str(archive))
    shutil.copytree(bundle, archive / "models/speech")
    command = [
        *("--input=shelf://calls/**.wav", "--model=shelf://models/speech", "--rttm"),
        *("--output=shelf://out", "--direct_num_workers=1"),
    ]
    assert main(command) == 0
    assert len(outputs(archive)) == 6
    assert soundfile.info(outputs(archive)["monday/a_speaker1.wav"]).frames == 12_000
    record = parse_ledger_record((archive / "out/_ledger/monday/a.wav.json").read_text(), "record")
    assert record.version.checksum.startswith("checksum-")
    assert main(command) == 0
    assert summary(archive)["skipped"] == 3
    assert not list((archive / "out").rglob("*.incomplete-*"))


@pytest.mark.parametrize(("num_failures", "status"), [(2, 0), (9, 3)])
def test_reading_is_tried_again_a_few_times(archive, bundle, monkeypatch, num_failures, status):
    monkeypatch.setenv(shelf_file_system.ROOT, str(archive))
    monkeypatch.setattr(retries, "RETRY_AFTER_S", (0.01, 0.01))
    failures = [OSError("connection reset") for _ in range(num_failures)]
    monkeypatch.setattr(shelf_file_system.ShelfFileSystem, "failures", failures)
    assert run(archive, bundle, "--input=shelf://calls/**.wav") == status
    assert {line["reason"] for line in rejected(archive)} <= {"connection reset"}
    assert not failures


def test_a_recording_that_is_gone_before_the_report_is_written_fails_nothing(
    archive, bundle, monkeypatch
):
    read = page.read_excerpt

    def read_excerpt(output, relative_path, names):
        if relative_path == "monday/a.wav":
            raise FileNotFoundError(relative_path)
        return read(output, relative_path, names)

    monkeypatch.setattr(page, "read_excerpt", read_excerpt)
    assert run(archive, bundle, "--report") == 0
    report = (archive / "out/report.html").read_text()
    assert ">monday/b.wav<" in report
    assert ">monday/a.wav<" not in report


def test_a_joint_model_that_training_exports_separates(archive):
    text = resources.files("training").joinpath("configs/joint_tcn_mask_8k.json").read_text()
    configuration = parse_configuration(text, "joint_tcn_mask_8k.json")
    model_dir = ModelDir(str(archive / "model"))
    model_dir.prepare(configuration)
    model_dir.save_best(TrainingState(configuration), Metrics(0, 0.0, 0.0, "ab" * 32))
    export(str(archive / "model"), str(archive / "bundle"))
    assert run(archive, archive / "bundle") == 0
    assert sorted(outputs(archive))[:2] == ["monday/a_speaker_1.wav", "monday/a_speaker_2.wav"]
