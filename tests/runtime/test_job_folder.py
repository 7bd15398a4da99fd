import pytest

from beam_jobs.runtime.job_folder import AnotherJobError, claim
from schemas.export_job import ExportJob, parse_export_job

JOB = ExportJob("mixtures", "0" * 64, "librimix", "wav", ("1.0",))


def claim_folder(folder, job):
    claim(str(folder / "export.json"), job, parse_export_job, remedy="name another --output")


def test_a_folder_belongs_to_the_job_that_comes_first(tmp_path):
    claim_folder(tmp_path, JOB)
    claim_folder(tmp_path, JOB)
    assert parse_export_job((tmp_path / "export.json").read_text(), "export.json") == JOB


def test_another_job_is_told_what_differs_and_what_to_do(tmp_path):
    claim_folder(tmp_path, JOB)
    other = ExportJob("mixtures", "0" * 64, "spleeter", "wav", ("1.0",))
    with pytest.raises(AnotherJobError) as error:
        claim_folder(tmp_path, other)
    assert str(error.value) == (
        f"{tmp_path} holds the work of a job with other settings"
        ' (layout: "librimix" there, "spleeter" here): name another --output'
    )
