import dataclasses
import io

import numpy as np
import pytest
import soundfile
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tones import write_tones

from beam_jobs.separate_archive import main
from beam_jobs.separation.page import read_excerpt, render_report
from beam_jobs.separation.summary import (
    NUM_DOUBTFUL,
    NUM_EXAMPLES,
    Counts,
    count_separated,
    describe,
    parse_counts,
    summarise,
)
from pages.spectrogram import draw_spectrograms
from schemas.ledger import InputVersion, LedgerRecord, Output, Parameters, Voices

SOURCES = ("speaker1", "speaker2")


def separate(root, bundle, *options):
    command = [f"--input={root}/calls/**", f"--model={bundle}", f"--output={root}/out"]
    return main([*command, "--direct_num_workers=1", *options])


@pytest.fixture
def calls(tmp_path):
    (tmp_path / "calls").mkdir()
    return tmp_path / "calls"


def write_call(path, *, duration_s, low_s=(0, 0), high_s=(0, 0), sample_rate=8000):
    """A low tone and a high one, each in a stretch of its own."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    low = 0.3 * np.sin(2 * np.pi * 200 * time_s) * (time_s >= low_s[0]) * (time_s < low_s[1])
    high = 0.1 * np.sin(2 * np.pi * 3000 * time_s) * (time_s >= high_s[0]) * (time_s < high_s[1])
    soundfile.write(path, low + high, sample_rate)


def test_the_page_shows_and_plays_what_was_separated(calls, bundle, browser, capsys):
    write_tones(calls / "<b>&.wav", 3.0)
    write_tones(calls / "stereo.wav", 2.0, 16000, num_channels=2)
    (calls / "text.wav").write_text("not audio")
    assert separate(calls.parent, bundle, "--report") == 3
    page = calls.parent / "out/report.html"
    assert f"to see and to hear: {page}" in capsys.readouterr().out

    browser.get(page.as_uri())
    soon = WebDriverWait(browser, 20)
    text = browser.find_element(By.TAG_NAME, "main").text
    assert "not decoded" in text
    titles = {title.text for title in browser.find_elements(By.CSS_SELECTOR, ".example h3")}
    assert titles == {"<b>&.wav", "stereo.wav"}
    widths = "return [...document.images].map(image => image.naturalWidth)"
    soon.until(lambda _: len(browser.execute_script(widths)) == 6)
    soon.until(lambda _: min(browser.execute_script(widths)) > 0)
    durations = "return [...document.querySelectorAll('audio')].map(audio => audio.duration)"
    soon.until(lambda _: None not in browser.execute_script(durations))
    assert sorted(map(round, browser.execute_script(durations))) == [2, 2, 2, 3, 3, 3]
    requests = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert all(name.startswith("data:") for name in browser.execute_script(requests))
    assert browser.get_log("browser") == []


def test_the_half_minute_of_a_long_recording_with_the_most_speech_is_shown(calls, bundle):
    write_call(calls / "long.wav", duration_s=90, low_s=(2, 5), high_s=(50, 70))
    assert separate(calls.parent, bundle) == 0
    excerpt = read_excerpt(str(calls.parent / "out"), "long.wav", SOURCES)
    assert 40 <= excerpt.start_s <= 50
    assert (len(excerpt.recording), excerpt.outputs.shape) == (240_000, (2, 240_000, 1))
    start = round(50 - excerpt.start_s) * 8000
    assert np.abs(excerpt.outputs[0]).max() < 1000
    assert np.abs(excerpt.outputs[1, start : start + 100_000]).max() > 3000
    assert {(turn.speaker, round(turn.onset_s)) for turn in excerpt.turns} == {
        ("speaker1", 2),
        ("speaker2", 50),
    }


def test_the_spectrograms_of_a_recording_share_one_scale():
    def brightness(picture):
        return np.asarray(Image.open(io.BytesIO(picture)).convert("L")).max()

    loud = (1000 * np.sin(np.arange(16000)))[:, None].astype(np.int16)
    soft = loud // 100
    signals = [(signal, [(signal, "#ffffff")]) for signal in (loud, soft)]
    of_loud, of_soft = map(brightness, draw_spectrograms(signals, 8000))
    (of_soft_alone,) = map(brightness, draw_spectrograms(signals[1:], 8000))
    assert of_loud == of_soft_alone
    assert of_soft < 0.7 * of_loud


def test_a_run_that_separates_nothing_keeps_the_page_that_is_there(calls, bundle, capsys):
    write_tones(calls / "a.wav", 1.0)
    page = calls.parent / "out/report.html"
    assert separate(calls.parent, bundle, "--report") == 0
    before = page.read_text()
    assert "<audio" in before
    capsys.readouterr()
    assert separate(calls.parent, bundle, "--report") == 0
    assert page.read_text() == before
    assert f"the page of an earlier run is still there: {page}" in capsys.readouterr().out
    (calls / "text.wav").write_text("not audio")
    assert separate(calls.parent, bundle, "--report") == 3
    assert page.read_text() == before
    (calls / "text.wav").unlink()
    page.unlink()
    assert separate(calls.parent, bundle, "--report") == 0
    assert "<audio" not in page.read_text()


def test_the_page_says_how_much_each_speaker_speaks_and_how_loud_the_output_is(calls, bundle):
    write_call(calls / "a.wav", duration_s=20, low_s=(2, 5), high_s=(8, 19))
    assert separate(calls.parent, bundle, "--report") == 0
    page = (calls.parent / "out/report.html").read_text()
    # Tones of 0.3 and 0.1, heard for 3 and for 11 of 20 seconds.
    assert "speaks 15% of the time, level \N{MINUS SIGN}22 dBFS" in page
    assert "speaks 55% of the time, level \N{MINUS SIGN}26 dBFS" in page
    # The outputs of this model never swap.
    assert "certain" not in page
    assert "Listen to these first" not in page


def record_of(*voices):
    return LedgerRecord(
        path="/calls/a.wav",
        version=InputVersion(1, 1.0),
        model="bands",
        model_fingerprint="0",
        parameters=Parameters(),
        sample_rate=8000,
        num_frames=80_000,
        num_channels=1,
        gain_db=0.0,
        num_windows=3,
        outputs=(Output("a.wav", 1),),
        rttm=None,
        voices=voices,
        model_s=1.0,
        finished="2026-01-01T00:00:00+00:00",
    )


def test_the_least_certain_recordings_come_first_after_those_with_more_voices():
    counts = [
        count_separated(f"{number}.wav", record_of(Voices(2, number == 50, (number + 1) / 100, 0)))
        for number in range(100)
    ]
    total = parse_counts(sum(counts, Counts()).to_json())
    assert [one.path for one in total.doubtful[:3]] == ["50.wav", "0.wav", "1.wav"]
    assert len(total.doubtful) == NUM_DOUBTFUL
    assert (total.one_voice, total.more_voices) == (0, 1)
    assert not count_separated("a.wav", record_of(Voices(2, False, 0.95, 0))).doubtful
    # Where nobody speaks, nothing can be in the wrong output.
    assert not count_separated("a.wav", record_of(Voices(0, False, 0.5, 0))).doubtful


def test_the_summary_counts_recordings_whose_voices_stand_out():
    alone = count_separated("a.wav", record_of(Voices(1, False, 1.0, 0)))
    crowded = count_separated("b.wav", record_of(Voices(2, True, 0.7, 0)))

    def last_line(*counts):
        total = sum(counts, Counts())
        return describe(summarise(total, elapsed_s=1, price_per_hour=0)).splitlines()[-1]

    assert last_line(alone, crowded, crowded) == (
        "1 recording has one voice, 2 recordings have more voices than the model has outputs"
    )
    assert "play" in last_line(count_separated("c.wav", record_of()))
    assert last_line(Counts(skipped=3)).startswith("3 files: 0 separated, 3 skipped")


def test_a_few_seconds_of_audio_are_not_called_hours():
    counts = dataclasses.replace(count_separated("a.wav", record_of()), separated_s=10.8)
    text = describe(summarise(counts, elapsed_s=18, price_per_hour=0))
    assert text.splitlines()[1] == "10.8 s of audio in 18 s, 0.6 times as fast as it plays"


def test_the_page_names_the_recordings_to_listen_to_first():
    total = count_separated("b.wav", record_of(Voices(2, True, 0.713, 0)))
    page = render_report(
        summarise(total, elapsed_s=1, price_per_hour=0),
        [],
        [],
        doubtful=total.doubtful,
        model="bands",
        source_names=SOURCES,
    )
    assert "1 recording has more voices than the model has outputs." in page
    first = page[page.index("Listen to these first") :]
    assert "b.wav" in first
    assert "more than outputs" in first
    assert "71.3%" in first


def test_the_page_says_how_many_speak_and_how_certain_the_order_is(calls, swapping_bundle):
    write_call(calls / "a.wav", duration_s=20, low_s=(2, 5), high_s=(8, 19))
    assert separate(calls.parent, swapping_bundle) == 0
    excerpt = read_excerpt(str(calls.parent / "out"), "a.wav", SOURCES)
    assert excerpt.num_voices is not None
    assert excerpt.confidence is not None
    two = dataclasses.replace(excerpt, num_voices=2, confidence=0.98)
    assert two.detail == "20.0 s, 2 speakers, 98.0% certain that each voice stays in its output"
    assert dataclasses.replace(excerpt, num_voices=1).detail == "20.0 s, 1 speaker"
    nobody = dataclasses.replace(excerpt, num_voices=0, confidence=None)
    assert nobody.detail == "20.0 s, 0 speakers"
    crowded = dataclasses.replace(two, more_voices=True)
    assert (
        crowded.detail
        == "20.0 s, more voices than outputs, 98.0% certain that each voice stays in its output"
    )


def test_the_examples_do_not_depend_on_how_files_are_spread_over_workers():
    counts = [Counts(separated=1, examples=(f"{number}.wav",)) for number in range(100)]
    forwards = sum(counts, Counts())
    by_halves = sum(counts[:50][::-1], Counts()) + sum(counts[50:], Counts())
    assert forwards == by_halves == parse_counts(forwards.to_json())
    assert len(set(forwards.examples)) == NUM_EXAMPLES
