"""Outputs belong to the recording that they were separated from, over any number of runs."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import shelf_file_system
import soundfile
from read_only import full_disk

from beam_jobs.separate_archive import main
from schemas.ledger import parse_ledger_record

# Long names in UTF-8: 200 bytes leave room for the names of outputs, 210 do not.
LONG, TOO_LONG = "я" * 98, "я" * 105


@pytest.fixture
def separate(tmp_path, bundle):
    """Separates inputs, and returns the exit status, the summary and the reasons by name."""

    def separate(*inputs, output="out", options=()):
        status = main(
            [
                *(f"--input={tmp_path / one}" for one in inputs),
                *(f"--model={bundle}", f"--output={tmp_path / output}"),
                *("--direct_num_workers=1", *options),
            ]
        )
        summary = json.loads((tmp_path / output / "summary.json").read_text())
        rejected = (tmp_path / output / "rejected.jsonl").read_text().splitlines()
        documents = [json.loads(line) for line in rejected]
        reasons = {os.path.relpath(one["path"], tmp_path): one["reason"] for one in documents}
        return status, (summary["separated"], summary["skipped"], summary["rejected"]), reasons

    return separate


def write_tone(path, frequency, *, duration_s=1):
    """Writes a recording whose first output is all of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    time = np.arange(8000 * duration_s) / 8000
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * frequency * time), 8000)
    return path


def frequency(path):
    samples, _ = soundfile.read(path)
    return int(np.abs(np.fft.rfft(samples)).argmax())


def test_two_folders_one_after_the_other_keep_their_outputs(tmp_path, separate):
    write_tone(tmp_path / "monday/a.wav", 200)
    write_tone(tmp_path / "tuesday/a.wav", 300)
    write_tone(tmp_path / "tuesday/b.wav", 400)
    assert separate("monday")[:2] == (0, (1, 0, 0))
    status, numbers, reasons = separate("tuesday")
    assert (status, numbers) == (3, (1, 0, 1))
    assert reasons["tuesday/a.wav"] == (
        f"it would overwrite the outputs of {tmp_path}/monday/a.wav, which has the same place a.wav"
        f" in {tmp_path}/out: give another --output"
    )
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200
    assert frequency(tmp_path / "out/b_speaker1.wav") == 400
    assert separate("monday")[1] == (0, 1, 0)
    assert separate("tuesday", options=["--force"])[1] == (1, 0, 1)
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200


def test_two_suffixes_one_after_the_other_keep_their_outputs(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    write_tone(tmp_path / "calls/a.flac", 300)
    assert separate("calls/*.wav")[:2] == (0, (1, 0, 0))
    for options in ((), ("--force",)):
        status, numbers, reasons = separate("calls/*.flac", options=options)
        assert (status, numbers) == (3, (0, 0, 1))
        assert reasons["calls/a.flac"] == (
            f"its output a_speaker1.wav would overwrite that of {tmp_path}/calls/a.wav in"
            f" {tmp_path}/out: give another --output, or put {{suffix}} or {{folder}} in the"
            " --name_template"
        )
    assert separate("calls/*.wav")[1] == (0, 1, 0)
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200
    template = "--name_template={stem}.{suffix}_{source}.{extension}"
    assert separate("calls/*.flac", options=[template])[:2] == (0, (1, 0, 0))
    assert frequency(tmp_path / "out/a.flac_speaker1.wav") == 300


def test_of_one_recording_in_two_formats_the_better_one_is_separated(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    write_tone(tmp_path / "calls/a.mp3", 300)
    write_tone(tmp_path / "calls/b.ogg", 400)
    status, numbers, reasons = separate("calls")
    assert (status, numbers) == (3, (2, 0, 1))
    assert reasons == {
        "calls/a.mp3": f"its outputs would have the names of those of {tmp_path}/calls/a.wav:"
        " rename one of them, or put {suffix} in the name template"
        " '{folder}/{stem}_{source}.{extension}'"
    }
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200
    assert separate("calls")[:2] == (3, (0, 2, 1))


def test_a_recording_that_comes_in_a_better_format_later_does_not_replace_the_first(
    tmp_path, separate
):
    write_tone(tmp_path / "calls/a.mp3", 300)
    assert separate("calls")[:2] == (0, (1, 0, 0))
    write_tone(tmp_path / "calls/a.wav", 200)
    status, numbers, reasons = separate("calls")
    assert (status, numbers, list(reasons)) == (3, (0, 1, 1), ["calls/a.wav"])


def test_two_templates_keep_their_outputs(tmp_path, separate):
    write_tone(tmp_path / "calls/monday/a.wav", 200)
    write_tone(tmp_path / "calls/tuesday/a.wav", 300)
    template = "--name_template={stem}_{source}.{extension}"
    assert separate("calls/mon*/*", options=[template])[0] == 0
    assert separate("calls/tue*/*", options=[template])[0] == 3
    assert separate("calls/tue*/*")[0] == 0
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200
    assert frequency(tmp_path / "out/tuesday/a_speaker1.wav") == 300


def test_a_link_that_leads_elsewhere_the_next_day_leads_to_another_recording(tmp_path, separate):
    write_tone(tmp_path / "monday/a.wav", 200)
    write_tone(tmp_path / "tuesday/a.wav", 300)
    today = tmp_path / "today"
    today.symlink_to("monday")
    assert separate("today")[0] == 0
    record = parse_ledger_record((tmp_path / "out/_ledger/a.wav.json").read_text(), "record")
    assert record.path == f"{tmp_path}/monday/a.wav"
    today.unlink()
    today.symlink_to("tuesday")
    assert separate("today")[0] == 3
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200


def test_a_recording_is_done_whatever_links_lead_to_it_and_to_the_output(tmp_path, separate):
    write_tone(tmp_path / "disk/calls/a.wav", 200)
    (tmp_path / "short").symlink_to("disk/calls")
    assert separate("disk/calls")[1] == (1, 0, 0)
    (tmp_path / "linked").symlink_to("out")
    assert separate("short", output="linked")[1] == (0, 1, 0)
    # Moved to another disk, with a link in its old place.
    (tmp_path / "disk").rename(tmp_path / "new")
    (tmp_path / "disk").symlink_to("new")
    assert separate("disk/calls")[1] == (0, 1, 0)


def test_an_archive_that_was_moved_is_separated_again_in_its_place(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    write_tone(tmp_path / "calls/b.wav", 200)
    assert separate("calls")[1] == (2, 0, 0)
    (tmp_path / "calls").rename(tmp_path / "archive")
    # Not the file that was in that place.
    write_tone(tmp_path / "archive/b.wav", 300)
    os.utime(tmp_path / "archive/b.wav", (1e9, 1e9))
    status, numbers, reasons = separate("archive")
    assert (status, numbers, list(reasons)) == (3, (1, 0, 1), ["archive/b.wav"])
    assert frequency(tmp_path / "out/b_speaker1.wav") == 200
    assert separate("archive")[1] == (0, 1, 1)


def test_a_copy_of_a_recording_is_separated_in_its_place(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    assert separate("calls")[1] == (1, 0, 0)
    # The whole project, as for a backup: copies have other times.
    shutil.copytree(tmp_path / "calls", tmp_path / "copy/calls", copy_function=shutil.copyfile)
    shutil.copytree(tmp_path / "out", tmp_path / "copy/out")
    assert separate("copy/calls", output="copy/out")[1] == (1, 0, 0)
    assert separate("copy/calls", output="copy/out")[1] == (0, 1, 0)


def test_what_a_killed_run_left_is_overwritten(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    (tmp_path / "out/_runs").mkdir(parents=True)
    write_tone(tmp_path / "out/a_speaker1.wav", 300)
    assert separate("calls")[1] == (1, 0, 0)
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200


def test_a_damaged_ledger_is_mended(tmp_path, separate):
    for name in ("a", "b"):
        write_tone(tmp_path / f"calls/{name}.wav", 200)
    separate("calls")
    (tmp_path / "out/_ledger/a.wav.json").write_bytes(b"\xff\x00")
    (tmp_path / "out/_ledger/b.wav.json").write_bytes(b"")
    assert separate("calls")[1] == (2, 0, 0)
    assert separate("calls")[1] == (0, 2, 0)


def test_outputs_keep_their_owner_on_a_remote_file_system(tmp_path, bundle, monkeypatch):
    monkeypatch.setenv(shelf_file_system.ROOT, str(tmp_path))
    write_tone(tmp_path / "monday/a.wav", 200)
    write_tone(tmp_path / "tuesday/a.wav", 300)
    command = [f"--model={bundle}", "--output=shelf://out", "--direct_num_workers=1"]
    assert main([*command, "--input=shelf://monday"]) == 0
    assert main([*command, "--input=shelf://tuesday"]) == 3
    assert main([*command, "--input=shelf://monday/*.wav"]) == 0
    assert frequency(tmp_path / "out/a_speaker1.wav") == 200


def test_a_name_that_is_too_long_is_that_file_s_fault(tmp_path, separate):
    for name in (LONG, TOO_LONG, "b"):
        write_tone(tmp_path / f"calls/{name}.wav", 200)
    for numbers in ((2, 0, 1), (0, 2, 1)):
        status, found, reasons = separate("calls")
        assert (status, found) == (3, numbers)
        (reason,) = reasons.values()
        assert "bytes too long: shorten the file's name" in reason
        assert list(reasons) == [f"calls/{TOO_LONG}.wav"]
    # The names of outputs may also be short; that of the record is not.
    assert separate("calls", output="short", options=["--name_template={source}/{stem}"])[1] == (
        2,
        0,
        1,
    )


@pytest.mark.parametrize("name", ["a_speaker1.wav/b.wav", "a.wav.json/b.wav"])
def test_a_name_that_another_output_has_is_that_file_s_fault(tmp_path, separate, name):
    write_tone(tmp_path / "first/a.wav", 200)
    assert separate("first")[0] == 0
    write_tone(tmp_path / "second" / name, 200)
    write_tone(tmp_path / "second/c.wav", 200)
    status, numbers, reasons = separate("second")
    assert (status, numbers) == (3, (1, 0, 1))
    assert "is not a folder" in reasons[f"second/{name}"]


def test_a_line_of_a_manifest_that_is_no_name_is_that_line_s_fault(tmp_path, separate):
    write_tone(tmp_path / "a.wav", 200)
    (tmp_path / "calls.wav").mkdir()
    (tmp_path / "list.txt").write_text(f"a.wav\n{'x' * 5000}.wav\ncalls.wav\nnotes.rttm\n")
    (tmp_path / "notes.rttm").write_text("SPEAKER a 1 0 1 <NA> <NA> a <NA>\n")
    status, numbers, reasons = separate("list.txt")
    assert (status, numbers) == (3, (1, 0, 3))
    assert "too long" in reasons[f"{'x' * 5000}.wav"]
    assert reasons["calls.wav"] == "is a directory"


def test_what_is_no_audio_in_a_folder_is_counted_and_no_fault(tmp_path, separate, capsys):
    write_tone(tmp_path / "calls/a.wav", 200)
    for name in ("notes.txt", "a.rttm", "a.json"):
        (tmp_path / "calls" / name).write_text("{}")
    assert separate("calls")[:2] == (0, (1, 0, 0))
    assert (
        "3 files are no audio, hidden or thrown away, and were passed over"
        in capsys.readouterr().out
    )
    assert json.loads((tmp_path / "out/summary.json").read_text())["no_audio"] == 3


def test_what_could_not_be_looked_into_is_rejected_and_counted(tmp_path, separate, capsys):
    write_tone(tmp_path / "calls/a.wav", 200)
    (tmp_path / "calls/2022").symlink_to("/media/archive/2022")
    assert separate("calls") == (
        3,
        (1, 0, 1),
        {"calls/2022": "a link to /media/archive/2022, which is not there"},
    )
    assert "rejected: 1 of 1: a link to /media/archive/2022" in capsys.readouterr().out


@pytest.mark.parametrize("output", ["calls", "."])
def test_a_folder_with_other_things_is_no_output_folder(tmp_path, bundle, capsys, output):
    write_tone(tmp_path / "calls/a.wav", 200)
    command = [f"--input={tmp_path}/calls/*.wav", f"--model={bundle}"]
    assert main([*command, f"--output={tmp_path / output}"]) == 1
    error = capsys.readouterr().err
    assert "holds something else, such as" in error
    assert "name another --output, a new or an empty folder" in error
    assert os.listdir(tmp_path / "calls") == ["a.wav"]


def test_an_empty_output_folder_may_have_what_desktops_leave_in_it(tmp_path, separate):
    write_tone(tmp_path / "calls/a.wav", 200)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.DS_Store").touch()
    assert separate("calls")[0] == 0


def test_a_tilde_that_no_shell_expands_is_the_user_s_folder(tmp_path, bundle, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    write_tone(tmp_path / "calls/a.wav", 200)
    shutil.copytree(bundle, tmp_path / "model")
    assert main(["--input=~/calls/*.wav", "--output=~/separated", "--model=~/model"]) == 0
    assert (tmp_path / "separated/a_speaker1.wav").exists()
    assert not (tmp_path / "~").exists()


def test_an_output_that_can_t_be_written_is_said_before_anything_is_read(tmp_path, bundle, capsys):
    write_tone(tmp_path / "calls/a.wav", 200)
    command = [f"--input={tmp_path}/calls", f"--output={tmp_path}/out", f"--model={bundle}"]
    with full_disk():
        assert main(command) == 1
    printed = capsys.readouterr()
    assert printed.err == (
        f"separate_archive: {tmp_path}/out: can't be written: File too large: name another"
        " --output, or make room there\n"
    )
    assert printed.out == ""


@pytest.mark.parametrize("audio_format", ["wav", "flac", "opus"])
def test_a_disk_that_fills_up_is_one_line_and_the_job_goes_on_with_more_room(
    separate, tmp_path, bundle, capfd, audio_format
):
    write_tone(tmp_path / "calls/a.wav", 200)
    write_tone(tmp_path / "calls/b.wav", 300, duration_s=20)
    command = [f"--input={tmp_path}/calls", f"--output={tmp_path}/out", f"--model={bundle}"]
    options = (f"--audio_format={audio_format}",)
    with full_disk(16384):
        assert main([*command, *options, "--direct_num_workers=1"]) == 1
    printed = capfd.readouterr().err
    assert "Traceback" not in printed
    line = printed.splitlines()[-1]
    assert line.startswith(f"separate_archive: {tmp_path}/out/b_")
    assert "can't be written: File too large. What is finished is kept: make room" in line
    status, (separated, skipped, _), _ = separate("calls", options=options)
    assert (status, separated + skipped) == (0, 2)


@pytest.mark.parametrize(
    "options",
    [
        ("--name_template={stem}_{source}.mp3",),
        ("--name_template={stem}_{source}.wav", "--audio_format=flac"),
        ("--name_template={source}/{stem}.{suffix}", "--audio_format=opus"),
        ("--name_template={stem}_{source}.txt",),
    ],
)
def test_a_suffix_of_another_format_is_refused(tmp_path, bundle, capsys, options):
    write_tone(tmp_path / "calls/a.wav", 200)
    command = [f"--input={tmp_path}/calls", f"--output={tmp_path}/out", f"--model={bundle}"]
    assert main([*command, *options]) == 1
    assert "end in .{extension}, and choose wav, flac or opus" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        ("--name_template={stem}_{source}.WAV",),
        ("--name_template={stem}_{source}.ogg", "--audio_format=opus"),
        ("--name_template={source}/{stem}",),
    ],
)
def test_a_suffix_of_the_format_or_none_is_fine(tmp_path, separate, options):
    write_tone(tmp_path / "calls/a.b.wav", 200)
    assert separate("calls", options=options)[0] == 0


@pytest.mark.parametrize(
    ("missing", "model"), [("tensorflow", ""), ("spleeter", "--model=spleeter:2stems")]
)
def test_without_tensorflow_one_line_names_the_extra(tmp_path, monkeypatch, capsys, missing, model):
    monkeypatch.setitem(sys.modules, missing, None)
    write_tone(tmp_path / "calls/a.wav", 200)
    command = [f"--input={tmp_path}/calls", f"--output={tmp_path}/out", *filter(None, [model])]
    assert main(command) == 1
    name = {"tensorflow": "TensorFlow", "spleeter": "Spleeter"}[missing]
    assert capsys.readouterr().err == (
        f"separate_archive: separation needs {name}: pip install 'spleeter-beam[tensorflow]'\n"
    )
    assert not (tmp_path / "out").exists()
