"""Separates an archive of recordings, and every next time what is new in it."""

import argparse
import json
import sys
import time
import uuid
from collections.abc import Sequence

import apache_beam as beam

from beam_jobs import files
from beam_jobs.options import UsageError, choose_runner, parse_options
from beam_jobs.separation.models import ModelError, describe_model
from beam_jobs.separation.naming import FIELDS, NamingError, check_collisions, list_inputs
from beam_jobs.separation.summary import describe, parse_counts, summarise
from beam_jobs.separation.transforms import SeparateArchive
from schemas.ledger import REJECTED, RUNS, SUMMARY, Parameters
from schemas.validation import InvalidDocumentError

DONE, FAILED, DONE_BUT_SOME_REJECTED = 0, 1, 3


def main(argv: Sequence[str]) -> int:
    """Runs the job.

    Returns:
        The exit code: 0 when everything is done, 3 when some files were rejected, 1 on failure.
    """
    start_s = time.monotonic()
    try:
        own, options = parse_options(_parser(), argv)
        parameters = Parameters(
            channels=own.channels,
            audio_format=own.audio_format,
            sample_rate=own.output_sample_rate,
            name_template=own.name_template,
        )
        model = describe_model(own.model)
        inputs = list_inputs(own.input, own.output)
        check_collisions(inputs, model.source_names, parameters)
    except (UsageError, ModelError, NamingError, InvalidDocumentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return FAILED
    print(f"{len(inputs)} files; {model.name} separates at {model.sample_rate} Hz", flush=True)
    counts_path = files.join(own.output, RUNS, f"{uuid.uuid4().hex}.json")
    pipeline = beam.Pipeline(choose_runner(options), options=options)
    (
        pipeline
        | "Inputs" >> beam.Create(inputs)
        | "SeparateArchive"
        >> SeparateArchive(
            model=model,
            parameters=parameters,
            output=own.output,
            force=own.force,
            num_threads=own.model_threads,
        )
        | "WriteCounts" >> beam.Map(lambda counts: files.write_text(counts_path, counts.to_json()))
    )
    try:
        pipeline.run().wait_until_finish()
    except Exception as error:
        # The runner wraps the error of a worker in its traceback; the last line is the error.
        print(f"error: {str(error).strip().splitlines()[-1]}", file=sys.stderr)
        return FAILED
    summary = summarise(
        parse_counts(files.read_text(counts_path)),
        elapsed_s=time.monotonic() - start_s,
        price_per_hour=own.price_per_hour,
    )
    files.write_text(files.join(own.output, SUMMARY), json.dumps(summary, indent=1) + "\n")
    print(describe(summary))
    if summary["rejected"]:
        print(f"the rejected files and why: {files.join(own.output, REJECTED)}")
        return DONE_BUT_SOME_REJECTED
    return DONE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.separate_archive",
        description="Separates an archive of recordings. Any option of Beam is one here too.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--input", required=True, help="glob pattern, or a manifest (.txt): a path in each line"
    )
    parser.add_argument(
        "--model",
        required=True,
        help="a bundle's folder; spleeter:2stems, :4stems or :5stems with the checkpoint where "
        "Spleeter has it; a Spleeter configuration (.json)",
    )
    parser.add_argument("--output", required=True, help="folder, local or gs://")
    parser.add_argument(
        "--channels",
        choices=("mix", "each"),
        default=Parameters().channels,
        help="mix: all channels at once, mixed down where the model takes fewer; each: one by one",
    )
    parser.add_argument(
        "--audio_format", choices=("wav", "flac", "opus"), default=Parameters().audio_format
    )
    parser.add_argument(
        "--output_sample_rate",
        choices=("input", "model"),
        default=Parameters().sample_rate,
        help="whose sample rate the outputs have",
    )
    parser.add_argument(
        "--name_template",
        default=Parameters().name_template,
        help="of the outputs' paths in the output folder, of "
        + ", ".join(f"{{{field}}}" for field in FIELDS)
        + " (default: %(default)s)",
    )
    parser.add_argument("--force", action="store_true", help="separate what the ledger has, too")
    parser.add_argument(
        "--model_threads", type=int, default=0, help="threads that compute (default: all cores)"
    )
    parser.add_argument(
        "--price_per_hour", type=float, default=0.0, help="of a worker, for the cost estimate"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
