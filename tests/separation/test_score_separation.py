import dataclasses
import json
import posixpath
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from read_only import full_disk
from small_datasets import build, write_corpus, write_recipe

from beam_jobs import score_separation, separate_archive
from beam_jobs.separation import archive_scores
from beam_jobs.separation.archive_scores import score_against_mixture
from beam_jobs.separation.ledger import read_record
from beam_jobs.separation.references import SeparatedRecording
from beam_jobs.separation.turns import parse_rttm
from beam_jobs.storage import text
from schemas.mixture import decode_mixture, mix_down
from schemas.tfrecord import read_records
from scoring import diarisation
from scoring.evaluation import IDEAL_RATIO_MASK, UNPROCESSED
from scoring.metrics import Block, measure

MODEL = "bands"


@pytest.fixture(scope="session")
def separated(tmp_path_factory, bundle):
    """Two separated recordings of a low and a high tone, with the tones beside them."""
    root = tmp_path_factory.mktemp("separated")
    write_recording(root, "monday/a", low_hz=200, duration_s=2.0)
    write_recording(root, "tuesday/b", low_hz=250, duration_s=3.0)
    separate(root, bundle, "--rttm")
    return root


@pytest.fixture
def archive(separated, tmp_path):
    """A copy of the same for a test to change."""
    return Path(shutil.copytree(separated, tmp_path, dirs_exist_ok=True))


def write_recording(root, name, *, low_hz, duration_s, sample_rate=8000):
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    low = 0.3 * np.sin(2 * np.pi * low_hz * time_s) * (time_s < duration_s - 0.5)
    high = 0.1 * np.sin(2 * np.pi * 3000 * time_s) * (time_s > 0.5)
    # Outputs may be in any order: speaker 1 of the references is the second output of the model.
    for path, sound in (
        (f"calls/{name}.wav", low + high),
        (f"references/{name}_speaker1.wav", high),
        (f"references/{name}_speaker2.wav", low),
    ):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / path, sound, sample_rate)


def separate(root, bundle, *options):
    command = [f"--input={root}/calls/**.wav", f"--model={bundle}", f"--output={root}/out"]
    assert separate_archive.main([*command, "--direct_num_workers=1", *options]) in (0, 3)


def score(root, *options):
    command = [f"--separated={root}/out", f"--output={root}/report", "--direct_num_workers=1"]
    return score_separation.main([*command, *options])


def report(root):
    return json.loads((root / "report/report.json").read_text())


def row(root, model):
    (found,) = (one for one in report(root)["models"] if one["model"].startswith(model))
    return found


def rejected(root):
    lines = (root / "report/rejected.jsonl").read_text().splitlines()
    return {document["path"]: document["reason"] for document in map(json.loads, lines)}


def test_outputs_are_compared_with_the_files_of_their_names(archive, capsys):
    assert score(archive, f"--references={archive}/references") == 0
    assert row(archive, MODEL)["mixtures"] == 2
    assert row(archive, MODEL)["si_sdr_db"]["mean"] > 20
    assert row(archive, UNPROCESSED)["si_sdri_db"]["mean"] == 0
    assert row(archive, IDEAL_RATIO_MASK)["si_sdri_db"]["mean"] > 20
    assert rejected(archive) == {}
    captured = capsys.readouterr()
    assert (archive / "report/report.txt").read_text() in captured.out
    assert captured.err.splitlines()[-1].startswith("100% 2/2 recordings, ")
    page = (archive / "report/report.html").read_text()
    files = {part.split('"')[0] for part in page.split('src="')[1:]}
    players = {file for file in files if file.endswith(".flac")}
    assert len(players) == 2 * (1 + 3 * 2)
    assert len(files - players) == 2 * 3
    for player in players:
        assert soundfile.info(archive / "report" / player).samplerate == 8000


def test_references_may_be_elsewhere_and_have_another_rate(archive):
    (archive / "clean").mkdir()
    for path in (archive / "references").rglob("*.wav"):
        stem, number = path.stem.split("_speaker")
        samples = np.repeat(soundfile.read(path)[0], 2)
        soundfile.write(archive / f"clean/{stem}.{number}.flac", samples, 16000)
    template = archive / "clean/{stem}.{number}.flac"
    assert score(archive, f"--references={template}") == 0
    assert {result["mixture"] for result in report(archive)["results"]} == {"monday/a", "tuesday/b"}


def test_a_long_recording_is_measured_in_blocks(archive, monkeypatch):
    assert score(archive, f"--references={archive}/references") == 0
    whole = row(archive, MODEL)
    monkeypatch.setattr(archive_scores, "BLOCK_S", 1.3)
    assert score(archive, f"--references={archive}/references") == 0
    in_blocks = row(archive, MODEL)
    for name in ("si_sdr_db", "si_sdri_db"):
        assert in_blocks[name]["mean"] == pytest.approx(whole[name]["mean"], abs=1e-3)
    assert in_blocks["sdr_db"]["mean"] != whole["sdr_db"]["mean"]


def test_a_missing_file_is_named_and_the_rest_is_scored(archive, bundle):
    for number, name in enumerate(("gone", "unknown", "longer", "silent", "nobody"), start=1):
        write_recording(archive, name, low_hz=200 + 20 * number, duration_s=1.5)
    (archive / "calls/text.wav").write_text("not audio")
    separate(archive, bundle)
    output, unknown = archive / "out/gone_speaker2.wav", archive / "references/unknown_speaker1.wav"
    output.unlink()
    unknown.unlink()
    longer, silent = (archive / f"references/{name}_speaker2.wav" for name in ("longer", "silent"))
    soundfile.write(longer, np.ones(8000), 8000)
    soundfile.write(silent, np.zeros(12000), 8000)
    for source in (1, 2):
        soundfile.write(archive / f"references/nobody_speaker{source}.wav", np.zeros(12000), 8000)
    assert score(archive, f"--references={archive}/references") == 3
    assert row(archive, MODEL)["mixtures"] == 3
    assert row(archive, MODEL)["si_sdri_db"]["mixtures"] == 2
    assert row(archive, UNPROCESSED)["residual_db"] == {"mean": 0, "median": 0, "mixtures": 1}
    reasons = rejected(archive)
    calls = archive / "calls"
    assert str(output) in reasons.pop(f"{calls}/gone.wav")
    assert str(unknown) in reasons.pop(f"{calls}/unknown.wav")
    assert f"{longer}: 1.00 s long, not 1.50 s" == reasons.pop(f"{calls}/longer.wav")
    assert "all references are silent" in reasons.pop(f"{calls}/nobody.wav")
    assert "not separated: not decoded" in reasons.pop(f"{calls}/text.wav")
    assert not reasons


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    root = tmp_path_factory.mktemp("dataset")
    corpus = write_corpus(root / "corpus")
    recipe = write_recipe(root / "recipe.json")
    return build(f"--recipe={recipe}", "--num_shards=2", corpus=corpus, output=root / "mixtures")


def mixtures(dataset, split):
    for path in sorted(dataset.folder.glob(f"*-{split}.tfrecord-*")):
        with path.open("rb") as file:
            yield from (decode_mixture(record, str(path)) for record in read_records(file))


@pytest.fixture(scope="session")
def separated_mixtures(tmp_path_factory, dataset, bundle):
    """The separated test mixtures of the dataset."""
    root = tmp_path_factory.mktemp("separated_mixtures")
    (root / "calls").mkdir()
    for mixture in mixtures(dataset, "test"):
        path = root / f"calls/{mixture.recipe.id}.wav"
        soundfile.write(path, mixture.mixture, mixture.recipe.sample_rate, "PCM_16")
    separate(root, bundle, "--rttm")
    return root


@pytest.fixture
def exported(separated_mixtures, tmp_path):
    """A copy of the same for a test to change."""
    return Path(shutil.copytree(separated_mixtures, tmp_path, dirs_exist_ok=True))


def test_a_recording_is_compared_with_the_mixture_of_its_name(exported, dataset):
    assert score(exported, f"--dataset={dataset.folder}") == 0
    expected = []
    for mixture in mixtures(dataset, "test"):
        outputs = [
            soundfile.read(exported / f"out/{mixture.recipe.id}_speaker{number}.wav")[0]
            for number in (1, 2)
        ]
        block = Block(np.stack(outputs), mix_down(mixture.sources), mix_down(mixture.mixture))
        expected.append(measure(block.alone, mixture.recipe.sample_rate)[0]["si_sdr_db"])
    assert len(expected) > 1
    found = row(exported, MODEL)
    assert found["si_sdr_db"]["mean"] == pytest.approx(np.mean(expected), abs=1e-3)
    groups = {"number of speakers", "gender", "overlap", "level difference"}
    assert set(found["groups"]) == groups


def test_a_mixture_may_have_a_folder_of_its_id(tmp_path, dataset, bundle):
    mixture = next(mixtures(dataset, "test"))
    path = tmp_path / f"calls/test/{mixture.recipe.id}/mixture.wav"
    path.parent.mkdir(parents=True)
    soundfile.write(path, mixture.mixture, mixture.recipe.sample_rate)
    separate(tmp_path, bundle)
    assert score(tmp_path, f"--dataset={dataset.folder}") == 0
    assert {result["mixture"] for result in report(tmp_path)["results"]} == {
        f"test/{mixture.recipe.id}/mixture"
    }


def test_what_became_of_a_mixture_improves_on_itself_and_not_on_the_mixture(exported, dataset):
    mixture = next(mixtures(dataset, "test"))
    mixture = dataclasses.replace(mixture, degraded=np.clip(mixture.mixture, -500, 500))
    out, rate = str(exported / "out"), mixture.recipe.sample_rate
    record = read_record(out, f"{mixture.recipe.id}.wav")
    folder = f"test/{mixture.recipe.id}"
    for name, heard in (("mixture", mixture.mixture), ("degraded", mixture.degraded)):
        separated = SeparatedRecording(out, f"{folder}/{name}.wav", record, player="")
        assert separated.mixture_id == mixture.recipe.id
        score = score_against_mixture(separated, mixture, rttm=False, output="")
        (unprocessed,) = (one for one in score.results if one.model == UNPROCESSED)
        block = Block(
            mix_down(np.stack([heard, heard])), mix_down(mixture.sources), mix_down(heard)
        )
        expected, _ = measure(block.alone, rate)
        assert unprocessed.measures["si_sdr_db"] == pytest.approx(expected["si_sdr_db"], abs=1e-3)


@pytest.mark.parametrize(
    ("path", "is_degraded"),
    [
        ("test/{}/mixture.wav", False),
        ("test/{}/degraded.wav", True),
        ("test/{}/mix.wav", False),
        ("Libri2Mix/wav8k/min/test/mix_clean/{}.wav", False),
        ("Libri2Mix/wav8k/min/test/mix_degraded/{}.wav", True),
        ("{}.mixture.flac", False),
        ("{}.degraded.flac", True),
        ("test/{}.wav", False),
        ("test/{}-degraded.wav", True),
    ],
)
def test_mixtures_and_degraded_ones_are_known_by_the_names_of_all_exports(
    exported, path, is_degraded
):
    out = str(exported / "out")
    record = read_record(out, next(exported.glob("calls/*.wav")).name)
    path = path.format("test-000000042")
    record = dataclasses.replace(record, path=f"/exported/{path}")
    # The same whether all of an export was separated, or a folder in it.
    for relative_path in (path, posixpath.basename(path)):
        separated = SeparatedRecording(out, relative_path, record, player="")
        if "/" in relative_path or "000" in relative_path:
            assert separated.mixture_id == "test-000000042"
        assert separated.is_degraded == is_degraded


def test_a_recording_without_a_mixture_is_named(exported, dataset, bundle):
    write_recording(exported, "stranger", low_hz=200, duration_s=1.0)
    separate(exported, bundle, "--rttm")
    assert score(exported, f"--dataset={dataset.folder}") == 3
    (reason,) = rejected(exported).values()
    assert reason == f"{dataset.folder} has no mixture 'stranger'"


def test_who_speaks_when_is_scored_by_where_the_sources_are_heard(
    exported, dataset, monkeypatch, capsys
):
    # The utterances are too short for the real collar.
    monkeypatch.setattr(diarisation, "COLLAR_S", 0.02)
    for mixture in mixtures(dataset, "test"):
        sources = mixture.recipe.sources
        lines = [
            f"SPEAKER x 1 {source.offset_s:.3f} {source.duration_s:.3f} <NA> <NA> {number} <NA>\n"
            for number, source in enumerate(sources)
        ]
        (exported / f"out/{mixture.recipe.id}.wav.rttm").write_text("".join(lines))
    assert score(exported, f"--dataset={dataset.folder}", "--rttm") == 0
    assert "against the speech in each source: diarisation error rate 0.0%" in (
        capsys.readouterr().out
    )
    assert report(exported)["diarisation"]["reference"] == "the speech in each source"
    everyone = report(exported)["diarisation"]["all"]
    assert everyone["speech_s"] > 0
    assert everyone["missed_s"] == everyone["false_alarm_s"] == everyone["confusion_s"] == 0


def test_pauses_within_an_utterance_are_not_speech(exported, dataset, tmp_path):
    mixture = next(mixtures(dataset, "test"))
    rate, hush = mixture.recipe.sample_rate, np.zeros_like(mixture.sources[0])[:4000]
    # An utterance of four seconds, with a pause of one in the middle; the other speaker is soft.
    voices = np.tile(mixture.sources, (1, 1 + 20_000 // mixture.sources.shape[1], 1))[:, :20_000]
    first = np.concatenate([voices[0], hush, hush, voices[0]])
    second = np.concatenate([voices[1] // 30, np.zeros_like(first)])[: len(first)]
    sources = np.stack([first, second])
    mixture = dataclasses.replace(mixture, sources=sources, mixture=first + second)
    out, name = str(exported / "out"), f"{mixture.recipe.id}.wav"
    separated = SeparatedRecording(out, name, read_record(out, name), player="")
    for path, source in zip(separated.output_paths, sources, strict=True):
        soundfile.write(path, source, rate, "PCM_16")
    line = "SPEAKER x 1 {} {} <NA> <NA> {} <NA> <NA>\n".format
    rttm = line(0, 2.5, "a") + line(3.5, 2.5, "a") + line(0, 2.5, "b")
    (exported / "out" / f"{name}.rttm").write_text(rttm)
    mixture = dataclasses.replace(
        mixture, recipe=dataclasses.replace(mixture.recipe, duration_s=len(first) / rate)
    )
    score = score_against_mixture(separated, mixture, rttm=True, output=str(tmp_path))
    assert score.diarisation.rate == 0
    assert score.diarisation.speech_s > 5


def test_who_speaks_when_is_scored_by_rttm_alone(archive, capsys):
    for path in (archive / "out").rglob("*.rttm"):
        reference = archive / "truth" / path.relative_to(archive / "out")
        reference.parent.mkdir(parents=True)
        duration_s = soundfile.info(
            archive / "calls" / path.relative_to(archive / "out").with_suffix("")
        ).duration
        reference.write_text(
            f"SPEAKER x 1 0.5 {duration_s - 0.5} <NA> <NA> anna <NA> <NA>\n"
            f"SPEAKER x 1 0 {duration_s - 0.5} <NA> <NA> bert <NA> <NA>\n"
        )
    assert score(archive, f"--reference_rttm={archive}/truth") == 0
    printed = capsys.readouterr().out
    assert "against the reference's RTTM files: diarisation error rate 0.0%" in printed
    assert report(archive)["models"] == []
    template = archive / "truth/{folder}/{stem}.rttm"
    assert score(archive, f"--reference_rttm={template}") == 1
    assert "truth/monday/a.rttm: no such file" in capsys.readouterr().err


def write_turns(path, turns_by_recording, encoding="utf-8"):
    lines = [
        f"SPEAKER {recording} {turn.channel} {turn.onset_s} {turn.duration_s} <NA> <NA>"
        f" {turn.speaker} <NA> <NA>\n"
        for recording, turns in turns_by_recording.items()
        for turn in turns
    ]
    path.write_text("".join(lines), encoding)


def own_turns(archive):
    return {
        name: parse_rttm((archive / f"out/{name}.wav.rttm").read_text())
        for name in ("monday/a", "tuesday/b")
    }


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_turns_may_be_in_any_encoding_that_lists_have(archive, encoding, capsys):
    for name, turns in own_turns(archive).items():
        path = archive / f"truth/{name}.wav.rttm"
        path.parent.mkdir(parents=True)
        write_turns(path, {name: turns}, encoding)
    assert score(archive, f"--reference_rttm={archive}/truth") == 0
    assert "diarisation error rate 0.0%" in capsys.readouterr().out


def test_one_file_may_have_the_turns_of_all_recordings(archive, capsys):
    turns = own_turns(archive)
    write_turns(archive / "all.rttm", {"a": turns["monday/a"], "tuesday/b": turns["tuesday/b"]})
    option = f"--reference_rttm={archive}/all.rttm"
    assert score(archive, option) == 0
    assert "diarisation error rate 0.0%" in capsys.readouterr().out
    write_turns(archive / "all.rttm", {"a": turns["monday/a"], "c": turns["tuesday/b"]})
    assert score(archive, option) == 3
    (reason,) = rejected(archive).values()
    assert "has turns of 2 recordings, none of which is called b" in reason


def test_one_file_of_all_turns_is_read_once(archive, monkeypatch):
    read = []

    def read_lines(path):
        read.append(path)
        return text.read_lines(path)

    monkeypatch.setattr(archive_scores, "read_lines", read_lines)
    write_turns(archive / "all.rttm", own_turns(archive))
    assert score(archive, f"--reference_rttm={archive}/all.rttm") == 0
    assert read.count(str(archive / "all.rttm")) == 1
    assert len(read) == 3


def test_a_reference_without_turns_is_named(archive):
    for name, turns in own_turns(archive).items():
        path = archive / f"truth/{name}.wav.rttm"
        path.parent.mkdir(parents=True)
        write_turns(path, {name: turns if name == "monday/a" else []})
    assert score(archive, f"--reference_rttm={archive}/truth") == 3
    (reason,) = rejected(archive).values()
    assert reason == f"{path}: no SPEAKER lines in it: is it RTTM, and whole?"
    assert report(archive)["diarisation"]["all"]["false_alarm_s"] == 0


def test_turns_outside_of_the_recording_are_those_of_another(archive):
    turns = own_turns(archive)
    late = dataclasses.replace(turns["monday/a"][0], onset_s=500.0)
    write_turns(archive / "all.rttm", {"a": [late], "tuesday/b": turns["tuesday/b"]})
    assert score(archive, f"--reference_rttm={archive}/all.rttm") == 3
    (reason,) = rejected(archive).values()
    assert "all.rttm: a turn from 500 to " in reason
    assert "of a recording of 2 s: is it another recording's?" in reason


def test_turns_can_not_be_scored_without_an_rttm_file(archive, bundle, capsys):
    separate(archive, bundle)
    assert score(archive, f"--reference_rttm={archive}/truth") == 1
    assert "separated without --rttm" in capsys.readouterr().err


def test_a_report_that_cannot_be_written_is_one_line_before_any_work(archive, capsys):
    with full_disk():
        assert score(archive, f"--references={archive}") == 1
    assert capsys.readouterr().err == (
        f"score_separation: {archive}/report: can't be written: File too large: name another"
        " --output, or make room there\n"
    )


def test_a_report_does_not_go_over_an_archive_or_other_things(archive, capsys):
    before = {path: path.read_bytes() for path in (archive / "out").rglob("*") if path.is_file()}
    assert score(archive, f"--references={archive}/references", f"--output={archive}/out") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        f"score_separation: {archive}/out holds something else, such as _ledger: name another"
        " --output, a new or an empty folder"
    )
    assert all(path.read_bytes() == content for path, content in before.items())
    for _ in range(2):
        assert score(archive, f"--references={archive}/references") == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "say --dataset, or --references"),
        (["--dataset=/nowhere", "--references=/nowhere"], "say --dataset, or --references"),
        (["--dataset=/nowhere"], "/nowhere: no COMPLETED file: not a dataset"),
        (["--references=/refs/{stem}.wav"], "lacks {number}"),
        (["--references=/refs/{speaker}.wav"], "not a name template"),
        (["--references=/refs", "--separated=/nowhere"], "/nowhere: no ledger in it"),
    ],
)
def test_a_mistake_is_reported_in_one_line_before_anything_runs(archive, capsys, options, message):
    assert score(archive, *options) == 1
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (archive / "report").exists()
