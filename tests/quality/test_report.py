import base64
import io
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

from beam_jobs.audio.activity import active_stretches
from beam_jobs.quality.examples import Example
from beam_jobs.quality.histogram import RunningHistogram
from beam_jobs.quality.page import render_report
from pages.chart import draw_histogram
from schemas.quality import parse_quality
from schemas.validation import InvalidDocumentError

NASTY = "<script>alert('1')</script> \"q\" & '\nline two\n</style> żółw 你"


def voice(pitch_hz, pauses_s, duration_s, sample_rate):
    """Harmonics of a pitch, silent in the pauses, as int16 `[samples]`."""
    time_s = np.arange(round(duration_s * sample_rate)) / sample_rate
    wave = sum(np.sin(2 * np.pi * pitch_hz * k * time_s) / k for k in range(1, 8))
    for start_s, stop_s in pauses_s:
        wave[(time_s >= start_s) & (time_s < stop_s)] = 0
    return (4000 * wave).astype(np.int16)


def example(
    *, sample_rate=16000, channels=1, noise=False, speakers=("anna", "bert"), duration_s=3.0
):
    offset_s = 1.0
    sources = np.zeros((2, round(duration_s * sample_rate), channels), np.int16)
    first = voice(110, [(0.8, 1.2)], 2.0, sample_rate)
    second = voice(230, [], duration_s - offset_s, sample_rate)
    sources[0, : len(first)] = first[:, None]
    sources[1, -len(second) :] = second[:, None]
    hiss = np.random.default_rng(0).normal(0, 50, sources[0].shape).astype(np.int16)
    return Example(
        id="train-0001",
        split="train",
        sample_rate=sample_rate,
        mixture=sources.sum(axis=0, dtype=np.int16) + (hiss if noise else np.int16(0)),
        sources=sources,
        noise=hiss if noise else None,
        speakers=speakers,
        placed_s=(((0.0, 2.0),), ((offset_s, duration_s),)),
        gains_db=(0.0, -3.0),
    )


def histogram(title, unit, edges, counts):
    total = sum(counts)
    summary = {"mean": 0.5, "min": edges[0], "max": edges[-1]} if total else {}
    return {
        "title": title,
        "unit": unit,
        "edges": edges,
        "counts": counts,
        "num": total,
        **{key: summary.get(key) for key in ("mean", "min", "max")},
    }


QUALITY = {
    "version": 1,
    "name": "evenings",
    "description": "Two speakers at a time.",
    "command": "python -m beam_jobs.build_mixtures --corpus speech --output evenings",
    "sample_rate": 16000,
    "num_speakers": 2,
    "num_mixtures": 1334,
    "num_shards": 9,
    "mixture_hours": 5.75,
    "splits": {
        "train": {
            "num_mixtures": 1234,
            "num_shards": 8,
            "num_bytes": 123_400_000,
            "mixture_hours": 5.25,
            "num_speakers": 40,
            "num_utterances": 800,
        },
        "test": {
            "num_mixtures": 100,
            "num_shards": 1,
            "num_bytes": 9_000_000,
            "mixture_hours": 0.5,
            "num_speakers": 5,
            "num_utterances": 60,
        },
    },
    "use": {
        split: {
            "utterances": {"min": 3, "max": 4, "histogram": {"3": 500, "4": 300}},
            "speakers": {
                "min": 10,
                "max": 400,
                "histogram": {str(num): 1 for num in range(10, 401, 10)},
            },
            "in_shards": {"min": 1, "max": 2, "histogram": {"1": 100, "2": 1300}},
        }
        for split in ("train", "test")
    },
    "histograms": {
        "overlap_ratio": histogram("Overlap", "of the mixture", [0.0, 0.5, 1.0], [400, 934]),
        "level_difference_db": histogram("Level difference", "dB", [-5.0, 0.0, 5.0], [600, 734]),
    },
    "checks": {
        "max_sum_error": 0,
        "speakers_in_two_splits": 0,
        "clipped_samples": 0,
        "missing_mixtures": 0,
        "silent_sources": 0,
    },
    "rejected": {"total": 3, "by_reason": {"silence": 1, "empty file": 2}},
    "asked": [{"title": "Offset", "asked": "1 to 5 s", "achieved": "1.0 to 5.0 s"}],
}


def quality(**changes):
    return parse_quality(json.dumps(QUALITY | changes), "quality.json")


class Page(HTMLParser):
    """The tags with their attributes, and the text that a reader sees."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self._open = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag):
        if tag in self._open:
            while self._open.pop() != tag:
                pass

    def handle_data(self, data):
        if not {"style", "script"} & set(self._open):
            self.text += " ".join(data.split()) + "\n"

    def attributes(self, name):
        return [attributes[name] for _, attributes in self.tags if name in attributes]


def test_the_first_screen_has_the_totals_of_all_splits():
    text = Page(render_report(quality(), [])).text
    for number in ("1,334", "5.8 h", "45", "860", "132.4 MB"):
        assert f"\n{number}\n" in text


def test_a_check_that_fails_looks_different_from_one_that_passes():
    checks = QUALITY["checks"] | {"max_sum_error": 3, "missing_mixtures": 12}
    html = render_report(quality(checks=checks), [])
    badges = [
        (attributes["class"].split()[1]) for tag, attributes in Page(html).tags if tag == "li"
    ]
    assert badges == ["bad", "good", "good", "bad", "good"]
    text = Page(html).text
    assert "mixture ≠ sum of sources: error up to 3 steps" in text
    assert "mixtures missing: 12" in text
    assert "clipped samples: 0" in text


def test_the_corpora_and_some_of_their_speakers_show_whether_the_layout_is_right():
    corpora = [
        {
            "corpus": "talks",
            "layout": "speaker_folders",
            "num_speakers": 1250,
            "speakers": ["<ann>", "ben", "cy"],
        },
        {"corpus": "read", "layout": "", "num_speakers": 1, "speakers": ["read/eve"]},
    ]
    text = Page(render_report(quality(corpora=corpora), [])).text
    for row in (["talks", "speaker_folders", "1,250", "<ann>, ben, cy"], ["read", "1", "read/eve"]):
        assert all(f"\n{cell}\n" in text for cell in row)
    assert "Layout" not in Page(render_report(quality(), [])).text


def test_every_histogram_and_every_split_has_its_chart():
    html = render_report(quality(), [])
    for chart in (
        "histogram-overlap_ratio",
        "histogram-level_difference_db",
        "use-train-utterances",
        "use-train-in_shards",
        "use-train-speakers",
        "use-test-utterances",
        "use-test-speakers",
    ):
        figure = html[html.index(f'id="{chart}"') :]
        figure = figure[: figure.index("</figure>")]
        assert figure.count("<svg") == 1
        assert figure.count("<rect") > 1


def test_a_bar_stands_on_its_values_and_is_as_high_as_its_count():
    chart = ElementTree.fromstring(draw_histogram([-1, 0, 1, 3], [2_000_000, 0, 500_000]))
    tall, none, short = (
        {name: float(value) for name, value in bar.items()} for bar in chart.iter("rect")
    )
    labels = {label.text: label.attrib for label in chart.iter("text")}
    for value, bar in (("\N{MINUS SIGN}1", tall), ("0", none), ("1", short)):
        assert float(labels[value]["x"]) == bar["x"]
    assert short["height"] == pytest.approx(tall["height"] / 4, abs=0.1)
    assert none["height"] == 0
    assert short["width"] == pytest.approx(2 * tall["width"], abs=0.1)
    assert tall["y"] + tall["height"] == pytest.approx(short["y"] + short["height"], abs=0.1)
    assert {"500k", "1M", "2M"} <= set(labels)


def test_a_quantity_without_values_has_a_note_instead_of_a_chart():
    empty = {"snr_db": histogram("Signal to noise", "dB", [0.0, 10.0], [0])}
    html = render_report(quality(histograms=empty), [])
    assert "Nothing to measure" in html
    assert "Signal to noise" in html


def test_a_median_is_among_the_values():
    running = RunningHistogram()
    assert running.median(0.02) == 0
    running.add(0.2, 0.02)
    assert running.median(0.02) == 0.2
    running.add(0.3, 0.02)
    running.add(0.401, 0.02)
    assert running.median(0.02) == pytest.approx(0.31)


def test_names_from_users_stay_text():
    def page(name):
        named = quality(
            name=name,
            description=name,
            command=name,
            rejected={"total": 1, "by_reason": {name: 1}},
            asked=[{"title": name, "asked": name, "achieved": name}],
            histograms={name: histogram(name, name, [0.0, 1.0], [1])},
        )
        return Page(render_report(named, [example(speakers=(name, "bert"))]))

    plain, nasty = page("plain"), page(NASTY)
    assert [(tag, list(attributes)) for tag, attributes in nasty.tags] == [
        (tag, list(attributes)) for tag, attributes in plain.tags
    ]
    shown = " ".join(NASTY.split())
    assert nasty.text.count(shown) == plain.text.count("plain") >= 10
    assert NASTY in nasty.attributes("title")


def test_a_name_that_is_no_utf8_can_be_written():
    html = render_report(quality(), [example(speakers=("caf\udce9", "bert"))])
    assert r"caf\udce9" in html.encode("utf-8").decode("utf-8")


def test_the_page_needs_nothing_from_outside():
    html = render_report(quality(), [example(noise=True)])
    without_namespaces = re.sub(r'xmlns(:xlink)?="http://www\.w3\.org/[^"]*"', "", html)
    assert not re.search(r"https?://|url\((?!#)|@import", without_namespaces)
    page = Page(html)
    for address in page.attributes("src") + page.attributes("href"):
        assert address.startswith("data:")
    assert not [tag for tag, _ in page.tags if tag in ("iframe", "object", "embed")]


def test_the_same_dataset_gives_the_same_page():
    assert render_report(quality(), [example()]) == render_report(quality(), [example()])


def test_a_document_that_breaks_the_schema_is_named():
    with pytest.raises(InvalidDocumentError, match=r"quality\.json: .*version"):
        quality(version=2)


def test_what_is_read_is_written_again_byte_by_byte():
    text = json.dumps(QUALITY, indent=1) + "\n"
    assert parse_quality(text, "quality.json").to_json() == text


@pytest.mark.parametrize(
    ("sample_rate", "channels", "played_rate", "played_channels"),
    [(8000, 1, 8000, 1), (16000, 2, 16000, 2), (10000, 1, 11025, 1), (96000, 4, 48000, 1)],
)
def test_players_hold_the_sound_at_a_rate_that_mp3_has(
    sample_rate, channels, played_rate, played_channels
):
    shown = example(sample_rate=sample_rate, channels=channels)
    page = Page(render_report(quality(), [shown]))
    players = [attributes["src"] for tag, attributes in page.tags if tag == "audio"]
    signals = [shown.mixture, *shown.sources]
    assert len(players) == len(signals)
    for address, signal in zip(players, signals, strict=True):
        sound, rate = soundfile.read(
            io.BytesIO(base64.b64decode(address.removeprefix("data:audio/mpeg;base64,"))),
            always_2d=True,
        )
        assert (rate, sound.shape[1]) == (played_rate, played_channels)
        assert len(sound) / rate == pytest.approx(3.0, abs=0.05)
        assert np.std(sound) == pytest.approx(np.std(signal / 32768), rel=0.1)


def test_the_time_line_shows_where_a_speaker_is_heard():
    heard = active_stretches(example().sources[0], 16000)
    assert np.array(heard) == pytest.approx(np.array([(0.0, 0.8), (1.2, 2.0)]), abs=0.021)


def test_a_silent_source_is_heard_nowhere():
    assert active_stretches(np.zeros((16000, 1), np.int16), 16000) == []
    assert active_stretches(np.zeros((0, 1), np.int16), 16000) == []


@given(
    st.lists(st.integers(-32768, 32767), min_size=1, max_size=3000),
    st.integers(100, 2000),
)
def test_stretches_are_apart_and_inside_the_source(samples, sample_rate):
    source = np.array(samples, np.int16)[:, None]
    stretches = active_stretches(source, sample_rate)
    assert source.any() or not stretches
    flat = [time_s for stretch in stretches for time_s in stretch]
    assert flat == sorted(set(flat))
    assert all(0 <= time_s <= len(source) / sample_rate for time_s in flat)


@pytest.mark.parametrize("level", [0, 12000])
def test_an_example_of_one_sample_is_shown(level):
    sample = np.full((1, 1), level, np.int16)
    shown = Example(
        "x", "test", 16000, sample, sample[None], None, ("anna",), (((0.0, 1 / 16000),),), (0.0,)
    )
    assert "Spectrogram of the mixture" in render_report(quality(), [shown])


def test_the_page_works_in_a_browser(browser, tmp_path):
    path = tmp_path / "report.html"
    path.write_text(
        render_report(quality(), [example(duration_s=15.0), example(noise=True)]), "utf-8"
    )
    browser.get(path.as_uri())
    soon = WebDriverWait(browser, 20)

    assert browser.title == "evenings: quality report"
    badges = browser.find_elements(By.CSS_SELECTOR, ".badge")
    assert len(badges) == 5
    assert all(badge.is_displayed() and badge.location["y"] < 900 for badge in badges)
    widths = "return [...document.images].map(image => image.naturalWidth)"
    soon.until(lambda _: len(browser.execute_script(widths)) == 2)
    soon.until(lambda _: min(browser.execute_script(widths)) > 0)

    first, second = browser.find_elements(By.TAG_NAME, "audio")[:2]
    soon.until(lambda _: first.get_property("readyState") >= 1)
    assert first.get_property("duration") == pytest.approx(15.0, abs=0.2)

    playhead = browser.find_element(By.CSS_SELECTOR, ".playhead")
    start = playhead.location["x"]
    first.send_keys(Keys.SPACE)
    soon.until(lambda _: playhead.location["x"] > start + 10)
    second.send_keys(Keys.SPACE)
    soon.until(lambda _: first.get_property("paused") and not second.get_property("paused"))
    assert not first.get_property("ended")

    requests = "return performance.getEntriesByType('resource').map(entry => entry.name)"
    assert all(name.startswith("data:") for name in browser.execute_script(requests))
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", [390, 1200])
def test_nothing_sticks_out_of_the_window(browser, tmp_path, width):
    long_name = "a_long_name_without_a_blank" * 8
    shown = example(speakers=(long_name, "bert"))
    path = tmp_path / "report.html"
    path.write_text(render_report(quality(name=long_name, command=long_name), [shown]), "utf-8")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        browser.get(path.as_uri())
        sizes = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
        content, window = browser.execute_script(sizes)
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert content <= window
