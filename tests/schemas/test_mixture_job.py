import dataclasses

import pytest

from beam_jobs.recipes.presets import load_recipe_config
from schemas.mixture_job import MixtureJob


@pytest.fixture
def job():
    """Describes a job as it was planned by some version of the program."""
    return MixtureJob(
        corpora=("speech",),
        config=load_recipe_config("overlay"),
        seed=0,
        splits="train=1",
        num_mixtures=0,
        num_shards=0,
        compression="",
        versions=(),
        plan=2,
    )


def test_a_job_that_was_planned_by_another_version_differs_in_nothing_else(job):
    (difference,) = job.differences(dataclasses.replace(job, plan=3))
    assert difference.startswith("planned by another version of this program, plan 2 there and 3")


def test_another_recipe_is_named_even_if_it_is_planned_otherwise(job):
    other = dataclasses.replace(job, config=load_recipe_config("librimix"), plan=3)
    assert any("loudness_lufs" in difference for difference in job.differences(other))
