"""Exports a dataset as audio files, for other people's tools.

python -m beam_jobs.export_audio --dataset FOLDER --output FOLDER --layout NAME [any Beam option]
"""

import argparse
import codecs
import csv
import dataclasses
import io
import json
import sys
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence

import apache_beam as beam
import soundfile
from apache_beam.transforms.combiners import ToList

from beam_jobs import files
from beam_jobs.dataset_folder import AnotherJobError
from beam_jobs.export_layouts import LAYOUTS
from beam_jobs.export_layouts.layout import (
    Export,
    ExportedMixture,
    ExportLayout,
    Table,
    file_name,
)
from beam_jobs.failures import DONE, SOME_REJECTED, follow
from beam_jobs.options import choose_runner, parse_options, run_pipeline
from beam_jobs.rejected import Rejected, read_rejected, write_rejected
from beam_jobs.stored_mixtures import Pcm, has_noise, open_dataset, read_mixtures
from schemas.dataset import COMPLETED, DATASET, REJECTED, SPLITS, Shard, ShardInfo
from schemas.export_job import ExportJob, parse_export_job

JOB = "export.json"
PROGRESS = "progress"

_FORMATS = {"wav": "WAV", "flac": "FLAC"}

_SAME_ID = "several mixtures have this id, and one lies over the other: it is in no table"


@dataclasses.dataclass(frozen=True, slots=True)
class Exporting:
    """What a worker needs to know to export a shard.

    Attributes:
        dataset_folder: where the dataset is.
        export: what is exported, and where to.
        layout_name: how it shall lie there.
    """

    dataset_folder: str
    export: Export
    layout_name: str

    @property
    def layout(self) -> ExportLayout:
        """The layout itself."""
        return next(layout for layout in LAYOUTS if self.layout_name == layout.NAME)

    def path(self, name: str) -> str:
        """Where a file of the export is."""
        return files.join(self.export.output, name)

    def progress_path(self, shard: Shard) -> str:
        """Where the mixtures of a shard are listed; a shard that has them is finished."""
        return self.path(f"{PROGRESS}/{shard}.jsonl")


class ExportShards(beam.DoFn):
    """Writes the files of each shard whose are not there yet.

    Input: `ShardInfo`. Output: the `Rejected` of each that is damaged.
    """

    def __init__(self, exporting: Exporting) -> None:
        self._exporting = exporting

    def process(self, element: ShardInfo) -> Iterator[Rejected]:
        """Exports one shard, whole or not at all."""
        exporting = self._exporting
        if files.exists(exporting.progress_path(element.shard)):
            return
        described = exporting.export.described
        path = files.join(exporting.dataset_folder, element.shard.tfrecord(described.name))
        if not files.exists(path):
            yield Rejected(path, "missing: copy the shard again")
        elif files.checksum(path)[1] != element.crc32c:
            yield Rejected(path, "damaged: copy the shard again")
        else:
            export_shard(element, exporting)


def export_shard(info: ShardInfo, exporting: Exporting) -> None:
    """Writes the files of a shard, and then the list of its mixtures."""
    export, layout = exporting.export, exporting.layout
    exported = []
    for mixture in read_mixtures(exporting.dataset_folder, export.described, info):
        for name, samples in layout.audio(mixture, export.described):
            path = exporting.path(f"{name}.{export.audio_format}")
            with files.write_atomically(path) as file:
                file.write(encode_audio(samples, export.described.sample_rate, export.audio_format))
        for name, text in layout.texts(mixture).items():
            files.write_text(exporting.path(name), text)
        name = file_name(mixture.recipe.id)
        exported.append(ExportedMixture(name, len(mixture.mixture)))
    lines = [json.dumps(dataclasses.asdict(one)) + "\n" for one in exported]
    files.write_text(exporting.progress_path(info.shard), "".join(lines))


def encode_audio(samples: Pcm, sample_rate: int, audio_format: str) -> bytes:
    """The content of an audio file of 16 bits.

    Args:
        samples: int16 [samples, channels].
        sample_rate: in Hz.
        audio_format: `wav` or `flac`.
    """
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, "PCM_16", format=_FORMATS[audio_format])
    return file.getvalue()


class FinishExport(beam.DoFn):
    """Writes everything that is not audio. Input: all `Rejected`."""

    def __init__(self, exporting: Exporting) -> None:
        self._exporting = exporting

    def process(self, element: Iterable[Rejected]) -> None:
        """Finishes the export, unless there is nothing in it."""
        exporting, export = self._exporting, self._exporting.export
        rejected = set(element)
        num_exported = 0
        for split in SPLITS:
            if export.described.split_shards(split):
                num_uses = Counter(one.name for one in _exported_mixtures(exporting, split))
                doubtful = {name for name, uses in num_uses.items() if uses > 1}
                num_exported += len(num_uses) - len(doubtful)
                rejected |= {Rejected(f"{split}/{name}", _SAME_ID) for name in doubtful}
                for table in exporting.layout.tables(export, split):
                    _write_table(exporting, split, table, without=doubtful)
        write_rejected(exporting.path(REJECTED), sorted(rejected))
        if not num_exported:
            return
        for name, text in exporting.layout.documents(export).items():
            files.write_text(exporting.path(name), text)
        files.write_text(exporting.path(COMPLETED), f"{num_exported}\n")
        if not rejected:
            files.remove(export.output, f"{PROGRESS}/*")


def _write_table(
    exporting: Exporting, split: str, table: Table, *, without: Container[str]
) -> None:
    with files.write_atomically(exporting.path(table.path)) as file:
        # The writer writes text, and the file takes bytes.
        text = codecs.getwriter("utf-8")(file)
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(table.columns)
        for mixture in _exported_mixtures(exporting, split):
            if mixture.name not in without:
                writer.writerow(table.row(mixture))


def _exported_mixtures(exporting: Exporting, split: str) -> Iterator[ExportedMixture]:
    """The mixtures of a split that are there, in order."""
    for info in exporting.export.described.split_shards(split):
        path = exporting.progress_path(info.shard)
        if files.exists(path):
            for line in files.read_text(path).splitlines():
                yield ExportedMixture(**json.loads(line))


def export_audio(root: beam.Pipeline, exporting: Exporting) -> None:
    """Adds the steps of this job to a pipeline."""
    (
        root
        | "Shards" >> beam.Create(exporting.export.described.shards)
        | "SpreadShards" >> beam.Reshuffle()
        | "ExportShards" >> beam.ParDo(ExportShards(exporting))
        | "CollectRejected" >> ToList()
        | "FinishExport" >> beam.ParDo(FinishExport(exporting))
    )


def build_parser() -> argparse.ArgumentParser:
    """The options of this job."""
    parser = argparse.ArgumentParser(
        prog="python -m beam_jobs.export_audio",
        description="Exports a dataset as audio files, for other people's tools.",
        epilog="Any other option is Beam's. Exit status: 0 done, 3 done but some shards are"
        " damaged, 1 failed.",
        allow_abbrev=False,
    )
    parser.add_argument("--dataset", required=True, metavar="FOLDER", help="what to export")
    parser.add_argument("--output", required=True, metavar="FOLDER", help="local or gs://")
    parser.add_argument(
        "--layout",
        required=True,
        choices=[layout.NAME for layout in LAYOUTS],
        help="spleeter: what stock 'spleeter train' reads; librimix: what asteroid and SpeechBrain"
        " read; folders: a folder for each mixture",
    )
    parser.add_argument(
        "--audio_format",
        default="wav",
        choices=list(_FORMATS),
        help="of the files, 16 bits in any case (default: wav)",
    )
    return parser


def run(argv: Sequence[str]) -> int:
    """Follows a command line and returns the exit status.

    Raises:
        ValueError: not a dataset, or a command line that can't be followed.
        OSError: the dataset can't be read, or the output not be written.
    """
    arguments, beam_options = parse_options(build_parser(), argv)
    dataset_folder = files.absolute(arguments.dataset)
    described = open_dataset(dataset_folder)
    exporting = Exporting(
        dataset_folder,
        Export(
            described,
            has_noise(dataset_folder),
            files.absolute(arguments.output),
            arguments.audio_format,
        ),
        arguments.layout,
    )
    exporting.layout.check(described)
    job = ExportJob(
        dataset=described.name,
        fingerprint=described.fingerprint,
        layout=arguments.layout,
        audio_format=arguments.audio_format,
        versions=(f"libsndfile {soundfile.__libsndfile_version__}",),
    )
    _claim(exporting, job)
    if not _is_complete(exporting):
        # What a killed run left behind, and the word that all is there, which it is not.
        for pattern in (f"**{files.TEMPORARY_INFIX}*", COMPLETED):
            files.remove(exporting.export.output, pattern)
        pipeline = beam.Pipeline(runner=choose_runner(beam_options), options=beam_options)
        export_audio(pipeline, exporting)
        if not run_pipeline(pipeline, beam_options):
            return DONE
    return _say_result(exporting)


def _claim(exporting: Exporting, job: ExportJob) -> None:
    """Makes the output this job's, or sees that it is already.

    Raises:
        AnotherJobError: it holds something else.
    """
    output, path = exporting.export.output, exporting.path(JOB)
    if files.exists(exporting.path(DATASET)):
        raise AnotherJobError(f"{output} holds a dataset: name another --output")
    if not files.exists(path):
        files.write_text(path, job.to_json())
        return
    differences = parse_export_job(files.read_text(path), path).differences(job)
    if differences:
        raise AnotherJobError(
            f"{output} holds an export that was asked for otherwise ({'; '.join(differences)}):"
            " name another --output"
        )


def _is_complete(exporting: Exporting) -> bool:
    """Whether nothing is missing, damaged shards included, which may have been mended since."""
    return files.exists(exporting.path(COMPLETED)) and not _rejected(exporting)


def _rejected(exporting: Exporting) -> list[Rejected]:
    return read_rejected(exporting.path(REJECTED))


def _say_result(exporting: Exporting) -> int:
    rejected, path = _rejected(exporting), exporting.path(REJECTED)
    if not files.exists(exporting.path(COMPLETED)):
        raise ValueError(f"nothing to export that is not damaged: see {path}")
    num_exported = int(files.read_text(exporting.path(COMPLETED)))
    done = f"done: {num_exported} mixtures in {exporting.export.output}"
    if rejected:
        print(f"{done}; {len(rejected)} things could not be exported: see {path}")
        return SOME_REJECTED
    print(done)
    return DONE


def main(argv: Sequence[str]) -> int:
    """Follows a command line; whatever happens, the last line says how it ended."""
    return follow(argv, run, job="export_audio")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
