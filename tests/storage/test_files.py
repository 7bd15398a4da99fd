import os

import pytest

from beam_jobs.storage import files
from beam_jobs.storage.files import OutputError, UnwritableNameError
from schemas.errors import UserError


def test_a_tilde_is_the_folder_of_the_user(monkeypatch):
    monkeypatch.setenv("HOME", "/home/anna")
    assert files.absolute("~/separated") == "/home/anna/separated"
    assert files.absolute("gs://bucket/~/a") == "gs://bucket/~/a"
    assert files.absolute("calls/~/a") == f"{os.getcwd()}/calls/~/a"


def test_the_url_of_a_file_on_this_machine_is_its_path():
    for url in ("file:///my%20calls/a.wav", "file://localhost/my calls/a.wav"):
        assert files.absolute(url) == "/my calls/a.wav"


@pytest.mark.parametrize("url", ["http://host/a.wav", "nfs://host/a", "gopher:///a"])
def test_a_file_system_that_nobody_knows_is_named(url):
    scheme = url.partition(":")[0]
    with pytest.raises(UserError, match=f"{url}: no file system for {scheme}:// is known here"):
        files.absolute(url)


def test_a_file_that_is_no_utf_8_any_more_is_named(tmp_path):
    (tmp_path / "a.json").write_bytes(b'{"a": "\xe9"}')
    with pytest.raises(UserError, match=f"{tmp_path}/a.json: damaged, not UTF-8 at byte 7"):
        files.read_text(str(tmp_path / "a.json"))


def test_a_file_is_one_file_under_all_its_names(tmp_path):
    (tmp_path / "monday").mkdir()
    (tmp_path / "monday/a.wav").write_text("a")
    (tmp_path / "monday/b.wav").write_text("a")
    (tmp_path / "today").symlink_to("monday")
    (tmp_path / "hard.wav").hardlink_to(tmp_path / "monday/a.wav")
    same = [str(tmp_path / name) for name in ("monday/a.wav", "today/a.wav", "hard.wav")]
    assert all(files.is_same_file(path, other) for path in same for other in same)
    assert not files.is_same_file(same[0], str(tmp_path / "monday/b.wav"))
    assert not files.is_same_file(same[0], str(tmp_path / "gone.wav"))
    assert files.is_same_file("gs://a/b.wav", "gs://a/b.wav")
    assert not files.is_same_file("gs://a/b.wav", "gs://b/b.wav")


@pytest.mark.parametrize("length", [211, 212])
def test_a_name_may_be_as_long_as_the_disk_allows_the_temporary_one(tmp_path, length):
    # 255 bytes less `.incomplete-` and 32 digits.
    path = str(tmp_path / "new" / ("я" * (length // 2) + "a" * (length % 2)))
    if length == 211:
        files.check_name(path)
        with files.write_atomically_from_disk(path) as local, open(local, "w") as file:
            file.write("a")
        assert files.read_text(path) == "a"
        return
    with pytest.raises(UnwritableNameError, match="1 bytes too long"):
        files.check_name(path)
    with pytest.raises(OSError, match="too long"), files.write_atomically_from_disk(path):
        pass


def test_names_of_objects_may_be_longer_than_those_of_files():
    files.check_name("gs://bucket/" + "a" * 1024)
    with pytest.raises(UnwritableNameError):
        files.check_name("gs://bucket/" + "a" * 1025)


def test_what_is_wrong_with_one_name_is_told_apart_from_what_is_wrong_with_the_folder(tmp_path):
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "folder", tmp_path / ("a" * 250)):
        with (
            pytest.raises(UnwritableNameError, match="can't be written"),
            files.as_output_error(str(path)),
            files.write_atomically_from_disk(str(path)),
        ):
            pass
    with pytest.raises(OutputError), files.as_output_error("a"):
        raise OSError(28, "No space left on device")


def test_a_name_that_something_else_has_is_found_out_before_it_is_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    for path in (tmp_path, tmp_path / "file/a", tmp_path / "file/a/b"):
        with pytest.raises(UnwritableNameError, match=r"is (not )?a folder"):
            files.check_name(str(path))
    files.check_name(str(tmp_path / "file"))
