"""A layout is recognised in spite of stray files, and a guess that looks wrong is not taken."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from spoken_corpora import catalogue, speak, write_lines

from beam_jobs.corpora import choose_layout
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.corpora.layout import Corpus, parse_corpora, sample_paths
from schemas.errors import UserError
from schemas.recipe import Utterance

RESOURCE_FORK = b"\0\5\026\7" + bytes(4092)


def speakers_of(utterances: dict[str, Utterance]) -> set[str]:
    return {one.speaker for one in utterances.values()}


@pytest.fixture
def libri_speech(tmp_path: Path) -> Path:
    root = tmp_path / "LibriSpeech"
    for subset, speakers in (("dev-clean", (101, 102)), ("train-clean-100", (103,))):
        for speaker in speakers:
            for number in range(3):
                name = f"{speaker}-7-000{number}.flac"
                speak(root / subset / str(speaker) / "7" / name, seed=speaker + number)
    return root


class TestStrayFiles:
    @pytest.mark.parametrize(
        "stray",
        [
            "dev-clean/101/7/._101-7-0000.flac",
            "._dev-clean.wav",
            "Thumbs.wav",
            "aaa/notes.mp3",
            "__MACOSX/dev-clean/101/7/._101-7-0000.flac",
            "dev-clean/101/7/@eaDir/101-7-0000.flac",
            ".Trash-1000/files/dev-clean/101/7/101-7-0000.flac",
            "$RECYCLE.BIN/S-1-5-21/$R1.flac",
            "lost+found/#1.wav",
            ".git/annex/a.wav",
            "dev-clean/101/7/.nfs0001.wav",
        ],
    )
    def test_one_does_not_make_subsets_into_speakers(self, libri_speech: Path, stray: str) -> None:
        path = libri_speech / stray
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(RESOURCE_FORK)
        utterances, rejected = catalogue(libri_speech)
        assert speakers_of(utterances) == {"101", "102", "103"}
        assert len(utterances) == 9
        assert [one.path for one in rejected] == [str(path)]

    def test_a_folder_of_hundreds_does_neither(self, libri_speech: Path) -> None:
        for number in range(300):
            (libri_speech / "aaa").mkdir(exist_ok=True)
            (libri_speech / f"aaa/{number:03}.wav").touch()
        for number in range(300):
            (libri_speech / f"dev-clean/101/7/101-7-{number + 10:04}.flac").touch()
        utterances, _ = catalogue(libri_speech)
        assert speakers_of(utterances) == {"101", "102", "103"}

    def test_vctk_is_vctk_with_them(self, tmp_path: Path) -> None:
        for speaker in ("p225", "p226"):
            speak(tmp_path / f"wav48/{speaker}/{speaker}_001.wav")
        (tmp_path / "wav48/p225/._p225_001.wav").write_bytes(RESOURCE_FORK)
        utterances, _ = catalogue(tmp_path)
        assert set(utterances) == {"p225_001", "p226_001"}

    def test_in_folders_of_speakers_they_are_rejected(self, tmp_path: Path) -> None:
        speak(tmp_path / "ada/1.wav")
        speak(tmp_path / "ada/._1.wav")
        others = (
            "__MACOSX/bob",
            ".Trash-0/files",
            "$Recycle.Bin/S-1",
            "#recycle",
            "System Volume Information",
        )
        for folder in others:
            speak(tmp_path / folder / "1.wav")
        utterances, rejected = catalogue(tmp_path)
        assert set(utterances) == {"ada/1"}
        assert len(rejected) == 1 + len(others)
        assert {one.reason.partition(",")[0] for one in rejected} == {"hidden"}

    def test_outputs_of_an_archive_are_no_speaker(self, tmp_path: Path) -> None:
        speak(tmp_path / "ada/1.wav")
        speak(tmp_path / "separated/call_speaker_1.wav")
        (tmp_path / "separated/_ledger").mkdir()
        utterances, (rejected,) = catalogue(tmp_path)
        assert set(utterances) == {"ada/1"}
        assert rejected.path == f"{tmp_path}/separated/"
        assert rejected.reason.startswith("what separate_archive has written")

    @pytest.mark.parametrize(
        ("audio", "beside", "writer"),
        [
            ("test/mix-1/mixture.wav", ("export.json", "COMPLETED"), "export_audio"),
            ("audio/1.flac", ("report.txt", "report.json", "report.html"), "score_separation"),
        ],
    )
    def test_exports_and_reports_are_no_speakers(
        self, tmp_path: Path, audio: str, beside: tuple[str, ...], writer: str
    ) -> None:
        speak(tmp_path / "ada/1.wav")
        speak(tmp_path / "bob" / audio)
        for name in beside:
            (tmp_path / "bob" / name).touch()
        utterances, (rejected,) = catalogue(tmp_path)
        assert set(utterances) == {"ada/1"}
        assert rejected.path == f"{tmp_path}/bob/"
        assert rejected.reason.startswith(f"what {writer} has written")

    def test_a_speaker_with_a_file_of_another_tool_is_one(self, tmp_path: Path) -> None:
        for name in ("ada", "bob"):
            speak(tmp_path / f"{name}/1.wav")
            (tmp_path / name / "export.json").touch()
        assert set(catalogue(tmp_path)[0]) == {"ada/1", "bob/1"}

    def test_what_is_named_is_no_stray(self, tmp_path: Path) -> None:
        speak(tmp_path / ".cache/speech/ada/1.wav")
        assert set(catalogue(tmp_path / ".cache/speech")[0]) == {"ada/1"}
        manifest = tmp_path / "manifest.jsonl"
        manifest.write_text('{"audio_filepath": ".cache/speech/ada/1.wav", "speaker": "ada"}')
        assert len(catalogue(manifest)[0]) == 1

    def test_the_sample_is_small_and_from_all_over(self, tmp_path: Path) -> None:
        for folder in range(60):
            (tmp_path / f"{folder:02}").mkdir()
            for number in range(300):
                (tmp_path / f"{folder:02}/{number}.wav").touch()
        (corpus,) = parse_corpora([str(tmp_path)])
        sampled = sample_paths(corpus)
        assert len(sampled) <= 24 * 200
        assert {"00", "57"} <= {path.partition("/")[0] for path in sampled}

    def test_far_away_only_the_first_pages_are_listed(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        listed = []

        def find_paths(folder: str, pattern: str) -> Iterator[str]:
            del pattern
            for number in itertools.count():
                listed.append(number)
                stray = "._" if number % 3 == 0 else ""
                yield f"{folder}/dev-clean/101/7/{stray}101-7-{number:04}.flac"

        monkeypatch.setattr("beam_jobs.corpora.layout.find_paths", find_paths)
        monkeypatch.setattr("beam_jobs.corpora.common_voice.files.exists", lambda _: False)
        corpus = Corpus("speech", "gs://bucket/speech")
        assert choose_layout(corpus).NAME == "librispeech"
        assert len(listed) == 2000


class TestGuesses:
    @pytest.mark.parametrize(
        "paths",
        [
            ("TRAIN/DR1/FCJF0/SA1.WAV", "TEST/DR1/MDAB0/SA1.WAV"),
            ("DR1/FCJF0/SA1.WAV", "DR2/MDAB0/SA1.WAV"),
            ("wav/id10001/video/00001.wav", "wav/id10002/video/00001.wav"),
            ("dev/aac/id00012/video/1.wav", "test/aac/id00017/video/1.wav"),
            ("en/ada/1.wav", "de/bob/1.wav", "fr-CA/cyd/1.wav"),
            ("english/ada/1.wav", "german/bob/1.wav"),
            ("clips/a.wav",),
            ("My Corpus/ada/1.wav", "My Corpus/bob/1.wav"),
            ("si_tr_s/011/011a0101.wav", "si_dt_05/050/050a0501.wav"),
            ("session1/ada/1.wav", "session2/bob/1.wav"),
            ("mix_clean/1_2.wav", "s1/1_2.wav", "s2/1_2.wav"),
            ("16k/ada/1.wav", "8kHz/ada/1.wav"),
        ],
    )
    def test_folders_that_are_not_speakers_are_asked_about(
        self, tmp_path: Path, paths: tuple[str, ...]
    ) -> None:
        for path in paths:
            speak(tmp_path / path)
        with pytest.raises(UserError, match="do not look like speakers") as raised:
            catalogue(tmp_path)
        assert "--speaker_regex" in str(raised.value)
        assert "--corpus_format" in str(raised.value)
        assert min(paths) in str(raised.value)

    def test_few_folders_of_hundreds_of_files_in_many_folders_are_too(self, tmp_path: Path) -> None:
        for group in ("north", "south"):
            for number in range(210):
                folder = tmp_path / group / f"sp{number // 10}"
                folder.mkdir(parents=True, exist_ok=True)
                (folder / f"{number}.wav").touch()
        with pytest.raises(UserError, match=r"its folders \(north, south\) do not look"):
            catalogue(tmp_path)

    @pytest.mark.parametrize(
        "paths",
        [
            ("id10001/video/00001.wav", "id10002/video/00001.wav"),
            ("ada/1.wav", "bob/2.wav"),
            ("f1/a.wav", "m1/a.wav"),
            ("s1/a.wav", "s2/a.wav"),
            ("ada/1.wav", "bob/1.wav", "test/1.wav"),
            ("ada/day 1/1.wav", "ada/day 2/1.wav", "bob/day 1/1.wav"),
        ],
    )
    def test_folders_of_speakers_are_taken(self, tmp_path: Path, paths: tuple[str, ...]) -> None:
        for path in paths:
            speak(tmp_path / path)
        utterances, _ = catalogue(tmp_path)
        assert speakers_of(utterances) == {path.partition("/")[0] for path in paths}

    def test_what_the_user_says_is_obeyed(self, tmp_path: Path) -> None:
        for path in ("TRAIN/DR1/FCJF0/SA1.WAV", "TEST/DR1/MDAB0/SA1.WAV"):
            speak(tmp_path / path)
        utterances, _ = catalogue(tmp_path, layout="speaker_folders")
        assert speakers_of(utterances) == {"TRAIN", "TEST"}
        utterances, _ = catalogue(tmp_path, speaker_regex="([^/]+)/[^/]*$")
        assert speakers_of(utterances) == {"FCJF0", "MDAB0"}
        assert set(utterances) == {"TRAIN/DR1/FCJF0/SA1", "TEST/DR1/MDAB0/SA1"}

    def test_beside_a_pattern_a_folder_keeps_its_layout(self, libri_speech: Path) -> None:
        speak(libri_speech.parent / "mine/ada.wav")
        folder, pattern = parse_corpora(
            [str(libri_speech), str(libri_speech.parent / "mine/*.wav")],
            speaker_regex="([^/.]+)[.]wav$",
        )
        assert (folder.speaker_regex, pattern.speaker_regex) == ("", "([^/.]+)[.]wav$")

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"layout": "pattern"}, "needs --speaker_regex"),
            ({"speaker_regex": "("}, "--speaker_regex=("),
            ({"speaker_regex": ".*"}, "put the speaker, alone, in parentheses"),
            ({"layout": "nemo"}, "nemo takes a manifest"),
        ],
    )
    def test_a_remedy_that_can_not_work_is_said(
        self, tmp_path: Path, options: dict[str, str], message: str
    ) -> None:
        speak(tmp_path / "ada/1.wav")
        with pytest.raises(UserError) as raised:
            catalogue(tmp_path, **options)
        assert message in str(raised.value)

    def test_a_regex_beside_a_manifest_is_said(self, tmp_path: Path) -> None:
        manifest = write_lines(tmp_path / "a.json", [{"audio_filepath": "a.wav", "speaker": "a"}])
        with pytest.raises(UserError, match="a manifest says itself who speaks"):
            catalogue(manifest, speaker_regex="(.)")


def test_the_catalogue_names_the_speakers_of_each_corpus() -> None:
    rows = [
        dict.fromkeys(SCHEMA.names, None) | {"corpus": corpus, "speaker": f"{corpus}/{speaker}"}
        for corpus, speakers in (("one", "bab"), ("two", "cd"))
        for speaker in speakers
    ]
    made = Catalogue(pa.Table.from_pylist(rows, schema=SCHEMA))
    assert made.speakers_of("one") == ["one/a", "one/b"]
    assert made.speakers_of("two") == ["two/c", "two/d"]
    assert made.speakers_of("three") == []


class TestCompanions:
    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("SPEAKERS.TXT", "; ID | SEX\n101 | F | dev\n102 | M | dev\n"),
            ("SPEAKERS.txt", "101  | F | dev-clean | 8 | A\n102  | M | dev-clean | 8 | B\n"),
            ("speakers.tsv", "READER\tGENDER\tSUBSET\tNAME\n101\tF\tdev\tA\n102\tM\tdev\tB\n"),
            ("Speakers.Txt", "\ufeff101|F|dev-clean\r\n102|M|dev-clean\r\n"),
        ],
    )
    def test_genders_are_found_under_any_spelling(
        self, libri_speech: Path, name: str, text: str
    ) -> None:
        (libri_speech / name).write_text(text)
        for corpus in (libri_speech, libri_speech / "dev-clean"):
            utterances, _ = catalogue(corpus)
            genders = {one.speaker: one.gender for one in utterances.values()}
            assert (genders["101"], genders["102"]) == ("f", "m")

    def test_a_list_in_latin_1_has_genders(self, libri_speech: Path) -> None:
        text = "101 | F | dev-clean | 8 | Fr\u00e9d\n102 | M | dev-clean | 8 | B\n"
        (libri_speech / "SPEAKERS.TXT").write_bytes(text.encode("latin-1"))
        utterances, rejected = catalogue(libri_speech)
        assert {one.gender for one in utterances.values() if one.speaker == "101"} == {"f"}
        assert not rejected

    def test_vctk_has_its_own(self, tmp_path: Path) -> None:
        speak(tmp_path / "VCTK/wav48/p226/p226_001.wav")
        (tmp_path / "VCTK/Speaker-Info.TXT").write_text("ID  AGE  GENDER\n226  22  M  English\n")
        utterances, _ = catalogue(tmp_path / "VCTK/wav48")
        assert utterances["p226_001"].gender == "m"

    def test_every_way_to_name_a_folder_gives_the_same(
        self, libri_speech: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (libri_speech / "SPEAKERS.TXT").write_text("101 | F | dev\n102 | M | dev\n")
        subset = libri_speech / "dev-clean"
        expected, _ = catalogue(subset)
        assert {one.split for one in expected.values()} == {"validation"}
        monkeypatch.chdir(subset)
        for name in (".", "./", "../dev-clean", "../dev-clean/", "101/..", f"{subset}/101/../"):
            assert catalogue(name)[0] == expected
            (corpus,) = parse_corpora([name])
            assert (corpus.name, corpus.root) == ("dev-clean", str(subset))

    def test_a_link_to_a_corpus_is_that_corpus_under_its_own_name(
        self, libri_speech: Path, tmp_path: Path
    ) -> None:
        (libri_speech / "SPEAKERS.TXT").write_text("101 | F | dev\n102 | M | dev\n")
        link = tmp_path / "linked"
        link.symlink_to(libri_speech)
        utterances, rejected = catalogue(link)
        assert {one.corpus for one in utterances.values()} == {"linked"}
        assert {one.gender for one in utterances.values()} == {"f", "m", ""}
        assert not rejected
        (corpus,) = parse_corpora([str(link)])
        assert corpus.real_root == str(libri_speech)

    def test_a_manifest_may_name_its_folder_by_any_way_to_it(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        audio = speak(tmp_path / "data/train/a.wav")
        link = tmp_path / "link"
        link.symlink_to(tmp_path / "data/train")
        names = ("a.wav", str(audio), "data/train/a.wav", "train/a.wav", "../train/a.wav")
        for name in names:
            write_lines(link / "l.json", [{"audio_filepath": name, "speaker": "ada"}])
            for manifest in (link / "l.json", tmp_path / "data/train/l.json"):
                utterances, _ = catalogue(manifest)
                assert [one.path for one in utterances.values()] == ["a.wav"], name
        monkeypatch.chdir(tmp_path)
        write_lines(audio.parent / "l.json", [{"audio_filepath": names[2], "speaker": "ada"}])
        assert [one.path for one in catalogue("data/train/l.json")[0].values()] == ["a.wav"]


def test_a_folder_with_brackets_in_its_name_can_have_a_pattern(tmp_path: Path) -> None:
    speak(tmp_path / "mine [2019]/ada/1.wav")
    utterances, _ = catalogue(tmp_path / "mine [2019]/*/*.wav", speaker_regex="^([^/]+)/")
    assert speakers_of(utterances) == {"ada"}
