import numpy as np
import pytest
import soundfile
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait
from tones import write_tones

from beam_jobs.separate_archive import main
from beam_jobs.separation.page import read_excerpt
from beam_jobs.separation.summary import NUM_EXAMPLES, Counts, parse_counts

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


def test_a_run_that_separates_nothing_shows_no_examples(calls, bundle):
    write_tones(calls / "a.wav", 1.0)
    for _ in range(2):
        assert separate(calls.parent, bundle, "--report") == 0
    assert "<audio" not in (calls.parent / "out/report.html").read_text()


def test_the_examples_do_not_depend_on_how_files_are_spread_over_workers():
    counts = [Counts(separated=1, examples=(f"{number}.wav",)) for number in range(100)]
    forwards = sum(counts, Counts())
    by_halves = sum(counts[:50][::-1], Counts()) + sum(counts[50:], Counts())
    assert forwards == by_halves == parse_counts(forwards.to_json())
    assert len(set(forwards.examples)) == NUM_EXAMPLES
