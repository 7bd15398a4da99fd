import json

import pytest

from scoring.diarisation import DiarisationErrors
from scoring.evaluation import IDEAL_RATIO_MASK, UNPROCESSED
from scoring.report import render_reports
from scoring.report_files import DOCUMENT, PAGE, TEXT
from scoring.results import Result


def results(gains_db, *, genders=("same", "different")):
    """The results of models, whose improvements are the same for every mixture, and the bounds."""
    models = {UNPROCESSED: 0.0, **gains_db, IDEAL_RATIO_MASK: 13.52}
    return [
        Result(
            model,
            f"mixture-{number}",
            {"gender": gender, "overlap": "50-75 %"},
            {"si_sdr_db": gain_db - 0.5, "si_sdri_db": gain_db, "stoi": 0.8},
        )
        for number, gender in enumerate(genders)
        for model, gain_db in models.items()
    ]


@pytest.mark.parametrize(
    ("gains_db", "sentence"),
    [
        ({"tasnet": 8.97}, "tasnet improves the 2 mixtures by 9.0 dB"),
        ({"tasnet": -1.234}, "tasnet makes the 2 mixtures worse by 1.2 dB"),
        (
            {"worse": 3.0, "tasnet": 8.97},
            "tasnet improves the 2 mixtures by 9.0 dB, worse by 3.0 dB",
        ),
    ],
)
def test_the_report_begins_with_what_came_out(gains_db, sentence):
    reports = render_reports(results(gains_db))
    sentence += "; an ideal mask could by 13.5 dB."
    assert reports[TEXT].splitlines()[0] == sentence
    assert sentence in reports[PAGE]


def test_people_read_names_and_units_and_programs_the_same_keys_as_ever():
    reports = render_reports(results({"tasnet": 8.97}))
    for name in (TEXT, PAGE):
        assert "SI-SDR improvement" in reports[name]
        assert "si_sdri_db" not in reports[name]
    assert "8.97 dB" in reports[PAGE]
    models = json.loads(reports[DOCUMENT])["models"]
    assert [one["si_sdri_db"]["mean"] for one in models] == [0.0, 8.97, 13.52]


def test_only_what_divides_the_mixtures_has_a_table():
    reports = render_reports(results({"tasnet": 8.97}))
    assert "By gender" in reports[PAGE]
    assert "by gender" in reports[TEXT]
    assert "By overlap" not in reports[PAGE]
    assert "by overlap" not in reports[TEXT]


def with_one_alone(gains_db):
    """Adds a mixture in which one speaker is alone."""
    alone = {"single_si_sdr_db": 25.0, "residual_db": -31.25}
    return results(gains_db) + [
        Result(model, "alone", {"gender": "same", "overlap": "0-25 %"}, dict(alone))
        for model in (UNPROCESSED, *gains_db, IDEAL_RATIO_MASK)
    ]


def test_one_alone_is_reported_apart_from_those_who_are_separated():
    reports = render_reports(with_one_alone({"tasnet": 8.97}))
    assert reports[TEXT].startswith(
        "tasnet improves 2 of the 3 mixtures, those of several speakers, by 9.0 dB; an ideal mask"
    )
    for name in (TEXT, PAGE):
        assert "SI-SDR of one alone" in reports[name]
        assert "-31.25" in reports[name].replace("\N{MINUS SIGN}", "-")
    (own,) = (one for one in json.loads(reports[DOCUMENT])["models"] if one["model"] == "tasnet")
    assert own["si_sdri_db"] == {"mean": 8.97, "median": 8.97, "mixtures": 2}
    assert own["residual_db"] == {"mean": -31.25, "median": -31.25, "mixtures": 1}
    assert "overlap" not in reports[TEXT]


def test_where_everybody_is_alone_there_is_nothing_to_separate():
    alone = [one for one in with_one_alone({"tasnet": 1.0}) if one.mixture == "alone"]
    reports = render_reports(alone)
    assert reports[TEXT].startswith("Nobody speaks at the same time as somebody else")
    assert "31.25" in reports[PAGE]


def test_silent_outputs_are_counted_beside_the_means_that_leave_them_out():
    one_voice = {"si_sdr_db": -0.5, "si_sdri_db": 0.97, "silent_outputs": 1.0}
    measured = results({"tasnet": 8.97})
    measured.append(Result("tasnet", "one-voice", measured[0].groups, one_voice))
    reports = render_reports(measured)
    sentence = "tasnet improves the 3 mixtures by 6.3 dB, without an output that is silent"
    for name in (TEXT, PAGE):
        assert sentence in reports[name]
        assert "Silent outputs" in reports[name]
    (own,) = (one for one in json.loads(reports[DOCUMENT])["models"] if one["model"] == "tasnet")
    assert own["silent_outputs"] == {"total": 1, "mixtures": 1}


def test_where_all_outputs_are_silent_that_is_what_came_out():
    silent = [
        Result("tasnet", "a", {}, {"silent_outputs": 2.0}),
        Result(IDEAL_RATIO_MASK, "a", {}, {"si_sdri_db": 13.52}),
    ]
    assert render_reports(silent)[TEXT].startswith("All outputs of tasnet are silent")


def test_who_speaks_when_needs_no_audio():
    errors = DiarisationErrors("a", speech_s=50, missed_s=1, false_alarm_s=2, confusion_s=2)
    page = render_reports([], [errors], "the reference's RTTM files")[PAGE]
    assert "<dd>10.0%</dd>" in page
    assert "SI-SDR" not in page


@pytest.mark.parametrize("width", [420, 1200])
def test_nothing_sticks_out_of_the_window(browser, tmp_path, width):
    many = {f"a_model_with_a_long_name_{number}": float(number) for number in range(5)}
    path = tmp_path / "report.html"
    path.write_text(render_reports(results(many))[PAGE], "utf-8")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False},
    )
    try:
        browser.get(path.as_uri())
        sizes = "const page = document.documentElement; return [page.scrollWidth, page.clientWidth]"
        content, window = browser.execute_script(sizes)
        # Labels of the axes, too, are inside their charts.
        cut = browser.execute_script(
            """
            return [...document.querySelectorAll('.chart svg')].flatMap(svg => {
              const frame = svg.getBoundingClientRect();
              return [...svg.querySelectorAll('text')].filter(text => {
                const box = text.getBoundingClientRect();
                return box.left < frame.left - 1 || box.right > frame.right + 1;
              });
            }).length
            """
        )
    finally:
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert content <= window
    assert cut == 0
