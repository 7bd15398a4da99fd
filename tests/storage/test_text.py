import codecs
import gzip

import pytest

from beam_jobs.storage import text
from beam_jobs.storage.text import TextError, read_lines, read_text

LINES = ["München.wav\n", "b c.wav\n", "日本.wav\n"]


@pytest.fixture(params=[text._BLOCK_BYTES, 1, 3])
def block_bytes(request, monkeypatch):
    """Blocks that end within characters and between the two characters of a line's end."""
    monkeypatch.setattr(text, "_BLOCK_BYTES", max(request.param, 4))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
    ],
)
def test_a_text_is_the_same_in_every_encoding_and_with_every_end_of_a_line(
    tmp_path, mark, encoding, end
):
    path = tmp_path / "list.txt"
    path.write_bytes(mark + "".join(LINES).replace("\n", end).encode(encoding))
    assert list(read_lines(str(path))) == LINES
    assert read_text(str(path)) == "".join(LINES)


def test_the_last_line_may_have_no_end(tmp_path):
    path = tmp_path / "list.txt"
    for content, lines in (("", []), ("a", ["a"]), ("a\n\nb", ["a\n", "\n", "b"])):
        path.write_text(content)
        assert list(read_lines(str(path))) == lines


def test_only_ends_of_lines_end_lines(tmp_path):
    # str.splitlines also divides at these, which are good characters of a file's name.
    path = tmp_path / "list.txt"
    path.write_text("a\u2028b\x0c\x85.wav\nc.wav\n")
    assert list(read_lines(str(path))) == ["a\u2028b\x0c\x85.wav\n", "c.wav\n"]


def test_a_compressed_text_is_read_too(tmp_path):
    path = tmp_path / "list.txt.gz"
    path.write_bytes(gzip.compress(codecs.BOM_UTF8 + "".join(LINES).encode()))
    assert list(read_lines(str(path), compressed=True)) == LINES


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a.wav\n\xfc.wav\n", r"line 2 is not in UTF-8 \(\\xfc\): save the file as UTF-8"),
        ("a.wav\nü.wav\n".encode("utf-16-le"), "in UTF-16 without a byte order mark"),
        ("a.wav\n".encode("utf-32"), "is in UTF-32"),
        ("a.wav\nb.wav".encode("utf-16")[:-1], "ends within a character"),
        (codecs.BOM_UTF16_LE + b"a\0\n\0\x00\xd8b\0", r"line 2 is not in UTF-8 \(\\ud800\)"),
        (b"ID3\x04\x00\x00\n", "line 1 has NUL characters: the file is not text"),
    ],
)
def test_another_encoding_is_refused_with_the_file_and_the_first_bad_line(
    tmp_path, content, message
):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(TextError, match=message) as error:
        read_text(str(path))
    assert str(error.value).startswith(f"{path}: ")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_unmarked_utf_16_is_refused_where_single_bad_lines_are_not(tmp_path, encoding):
    path = tmp_path / "list.txt"
    path.write_bytes("a.wav\n".encode(encoding))
    with pytest.raises(TextError, match="in UTF-16 without a byte order mark"):
        list(read_lines(str(path), unchecked=True))


def test_a_folder_is_no_text(tmp_path):
    with pytest.raises(TextError, match=f"{tmp_path}: a folder, where a text file should be"):
        read_text(str(tmp_path))
