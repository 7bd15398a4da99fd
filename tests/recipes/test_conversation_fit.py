"""Recipes fitted to RTTM files: the statistics that conversations were drawn with come back."""

import dataclasses
import itertools
import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_datasets import build, write_corpus
from test_conversation import PRESET, talks
from test_planning import options, table, utterance

from beam_jobs import fit_conversation
from beam_jobs.corpora.catalogue import Catalogue
from beam_jobs.recipes.conversation_fit import fit_conversation as fit_turn_taking
from beam_jobs.recipes.conversation_fit import fit_quantiles, merge_turns
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.random_numbers import draw, keyed_uniforms
from beam_jobs.recipes.turn_taking import recipe_turns
from beam_jobs.separation.turns import Turn, format_rttm, parse_rttm, parse_rttm_lines
from schemas.errors import UserError
from schemas.recipe_config import Backchannels, LogNormal, parse_recipe_config

TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from("abc"),
        st.integers(0, 30_000).map(lambda ms: ms / 1000),
        st.integers(0, 5000).map(lambda ms: ms / 1000),
        st.integers(1, 2),
    ),
    max_size=12,
)


def line(speaker, onset_s, duration_s, *, recording="m", channel=1):
    return f"SPEAKER {recording} {channel} {onset_s} {duration_s} <NA> <NA> {speaker} <NA> <NA>\n"


TWO = line("a", 0, 2) + line("b", 2.5, 2) + line("a", 4, 2) + line("a", 7, 1)


@pytest.fixture
def fit(tmp_path, capsys):
    """Fits a recipe to files of some content; returns it, and what else was printed."""

    def run(*contents):
        for number, content in enumerate(contents):
            (tmp_path / f"{number}.rttm").write_bytes(content.encode())
        assert fit_conversation.main([f"--rttm={tmp_path}/*.rttm"]) == 0
        printed, said = capsys.readouterr()
        return parse_recipe_config(printed, "fitted"), said

    return run


@pytest.mark.parametrize(("num_speakers", "dominance"), [(2, 0.02), (4, 0.1)])
def test_what_conversations_were_drawn_with_comes_back(fit, num_speakers, dominance):
    asked = {
        "pause_probability": 0.45,
        "dominance": dominance,
        "backchannels": Backchannels(0.1, max_s=1.0),
        "overlap_probability": 0.3,
        "pause_s": LogNormal(0.6, 0.4),
        "three_at_once": 0.01 if num_speakers > 2 else None,
    }
    conversations = talks(num_speakers=num_speakers, **asked)
    config, _ = fit(*(format_rttm("talk", turns) for turns in conversations))
    found = config.conversation
    assert config.num_speakers == num_speakers
    assert found.speech_s == pytest.approx(240, rel=0.25)
    assert found.overlap_probability == pytest.approx(0.3, abs=0.05)
    assert found.pause_probability == pytest.approx(0.45, abs=0.08)
    assert found.dominance == pytest.approx(dominance, abs=0.03)
    assert found.backchannels.probability == pytest.approx(0.1, abs=0.03)
    assert 0.5 < found.backchannels.max_s < 3
    if num_speakers > 2:
        assert found.three_at_once == pytest.approx(0.01, abs=0.004)
    else:
        assert found.three_at_once is None
    for name in ("pause_s", "gap_s"):
        drawn = asked.get(name, PRESET.conversation.gap_s)
        quantiles = getattr(found, name).values
        for share, normal in ((0.25, -0.6745), (0.5, 0), (0.75, 0.6745)):
            expected = drawn.median * np.exp(drawn.sigma * normal)
            assert np.quantile(quantiles, share) == pytest.approx(expected, rel=0.1)


def plan_turns(config, durations_s):
    """Returns the turns of 40 conversations of a plan; `durations_s` are [speakers, utterances]."""
    files = [
        utterance(f"speaker{speaker}", number, duration_s=duration_s)
        for speaker, own in enumerate(durations_s.tolist())
        for number, duration_s in enumerate(own)
    ]
    asked = dataclasses.replace(options(splits="train=1", num_mixtures=40), config=config)
    plan = DrawnPlan(Catalogue(table(files)), asked)
    return [recipe_turns(draft.recipe) for shard in plan.shards for draft in plan.drafts(shard)]


RNG = np.random.default_rng(0)
READ_S = RNG.uniform(2, 16, (8, 60))
# In meetings, two turns in five are as short as "mm-hm", and some take a minute.
MEETING_S = np.hstack([RNG.lognormal(-0.8, 0.5, (12, 60)), RNG.lognormal(1.2, 1.1, (12, 85))])


@pytest.mark.parametrize(
    ("preset", "durations_s"),
    [("meeting", MEETING_S.clip(0.1, 45)), ("telephone", READ_S), ("broadcast", READ_S)],
    ids=["meeting", "telephone", "broadcast"],
)
def test_what_a_plan_was_drawn_from_comes_back_and_comes_back_again(preset, durations_s):
    asked = load_recipe_config(preset)
    found = fit_turn_taking(plan_turns(asked, durations_s)).config
    again = fit_turn_taking(plan_turns(found, durations_s)).config
    for before, after in ((asked, found), (found, again)):
        assert after.num_speakers == before.num_speakers
        was, became = before.conversation, after.conversation
        assert became.overlap_probability == pytest.approx(was.overlap_probability, abs=0.05)
        if was.pause_probability is not None:
            assert became.pause_probability == pytest.approx(was.pause_probability, abs=0.06)
        if was.dominance is not None:
            assert became.dominance == pytest.approx(was.dominance, abs=0.05)
        if was.backchannels is not None:
            share = was.backchannels.probability
            assert became.backchannels.probability == pytest.approx(share, abs=0.05)
        if was.three_at_once is not None:
            assert became.three_at_once == pytest.approx(was.three_at_once, abs=0.004)
        for name in ("pause_s", "gap_s"):
            middle, expected = (median_s(getattr(one, name)) for one in (became, was))
            assert middle == pytest.approx(expected, rel=0.2)


def median_s(distribution):
    if isinstance(distribution, LogNormal):
        return distribution.median
    return np.median(distribution.values)


@pytest.mark.parametrize("sigma", [0.2, 0.8, 1.5])
def test_quantiles_have_the_median_the_mean_and_the_shape_of_what_they_are_fitted_to(sigma):
    rng = np.random.default_rng(1)
    values = rng.lognormal(np.log(0.4), sigma, 5000)
    fitted, uniforms = fit_quantiles(values), keyed_uniforms(sigma)
    drawn = np.array([draw(fitted, uniforms) for _ in range(20_000)])
    assert np.median(drawn) == pytest.approx(np.median(values), rel=0.05)
    assert drawn.mean() == pytest.approx(values.mean(), rel=0.05)
    places = np.sort(values)
    differences = [np.mean(drawn <= place) - np.mean(values <= place) for place in places[::50]]
    assert np.abs(differences).max() < 0.03


def test_what_is_fitted_is_a_recipe(fit, tmp_path):
    config, _ = fit(*(format_rttm("talk", turns) for turns in talks(num_speakers=3, count=4)))
    conversation = dataclasses.replace(config.conversation, speech_s=6.0)
    config = dataclasses.replace(config, conversation=conversation, sample_rate=8000)
    recipe = tmp_path / "meetings.json"
    recipe.write_text(json.dumps(config.to_document()), "utf-8")
    corpus = write_corpus(tmp_path / "corpus", num_speakers=6, num_utterances=6)
    built = build(
        f"--recipe={recipe}",
        "--splits=train=1",
        "--num_shards=1",
        "--direct_running_mode=in_memory",
        corpus=corpus,
        output=tmp_path / "talks",
    )
    assert built.status == 0
    asked = {one["title"]: one for one in built.quality["asked"]}
    for title in (
        "Turns after which the speaker goes on",
        "Turns inside another one",
        "Dominance",
        "Time in which three speak at once",
    ):
        assert asked[title]["achieved"]


def test_the_preset_of_meetings_is_one_of_four_who_share_the_floor_unevenly():
    meeting = load_recipe_config("meeting")
    assert meeting.num_speakers == 4
    asked = meeting.conversation
    assert None not in dataclasses.astuple(asked)
    median_s = {name: np.median(getattr(asked, name).values) for name in ("pause_s", "gap_s")}
    assert median_s == {"pause_s": 2.17, "gap_s": 0.69}


def test_recordings_are_told_apart_by_their_names_and_files(fit):
    twice = TWO + TWO.replace(" m ", " n ")
    config, said = fit(twice, TWO)
    assert "3 recordings (3 of 2 speakers), 12 turns" in said
    assert config.conversation.speech_s == 7


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([2, 2, 2], 2),
        ([3, 2, 3, 3, 2, 3], (2, 3, 3)),
        ([2, 14], (2, 10)),
        ([2] * 50 + [4] * 150, (2, 4, 4, 4)),
    ],
)
def test_numbers_of_speakers_have_the_shares_of_the_recordings(numbers, expected):
    recordings = [
        [Turn(str(speaker), speaker, 0.5) for speaker in range(number)] for number in numbers
    ]
    assert fit_turn_taking(recordings).config.num_speakers == expected


def test_both_channels_of_a_call_are_one_conversation(fit):
    config, _ = fit(line("x", 0, 2, channel=1) + line("x", 3, 2, channel=2))
    assert config.num_speakers == 2
    assert config.conversation.gap_s.values == (1,) * 21


def test_what_tells_nothing_of_conversations_is_left_out_and_said(fit):
    comment = ";; no turns\nSPKR-INFO m 1 <NA> <NA> <NA> unknown a <NA> <NA>\n"
    _, said = fit(comment + TWO, "", comment, line("a", 0, 3, recording="alone"))
    assert "left out 2 files without turns" in said
    assert "left out 1 recordings of one speaker: alone in " in said


def test_where_there_is_no_example_the_published_value_is_taken(fit):
    config, said = fit(line("a", 0, 2) + line("b", 3, 2))
    assert config.conversation.overlap_s == PRESET.conversation.overlap_s
    assert "no example of conversation.overlap_s" in said
    assert config.conversation.overlap_probability == 0
    assert config.conversation.backchannels is None


def test_lines_may_end_and_be_ordered_in_any_way(fit):
    shuffled = TWO.splitlines(keepends=True)
    random.Random(0).shuffle(shuffled)
    expected, _ = fit(TWO)
    assert fit("".join(shuffled).replace("\n", "\r\n"))[0] == expected


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{}/bad.rttm"], "{}/bad.rttm: line 2: not RTTM: 'SPEAKER m 1 2.0'"),
        (["{}/alone.rttm"], "no conversation of two or more speakers in 1 files"),
        (["{}/none*.rttm"], "--rttm={}/none*.rttm: no such file"),
        (["{}"], "--rttm={}: a folder: name its files, as in '{}/*'"),
        (["{}/alone.rttm", "--rtm"], "unknown option --rtm: did you mean --rttm?"),
    ],
)
def test_what_cannot_be_fitted_is_told(arguments, complaint, tmp_path, capsys):
    (tmp_path / "bad.rttm").write_text(line("a", 0, 1) + "SPEAKER m 1 2.0\n", "utf-8")
    (tmp_path / "alone.rttm").write_text(line("a", 0, 1), "utf-8")
    filled = [argument.replace("{}", str(tmp_path)) for argument in arguments]
    assert fit_conversation.main(["--rttm", *filled]) == 1
    printed, said = capsys.readouterr()
    assert not printed
    assert said.splitlines()[-1] == f"fit_conversation: {complaint.replace('{}', str(tmp_path))}"


@given(TURNS, st.floats(0.001, 10_000))
def test_whatever_is_fitted_can_be_read(turns, factor):
    scaled = [
        dataclasses.replace(
            turn, onset_s=turn.onset_s * factor, duration_s=turn.duration_s * factor
        )
        for turn in turns
    ]
    recording = merge_turns(scaled)
    if len({turn.speaker for turn in recording}) > 1:
        config = fit_turn_taking([recording]).config
        assert parse_recipe_config(json.dumps(config.to_document()), "fitted") == config


@given(TURNS)
def test_merged_turns_are_apart_and_cover_what_was_said(turns):
    merged = merge_turns(turns)
    assert [turn.onset_s for turn in merged] == sorted(turn.onset_s for turn in merged)
    for channel, speaker in itertools.product((1, 2), "abc"):
        own = [turn for turn in merged if turn.speaker == f"{channel} {speaker}"]
        for earlier, later in itertools.pairwise(own):
            assert earlier.onset_s + earlier.duration_s < later.onset_s
        said = np.zeros(35_000, bool)
        found = np.zeros(35_000, bool)
        for turn in turns:
            if (turn.channel, turn.speaker) == (channel, speaker):
                said[span(turn)] = True
        for turn in own:
            assert not found[span(turn)].any()
            found[span(turn)] = True
        assert (said == found).all()


def span(turn):
    start = round(1000 * turn.onset_s)
    return slice(start, start + round(1000 * turn.duration_s))


@given(TURNS, st.randoms())
def test_rttm_says_what_was_written_whatever_stands_between_its_lines(turns, shuffle):
    lines = format_rttm("a b", turns).splitlines()
    others = [";; a comment", "", "SPKR-INFO a 1 <NA> <NA> <NA> unknown b <NA> <NA>", ";;SPEAKER"]
    mixed = [*lines]
    for other in others:
        mixed.insert(shuffle.randint(0, len(mixed)), other)
    assert parse_rttm("\n".join(mixed)) == turns
    assert {name for name, _ in parse_rttm_lines(mixed)} <= {"a_b"}


@given(st.lists(st.text(max_size=30) | st.text(max_size=30).map("SPEAKER {}".format)))
def test_nothing_that_a_file_may_have_in_it_breaks_the_reader(lines):
    bad = []
    for number, line in enumerate(lines):
        try:
            found = [turn for _, turn in parse_rttm_lines([line])]
        except UserError:
            bad.append(number)
        else:
            assert all(turn.duration_s >= 0 for turn in found)
    if bad:
        with pytest.raises(UserError, match=rf"^line {bad[0] + 1}: not RTTM"):
            list(parse_rttm_lines(lines))
