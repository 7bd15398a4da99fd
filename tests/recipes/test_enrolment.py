"""Another utterance of each speaker in a mixture, to find the speaker by."""

import dataclasses
import json

import numpy as np
import pyarrow as pa
import pytest
import soundfile
from exports import export, stored
from optional import needs_tensorflow
from small_datasets import RECIPE, SAMPLE_RATE, build, voice, write_corpus, write_recipe

from beam_jobs import verify_dataset
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.dataset import verification
from beam_jobs.dataset.reading import open_dataset
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import NothingToDoError, NoUtteranceLeftError, PlanOptions
from beam_jobs.recipes.splits import parse_shares
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture, render
from beam_jobs.rendering.scratch import Scratch
from schemas.mixture import decode_mixture
from schemas.recipe import Utterance, parse_recipe
from schemas.recipe_config import parse_recipe_config
from schemas.validation import InvalidDocumentError

CONVERSATION = {
    "speech_s": 8,
    "pause_s": 0.1,
    "gap_s": 0.1,
    "overlap_s": 0.1,
    "overlap_probability": 0.5,
}


def utterances(num_speakers, num_utterances, duration_s=2.0):
    num_frames = round(duration_s * SAMPLE_RATE)
    return [
        Utterance(
            f"{speaker}-{number}",
            "speech",
            f"{speaker}/{number}.flac",
            f"s{speaker}",
            "fm"[speaker % 2],
            "",
            0,
            num_frames,
            SAMPLE_RATE,
            1,
            text=f"I am {speaker}",
        )
        for speaker in range(num_speakers)
        for number in range(num_utterances)
    ]


def a_plan(files=None, *, splits="train=1", num_mixtures=40, **changes):
    rows = [dataclasses.asdict(one) for one in files or utterances(12, 4)]
    config = {name: value for name, value in (RECIPE | changes).items() if value is not None}
    options = PlanOptions(
        config=parse_recipe_config(json.dumps(config), "recipe"),
        seed=0,
        shares=parse_shares(splits),
        num_mixtures=num_mixtures,
        num_shards=1,
    )
    return DrawnPlan(Catalogue(pa.Table.from_pylist(rows, schema=SCHEMA)), options)


def drafts_of(plan):
    return [draft for shard in plan.shards for draft in plan.drafts(shard)]


def recipes_of(plan):
    return [draft.recipe for draft in drafts_of(plan)]


KINDS = {
    "pairs": {},
    "conversations": {"offset_s": None, "conversation": CONVERSATION},
    "one gender": {"same_gender_share": 1.0},
    "few uses": {"max_uses_per_shard": 1},
}


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
class TestDrawing:
    def test_each_speaker_has_another_utterance_that_is_not_in_the_mixture(self, kind):
        splits = "train=0.5,validation=0.25,test=0.25"
        recipes = recipes_of(a_plan(utterances(24, 6), enrolment_s=1.5, splits=splits, **kind))
        assert {recipe.split for recipe in recipes} == {"train", "validation", "test"}
        for recipe in recipes:
            speakers = [sources[0].speaker for sources in recipe.rows]
            assert [one.speaker for one in recipe.enrolments] == speakers
            heard = {source.utterance for source in recipe.sources}
            assert not heard & {one.utterance for one in recipe.enrolments}
            assert {one.stop - one.start for one in recipe.enrolments} == {1.5 * SAMPLE_RATE}
            assert parse_recipe(recipe.to_json(), "recipe") == recipe

    def test_mixtures_are_the_same_with_enrolments_and_without(self, kind):
        enrolled = recipes_of(a_plan(utterances(12, 8), enrolment_s=1.5, **kind))
        plain = recipes_of(a_plan(utterances(12, 8), **kind))
        assert plain == [
            dataclasses.replace(recipe, enrolments=None, enrolment_s=None) for recipe in enrolled
        ]
        assert not {"enrolments", "enrolment_s"} & set(json.loads(plain[0].to_json()))


def test_enrolments_differ_from_mixture_to_mixture():
    recipes = recipes_of(a_plan(enrolment_s=1, num_mixtures=200))
    used = {(one.utterance, one.start) for recipe in recipes for one in recipe.enrolments}
    assert len(used) > len(recipes)
    assert {name for name, _ in used} == {one.id for one in utterances(12, 4)}


def test_an_enrolment_is_played_like_its_speaker_and_whole_ones_keep_their_text():
    speed = {"choices": [0.9, 1.1]}
    for recipe in recipes_of(a_plan(enrolment_s=3, speed=speed)):
        for source, one in zip(recipe.sources, recipe.enrolments, strict=True):
            assert (one.level_kind, one.level, one.speed) == (
                source.level_kind,
                source.level,
                source.speed,
            )
            assert (one.stop - one.start, one.text) == (2 * SAMPLE_RATE, f"I am {one.speaker[1:]}")
    for recipe in recipes_of(a_plan(enrolment_s=1)):
        assert not any(one.text for one in recipe.enrolments)


class TestSpeakersWithoutAnother:
    def test_they_are_left_out_before_speakers_are_divided(self):
        lone = [
            dataclasses.replace(one, id=f"x{one.id}", speaker=f"x{one.speaker}")
            for one in utterances(100, 1)
        ]
        splits = "train=0.5,validation=0.25,test=0.25"
        plan = a_plan([*lone, *utterances(8, 2)], enrolment_s=1, splits=splits)
        assert plan.num_not_enrolled == 100
        assert set(plan.counts) == {"train", "validation", "test"}
        assert {source.speaker for recipe in recipes_of(plan) for source in recipe.sources} == {
            f"s{number}" for number in range(8)
        }

    def test_who_has_one_conversation_for_all_utterances_is_left_out(self):
        short = utterances(2, 2)
        others = [
            dataclasses.replace(one, id=f"x{one.id}", speaker=f"x{one.speaker}")
            for one in utterances(4, 8)
        ]
        conversation = {"offset_s": None, "conversation": CONVERSATION}
        plan = a_plan([*short, *others], enrolment_s=1, **conversation)
        assert plan.num_not_enrolled == 2
        assert {one.speaker[0] for recipe in recipes_of(plan) for one in recipe.sources} == {"x"}

    @pytest.mark.parametrize(
        ("files", "complaint"),
        [
            (utterances(9, 1), "enrolment_s and this corpus do not go together: no speaker has"),
            (utterances(9, 1) + utterances(1, 2)[1:], "and 8 who can't be enrolled are left out"),
        ],
    )
    def test_a_corpus_of_them_is_refused(self, files, complaint):
        with pytest.raises(NothingToDoError, match=complaint):
            a_plan(files, enrolment_s=1)


class TestBrokenFiles:
    def test_another_utterance_takes_the_place_of_one_that_cannot_be_decoded(self):
        plan = a_plan(enrolment_s=1)
        for draft in drafts_of(plan)[:10]:
            first, second = draft.entries[2:]
            again = plan.redraft(draft, {first})
            assert again.recipe.sources == draft.recipe.sources
            assert again.entries[:2] == draft.entries[:2]
            assert again.entries[2] not in (first, *draft.entries[:2])
            assert again.entries[3] == second
            assert again.recipe.enrolments[0].speaker == draft.recipe.enrolments[0].speaker

    def test_a_speaker_with_no_utterance_left_is_replaced(self):
        plan = a_plan(utterances(6, 2), enrolment_s=1)
        for draft in drafts_of(plan)[:10]:
            first, second = draft.recipe.sources
            again = plan.redraft(draft, {draft.entries[2]}).recipe
            assert again.sources[0].speaker not in (first.speaker, second.speaker)
            assert again.sources[1].utterance == second.utterance
            speakers = [source.speaker for source in again.sources]
            assert [one.speaker for one in again.enrolments] == speakers

    def test_without_anyone_left_the_mixture_is_missing(self):
        plan = a_plan(utterances(2, 2), enrolment_s=1, num_mixtures=4)
        (draft, *_) = drafts_of(plan)
        with pytest.raises(NoUtteranceLeftError):
            plan.redraft(draft, {draft.entries[2]})


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda recipe: recipe.pop("enrolment_s"), "go together: give both"),
        (lambda recipe: recipe["enrolments"].pop(), "not those of the speakers of the rows"),
        (
            lambda recipe: recipe["enrolments"][0].update(
                utterance=recipe["sources"][0]["utterance"]
            ),
            "is in the mixture, too",
        ),
    ],
)
def test_a_given_recipe_with_other_enrolments_is_refused(change, complaint):
    document = json.loads(recipes_of(a_plan(enrolment_s=1))[0].to_json())
    change(document)
    with pytest.raises(InvalidDocumentError, match=complaint):
        parse_recipe(json.dumps(document), "recipe")


@pytest.mark.parametrize("value", [0, -1, "5", True, 1000])
def test_a_length_that_nobody_means_is_refused_by_its_key(value):
    with pytest.raises(InvalidDocumentError, match=r"\$\.enrolment_s"):
        parse_recipe_config(json.dumps(RECIPE | {"enrolment_s": value}), "recipe.json")


class TestRendering:
    @pytest.fixture
    def roots(self, tmp_path):
        for speaker in range(4):
            for number in range(2):
                path = tmp_path / f"{speaker}/{number}.flac"
                path.parent.mkdir(exist_ok=True)
                sound = voice(100 + 30 * speaker + 7 * number, 2)
                soundfile.write(path, sound, SAMPLE_RATE)
        return {"speech": str(tmp_path)}

    def rendered(self, roots, **changes):
        recipe = recipes_of(a_plan(utterances(4, 2), num_mixtures=2, **changes))[0]
        return recipe, render(recipe, PartReader(roots), Scratch())

    @pytest.mark.parametrize("channels", ["average", "stereo"])
    def test_it_is_cut_or_padded_and_has_the_gain_of_its_source(self, roots, channels):
        for enrolment_s in (0.5, 3):
            recipe, mixture = self.rendered(roots, enrolment_s=enrolment_s, channels=channels)
            assert mixture.enrolments.shape[:2] == (2, enrolment_s * SAMPLE_RATE)
            for one, source, pcm in zip(
                recipe.enrolments, recipe.sources, mixture.enrolments, strict=True
            ):
                samples, _ = soundfile.read(f"{roots['speech']}/{one.path}", dtype="float32")
                expected = samples[one.start : one.stop] * 10 ** (source.level / 20)
                mono = pcm if channels == "average" else pcm[:, 1]
                np.testing.assert_allclose(mono[: len(expected)] / 32768, expected, atol=1 / 32768)
                assert not mono[len(expected) :].any()

    def test_its_level_is_that_of_its_source(self, roots):
        level = {"relative_db": {"uniform": [3, 9]}}
        recipe, mixture = self.rendered(roots, enrolment_s=1, level=level)
        rms = np.sqrt(np.mean((mixture.enrolments / 32768.0) ** 2, axis=1))
        levels = [source.level for source in recipe.sources]
        np.testing.assert_allclose(20 * np.log10(rms), levels, atol=0.01)

    def test_it_does_not_clip_and_changes_nothing_else(self, roots):
        loud = {"level": {"gain_db": 30}}
        _, mixture = self.rendered(roots, enrolment_s=1, **loud)
        _, plain = self.rendered(roots, **loud)
        assert np.abs(mixture.enrolments.astype(int)).max(axis=1).tolist() == [32765, 32765]
        np.testing.assert_array_equal(mixture.sources, plain.sources)
        np.testing.assert_array_equal(mixture.mixture, plain.mixture)

    def test_in_a_row_without_a_speaker_it_is_silent(self, roots):
        plan = a_plan(
            utterances(4, 2), num_speakers={"choices": [1, 3]}, enrolment_s=1, num_mixtures=8
        )
        numbers = set()
        for recipe in recipes_of(plan):
            mixture = render(recipe, PartReader(roots), Scratch())
            stored_enrolments = decode_mixture(encode_mixture(mixture), "x").enrolments
            assert stored_enrolments.shape == (3, SAMPLE_RATE, 1)
            assert stored_enrolments.any(axis=(1, 2)).sum() == len(recipe.enrolments)
            numbers.add(len(recipe.enrolments))
        assert numbers == {1, 3}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("enrolled") / "corpus"
    write_corpus(folder, num_speakers=8, num_utterances=2)
    (folder / "lone").mkdir()
    soundfile.write(folder / "lone/0.flac", voice(300, 1), SAMPLE_RATE)
    return folder


@pytest.fixture(scope="module")
def built(corpus):
    recipe = write_recipe(corpus.parent / "recipe.json", enrolment_s=0.5)
    arguments = [f"--recipe={recipe}", "--splits=train=1", "--num_shards=1"]
    result = build(*arguments, corpus=corpus, output=corpus.parent / "dataset")
    assert result.status == 0, result.complaints
    return result


class TestDatasets:
    def test_the_job_says_who_is_left_out_and_the_report_what_was_achieved(self, built):
        line = "left out: 1 speaker without another utterance to be enrolled with"
        assert line in built.printed.splitlines()
        assert built.quality["histograms"]["enrolment_s"]["num"] == 2 * built.num_mixtures
        (asked,) = [
            one for one in built.quality["asked"] if one["title"] == "Speech in an enrolment"
        ]
        assert asked["asked"] == "0.5 s"
        assert asked["achieved"].startswith("0.30 to 0.50 s, mean 0.4")

    def test_every_record_has_its_enrolments_and_verifying_checks_their_length(self, built):
        assert verify_dataset.main([f"--dataset={built.folder}"]) == 0
        described = open_dataset(str(built.folder))
        for example in built.examples():
            assert not list(verification.check_record(example, described))
            example["enrolments"] = [example["enrolments"][0][2:]]
            (damage,) = verification.check_record(example, described)
            assert damage == "its enrolments are not as long as its recipe says"

    def test_its_recipes_give_the_same_bytes(self, built, corpus, tmp_path):
        recipes = [f"--recipes={built.folder}/recipes/*.jsonl", "--num_shards=1"]
        again = build(*recipes, corpus=corpus, output=tmp_path / "dataset")
        assert again.digests == built.digests

    @needs_tensorflow
    def test_tensorflow_datasets_reads_them(self, built):
        import tensorflow_datasets as tfds  # noqa: PLC0415

        read = tfds.builder_from_directory(str(built.folder)).as_dataset(split="train")
        for example in read.as_numpy_iterator():
            assert example["enrolments"].shape == (2, 0.5 * SAMPLE_RATE)
            assert example["enrolments"].any(axis=1).all()

    def test_librimix_has_them_in_the_table_of_speakerbeam(self, built, tmp_path):
        assert export(built.folder, tmp_path, "librimix") == 0
        folder = tmp_path / "Libri2Mix/wav8k/min"
        table = folder / "metadata/train-360/mixture2enrollment.csv"
        _, *rows = (line.split(",") for line in table.read_text().splitlines())
        mixtures = stored(built.folder)
        assert [row[:2] for row in rows] == [
            [name, source] for name in sorted(mixtures) for source in ("s1", "s2")
        ]
        for name, source, path, length in rows:
            assert path == str(folder / f"train-360/{source}_enrolment/{name}.wav")
            read, _ = soundfile.read(path, dtype="int16", always_2d=True)
            assert len(read) == int(length)
            np.testing.assert_array_equal(read, mixtures[name].enrolments[int(source[1:]) - 1])

    @pytest.mark.parametrize(
        ("layout", "name"),
        [
            ("folders", "train/{}/{}_speaker_enrolment.wav"),
            ("nemo", "train/{}-{}_speaker_enrolment.wav"),
            ("lhotse", "train/{}/{}_speaker_enrolment.flac"),
        ],
    )
    def test_exports_have_a_file_for_each(self, built, tmp_path, layout, name):
        assert export(built.folder, tmp_path, layout) == 0
        for mixture in stored(built.folder).values():
            for ordinal, samples in zip(("first", "second"), mixture.enrolments, strict=True):
                path = tmp_path / name.format(mixture.recipe.id, ordinal)
                read, _ = soundfile.read(path, dtype="int16", always_2d=True)
                np.testing.assert_array_equal(read, samples)
        if layout == "lhotse":
            (cut, *_) = (tmp_path / "dataset_cuts_train.jsonl").read_text().splitlines()
            recording = json.loads(cut)["custom"]["second_speaker_enrolment"]
            assert recording["num_samples"] == 0.5 * SAMPLE_RATE
            assert recording["duration"] == 0.5
