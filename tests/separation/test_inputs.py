"""The files that are found in folders, by patterns and in manifests, and what is left out."""

import errno
import os
import tempfile
from pathlib import Path

import pytest
import shelf_file_system

from beam_jobs.separation.inputs import NamingError, list_archive
from beam_jobs.storage.text import TextError


@pytest.fixture
def calls(tmp_path):
    """An archive with a few files of each kind."""
    for name in (
        *("a.wav", "monday/a.flac", "monday/B.MP3", "monday/deep/er/c.ogg", "tuesday/d.wav"),
        *("notes.txt", "monday/a.rttm", "monday/a.json", "monday/._a.flac", "tuesday/README"),
    ):
        write(tmp_path / "calls" / name)
    return tmp_path / "calls"


def write(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("audio")


def find(*arguments, output="/nowhere/out"):
    return list_archive([str(argument) for argument in arguments], str(output))


def places(archive):
    return [one.relative_path for one in archive.inputs]


def reasons(archive, root):
    return {os.path.relpath(one.path, root): one.reason for one in archive.rejected}


AUDIO = ["a.wav", "monday/B.MP3", "monday/a.flac", "monday/deep/er/c.ogg", "tuesday/d.wav"]


@pytest.mark.parametrize("end", ["", "/", "/**", "/**/*"])
def test_a_folder_means_all_audio_in_it_and_the_rest_is_counted(calls, end):
    archive = find(f"{calls}{end}")
    assert places(archive) == AUDIO
    assert archive.num_no_audio == 5
    assert archive.rejected == []
    assert (
        archive.describe() == "5 files are no audio, hidden or thrown away, and were passed over\n"
    )


@pytest.mark.parametrize(
    "stray",
    [
        *(".Trash-1000/files/a.wav", "$RECYCLE.BIN/S-1/$R1.wav", "monday/@eaDir/a.wav"),
        *("__MACOSX/monday/._a.wav", "lost+found/#1.wav", ".git/a.wav", "monday/.a.wav"),
    ],
)
def test_what_is_hidden_or_thrown_away_is_passed_over_and_counted(calls, stray):
    (calls / stray).parent.mkdir(parents=True, exist_ok=True)
    (calls / stray).touch()
    for pattern in ("", "/**", "/**/*.wav", "/**.wav"):
        archive = find(f"{calls}{pattern}")
        assert stray not in places(archive)
        assert archive.num_no_audio >= 1
    assert places(find(calls / stray)) == [os.path.basename(stray)]


def test_a_pattern_may_ask_for_what_is_hidden(calls):
    (calls / ".kept").mkdir()
    (calls / ".kept/a.wav").touch()
    assert places(find(f"{calls}/.k*/*.wav")) == [".kept/a.wav"]
    assert places(find(calls / ".kept")) == ["a.wav"]


def test_a_folder_that_only_the_system_may_read_is_passed_over(calls, monkeypatch):
    (calls / "lost+found").mkdir()
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("lost+found"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    archive = find(calls)
    assert places(archive) == AUDIO
    assert archive.rejected == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*", ["a.wav"]),
        ("*/*", ["monday/B.MP3", "monday/a.flac", "tuesday/d.wav"]),
        ("**.wav", ["a.wav", "tuesday/d.wav"]),
        ("**/*.wav", ["a.wav", "tuesday/d.wav"]),
        ("**/d*/**/*.ogg", ["monday/deep/er/c.ogg"]),
        ("monday/**/er/*", ["c.ogg"]),
        ("[mt]*day/[ad].*", ["monday/a.flac", "tuesday/d.wav"]),
        ("*/*.rttm", ["monday/a.rttm"]),
    ],
)
def test_a_pattern_finds_what_shells_find(calls, pattern, expected):
    found = places(find(calls / pattern))
    assert [name.removeprefix("deep/er/") for name in found] == expected


def test_a_file_that_is_named_is_an_input_whatever_it_is(calls):
    archive = find(calls / "monday/a.rttm", calls / "tuesday/README")
    assert places(archive) == ["a.rttm", "README"]
    assert archive.num_no_audio == 0


def test_several_inputs_are_one_archive(calls):
    archive = find(calls / "monday", calls / "tuesday/*.wav", calls / "a.wav", calls / "monday")
    assert places(archive) == ["a.wav", "B.MP3", "a.flac", "deep/er/c.ogg", "d.wav"]
    assert archive.num_other_names == 0


def test_inputs_with_one_place_in_the_tree_are_refused_by_name(calls):
    write(calls / "tuesday/a.flac")
    with pytest.raises(
        NamingError, match=r"monday/a.flac and .*tuesday/a.flac .*folder above both"
    ):
        find(calls / "monday", calls / "tuesday")


@pytest.mark.parametrize("name", ["calls [2020]", "what?", "a*b", "[x]/[y]"])
def test_names_with_the_characters_of_patterns_are_names_if_they_are_there(tmp_path, name):
    write(tmp_path / name / "a.wav")
    write(tmp_path / "calls 2" / "b.wav")
    for argument in (name, f"{name}/a.wav", f"{name}/*.wav", f"{name}/**"):
        assert places(find(tmp_path / argument)) == ["a.wav"], argument
    write(tmp_path / f"{name}.wav")
    assert places(find(tmp_path / f"{name}.wav")) == [f"{name}.wav".split("/")[-1]]


def test_a_backslash_is_a_character_of_a_name(tmp_path):
    write(tmp_path / "AC\\DC.wav")
    assert places(find(tmp_path / "*.wav")) == ["AC\\DC.wav"]


@pytest.mark.parametrize("pattern", ["", "/**.wav", "/*/*.wav"])
def test_links_are_followed_within_the_tree_and_rejected_out_of_it(tmp_path, pattern):
    root = tmp_path / "calls"
    for name in ("calls/2024/a.wav", "other/b.wav"):
        write(tmp_path / name)
    (root / "2023").symlink_to("../other")
    (root / "2022").symlink_to("2024")
    (root / "2024/2021").symlink_to("..")
    (root / "2024/loop.wav").symlink_to("loop.wav")
    (root / "2024/gone.wav").symlink_to("nowhere.wav")
    (root / "2024/b.wav").symlink_to("../../other/b.wav")
    os.mkfifo(root / "2024/pipe.wav")
    archive = find(f"{root}{pattern}")
    assert places(archive) == ["2024/a.wav", "2024/b.wav"]
    # Both files once more under 2022.
    assert archive.num_other_names == 2
    said = reasons(archive, root)
    assert (
        said["2023"]
        == "a link that leads out of the folder: name the folder that it leads to as well"
    )
    assert said["2024/gone.wav"] == "a link to nowhere.wav, which is not there"
    assert said["2024/pipe.wav"] == "neither a file nor a folder"
    assert said["2024/loop.wav"].startswith("a link that can't be followed")
    folders = {"2023", *(f"{year}/{name}.wav" for year in (2022, 2024) for name in NAMES)}
    assert set(said) == folders


NAMES = ("gone", "loop", "pipe")


def test_a_file_with_several_names_is_one_input(tmp_path):
    for name in ("daily.0/a.wav", "daily.0/b.wav"):
        write(tmp_path / name)
    (tmp_path / "daily.1").mkdir()
    os.link(tmp_path / "daily.0/a.wav", tmp_path / "daily.1/a.wav")
    os.link(tmp_path / "daily.0/a.wav", tmp_path / "daily.1/a again.wav")
    write(tmp_path / "daily.1/b.wav")
    archive = find(tmp_path)
    assert places(archive) == ["daily.0/a.wav", "daily.0/b.wav", "daily.1/b.wav"]
    assert archive.num_other_names == 2
    assert places(find(tmp_path / "daily.1")) == ["a again.wav", "b.wav"]


def test_links_that_a_pattern_can_t_lead_to_do_not_matter(tmp_path):
    write(tmp_path / "calls/a.wav")
    (tmp_path / "other").mkdir()
    (tmp_path / "calls/2023").symlink_to("../other")
    (tmp_path / "calls/gone.flac").symlink_to("nowhere.flac")
    archive = find(tmp_path / "calls/*.wav")
    assert (places(archive), archive.rejected) == (["a.wav"], [])


def test_a_linked_folder_that_is_an_input_of_its_own_is_not_left_out(tmp_path):
    for name in ("calls/a.wav", "other/b.wav"):
        write(tmp_path / name)
    (tmp_path / "calls/2023").symlink_to("../other")
    archive = find(tmp_path / "calls", tmp_path / "other")
    assert (places(archive), archive.rejected) == (["a.wav", "b.wav"], [])
    archive = find(tmp_path / "calls", tmp_path / "other/*.flac")
    assert list(reasons(archive, tmp_path)) == ["calls/2023"]


def test_an_unmounted_disk_is_not_left_out(tmp_path):
    write(tmp_path / "calls/a.wav")
    (tmp_path / "calls/2022").symlink_to("/media/archive/2022")
    archive = find(tmp_path / "calls")
    # What is left by editors and demons is no audio.
    (tmp_path / "calls/.#a.wav").symlink_to("anna@laptop.1234")
    os.mkfifo(tmp_path / "calls/queue")
    archive = find(tmp_path / "calls")
    assert reasons(archive, tmp_path) == {
        "calls/2022": "a link to /media/archive/2022, which is not there"
    }
    assert archive.num_no_audio == 2


def test_a_folder_that_can_t_be_read_is_rejected():
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write(root / "calls/a.wav")
        write(root / "calls/secret/b.wav")
        root.chmod(0o755)
        (root / "calls/secret").chmod(0)
        user = os.geteuid()
        if not user:
            os.seteuid(65534)
        try:
            archive = find(root / "calls")
        finally:
            os.seteuid(user)
            (root / "calls/secret").chmod(0o755)
        assert places(archive) == ["a.wav"]
        assert reasons(archive, root) == {
            "calls/secret": "a folder that can't be read: Permission denied"
        }


def test_a_file_with_several_names_is_one_input_under_its_own(tmp_path):
    write(tmp_path / "calls/z.wav")
    (tmp_path / "calls/a.wav").symlink_to("z.wav")
    (tmp_path / "today").symlink_to("calls")
    (tmp_path / "list.txt").write_text("today/z.wav\ncalls/z.wav\n./calls/z.wav\ncalls/a.wav\n")
    for argument in ("calls", "today/*.wav", "list.txt"):
        archive = find(tmp_path / argument)
        assert [one.path.split("/")[-1] for one in archive.inputs] == ["z.wav"], argument
        assert archive.num_other_names == (2 if argument == "list.txt" else 1)
    assert "1 links lead to files" in find(tmp_path / "calls").describe()


def test_the_output_folder_is_known_whatever_links_lead_to_it(tmp_path):
    for name in ("calls/a.wav", "calls/out/a_speaker1.wav", "disk/b_speaker1.wav"):
        write(tmp_path / name)
    (tmp_path / "short").symlink_to("calls/out")
    (tmp_path / "calls/linked").symlink_to("../disk")
    assert places(find(tmp_path / "calls", output=tmp_path / "short")) == ["a.wav"]
    archive = find(tmp_path / "calls", output=tmp_path / "calls/linked")
    assert places(archive) == ["a.wav", "out/a_speaker1.wav"]
    assert archive.rejected == []


def test_outputs_of_earlier_runs_are_not_inputs(tmp_path):
    for name in ("a.wav", "out/_ledger/a.wav.json", "out/a_speaker1.wav"):
        write(tmp_path / "calls" / name)
    archive = find(tmp_path / "calls")
    assert places(archive) == ["a.wav"]
    assert archive.earlier_outputs == [str(tmp_path / "calls/out")]
    assert f"were passed over: {tmp_path}/calls/out\n" in archive.describe()
    # Who names them wants them.
    assert places(find(tmp_path / "calls/out")) == ["a_speaker1.wav"]


@pytest.mark.parametrize(
    ("names", "argument", "message"),
    [
        (["out/a.wav"], "*/*.wav", "what is in the output folder .*/calls/out is never an input"),
        (["notes.txt", "b.json"], "", "2 are no audio, judging by their suffixes"),
        (["old/_ledger/a.wav.json"], "", "outputs of earlier runs in .*/calls/old are not inputs"),
        (["a.wav"], "b.wav", "b.wav: no such files$"),
        (["a.wav"], "b/*.wav", r"b/\*.wav: no such files$"),
    ],
)
def test_a_message_says_why_there_are_no_inputs(tmp_path, names, argument, message):
    for name in names:
        write(tmp_path / "calls" / name)
    with pytest.raises(NamingError, match=message):
        find(tmp_path / "calls" / argument, output=tmp_path / "calls/out")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_manifests_of_windows_are_read(tmp_path, encoding):
    manifest = tmp_path / "list.txt"
    manifest.write_text("Müller.wav\r\n\r\nb/c.wav\r\n", encoding, newline="")
    assert places(find(manifest)) == ["Müller.wav", "b/c.wav"]


def test_a_manifest_in_another_encoding_is_refused_with_its_first_bad_line(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"a.wav\n\xfc.wav\n")
    with pytest.raises(TextError, match=r"list.txt: line 2 is not in UTF-8"):
        find(tmp_path / "list.txt")


def test_a_manifest_may_name_files_of_the_user_s_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "anna"))
    (tmp_path / "list.txt").write_text("~/a.wav\n")
    assert [one.path for one in find(tmp_path / "list.txt").inputs] == [f"{tmp_path}/anna/a.wav"]


def test_what_a_manifest_names_in_the_output_folder_is_rejected(tmp_path):
    (tmp_path / "list.txt").write_text("a.wav\nout/b.wav\n")
    archive = find(tmp_path / "list.txt", output=tmp_path / "out")
    assert places(archive) == ["a.wav"]
    assert reasons(archive, tmp_path) == {"out/b.wav": "is in the output folder"}


@pytest.mark.parametrize("argument", ["calls", "calls/", "calls/**", "calls/**/*"])
def test_folders_of_a_remote_file_system_are_folders_too(tmp_path, monkeypatch, argument):
    monkeypatch.setenv(shelf_file_system.ROOT, str(tmp_path))
    for name in (
        *("a.wav", "monday/b.wav", "notes.txt", "[x]/c.wav", "out/_ledger/a.wav.json"),
        *("out/a_speaker1.wav", "ours/a.wav"),
    ):
        write(tmp_path / "calls" / name)
    archive = find(f"shelf://{argument}", output="shelf://calls/ours")
    assert places(archive) == ["[x]/c.wav", "a.wav", "monday/b.wav"]
    assert (archive.num_no_audio, archive.earlier_outputs) == (1, ["shelf://calls/out"])
    assert places(find("shelf://calls/a.wav")) == ["a.wav"]
    assert places(find("shelf://calls/[x]/*.wav")) == ["c.wav"]
    assert places(find("shelf://calls/[x]/c.wav")) == ["c.wav"]
