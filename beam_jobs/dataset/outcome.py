"""What became of a job that builds a dataset: its last words, or why there is nothing."""

from beam_jobs.dataset import folder as dataset_folder
from beam_jobs.dataset.kept_catalogue import describe_taken
from beam_jobs.dataset.reading import read_quality
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.recipes.plan import NothingToDoError, Plan
from beam_jobs.runtime.dead_letters import ReasonCounts, read_rejected
from beam_jobs.runtime.job_folder import reason_to_stop
from beam_jobs.storage import files
from schemas import dataset
from schemas.errors import UserError


def check_stopped(spec: DatasetSpec) -> None:
    """Raises the reason for which workers have stopped, if they have.

    Raises:
        UserError: given recipes can't be rendered.
        NothingToDoError: nothing can be drawn from the corpora.
    """
    reason = reason_to_stop(spec.folder)
    if reason and spec.given is not None:
        # What is finished is kept: it depends on the recipes, and not on the rest of the corpus.
        raise UserError(reason)
    if reason:
        raise NothingToDoError(reason)


def explain(error: NothingToDoError, spec: DatasetSpec) -> NothingToDoError:
    """Adds to an error why files were rejected, if any were."""
    rejected = read_rejected(files.join(spec.folder, dataset.REJECTED))
    if not rejected or reason_to_stop(spec.folder):
        return error
    return NothingToDoError(f"{error}; rejected, {ReasonCounts(rejected).describe()}")


def describe_not_enrolled(plan: Plan) -> str:
    """Describes the speakers whom a plan leaves out for want of an enrolment."""
    speakers = "speaker" if plan.num_not_enrolled == 1 else "speakers"
    return f"{plan.num_not_enrolled:,} {speakers} without another utterance to be enrolled with"


def describe_result(
    spec: DatasetSpec, kept_folder: str, *, recipes_only: bool
) -> tuple[list[str], bool]:
    """Describes a dataset that is finished.

    Returns:
        The lines to print, and whether all files could be used.

    Raises:
        UserError: as `check_stopped`.
        NothingToDoError: not one mixture was made.
    """
    check_stopped(spec)
    lines = []
    rejected_path = files.join(spec.folder, dataset.REJECTED)
    rejected = read_rejected(rejected_path)
    plan = spec.open_plan()
    if not (recipes_only or dataset_folder.is_complete(spec.folder)):
        raise NothingToDoError(
            "not one mixture could be made of the files that can be decoded: see rejected.jsonl for"
            " what to mend in the corpus"
        )
    if spec.given:
        lines.append(spec.plan_options.config.description)
    for split, num_speakers in plan.left_out().items():
        if num_speakers < spec.plan_options.config.most_speakers:
            lines.append(
                f"left out: {split}, whose {num_speakers} speakers are too few for a mixture"
            )
        else:
            lines.append(f"left out: {split}, for which too few mixtures were asked for")
    if plan.num_not_enrolled:
        lines.append(f"left out: {describe_not_enrolled(plan)}")
    if recipes_only:
        done = f"{sum(plan.counts.values())} recipes in {files.join(spec.folder, 'recipes')}"
    else:
        quality = read_quality(spec.folder)
        done = (
            f"{quality.num_mixtures} mixtures, {quality.mixture_hours:.2f} h,"
            f" {quality.num_shards} shards in {spec.folder};"
            f" look at {files.join(spec.folder, dataset.REPORT)}"
        )
        if missing := quality.checks.missing_mixtures:
            done += f"; {missing} mixtures are missing, too few files could be used for them"
    if kept_folder and any(one.reason.lower().startswith("no such file") for one in rejected):
        lines.append(
            f"left out: files that are gone since {kept_folder} was made: remove that folder"
        )
    if taken := describe_taken(spec, kept_folder):
        lines.append(taken)
    if rejected:
        done += f"; {len(rejected)} files could not be used: see {rejected_path}"
    return [*lines, f"done: {done}"], not rejected
