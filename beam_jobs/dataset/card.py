"""The dataset's card: `README.md`, with the front matter of the Hugging Face hub.

Source: https://huggingface.co/docs/hub/datasets-cards.
"""

import dataclasses
import json
from collections.abc import Iterable, Sequence

from beam_jobs.corpora import known_licenses
from beam_jobs.corpora.layout import SOUNDS
from beam_jobs.dataset.spec import DatasetSpec
from beam_jobs.storage import files
from schemas import dataset
from schemas.dataset import Dataset
from schemas.mixture_job import parse_mixture_job
from schemas.quality import Checks, Quality

# The hub's names for sizes, each with the number of mixtures that is too many for it.
_SIZES = {
    "n<1K": 10**3,
    "1K<n<10K": 10**4,
    "10K<n<100K": 10**5,
    "100K<n<1M": 10**6,
    "1M<n<10M": 10**7,
    "10M<n<100M": 10**8,
    "100M<n<1B": 10**9,
}


@dataclasses.dataclass(frozen=True, slots=True)
class CardCorpus:
    """A corpus that a dataset is made of.

    Attributes:
        name: its name.
        content: speech, stems, noise or rooms.
        layout: the layout by which its speakers were found; else empty.
        licenses: those of the corpora of this layout, as SPDX spells them, or none.
    """

    name: str
    content: str
    layout: str
    licenses: tuple[str, ...]


def list_corpora(spec: DatasetSpec) -> list[CardCorpus]:
    """Returns the corpora that a dataset is made of, with their licences."""
    listed = []
    for corpus in spec.corpora:
        if corpus.layout in SOUNDS:
            listed.append(CardCorpus(corpus.name, corpus.layout, "", ()))
        else:
            layout = spec.layout_names.get(corpus.name, "")
            content = "stems" if spec.instruments else "speech"
            listed.append(CardCorpus(corpus.name, content, layout, known_licenses(layout)))
    return listed


def licenses_of(corpora: Iterable[CardCorpus]) -> list[str]:
    """Returns the known licences of corpora, as SPDX spells them."""
    return sorted({name for corpus in corpora for name in corpus.licenses})


def write_card(spec: DatasetSpec, described: Dataset, quality: Quality) -> str:
    """Returns the content of `README.md`: the same for every run of the same job.

    Args:
        spec: the dataset.
        described: the content of `dataset.json`.
        quality: the content of `quality.json`.
    """
    corpora = list_corpora(spec)
    sections = [
        _front_matter(described, quality, corpora),
        f"# {described.name}\n\n{quality.description}",
        _counts(described, quality),
        f"## Content\n\n{_content(spec, described)}",
        f"## How it was made\n\n{_making(spec)}",
        f"## Corpora and licences\n\n{_licenses(corpora, quality)}",
        f"## Loading\n\n{_loading(described)}",
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(described: Dataset, quality: Quality, corpora: Sequence[CardCorpus]) -> str:
    licenses = [_hub_license(name) for name in licenses_of(corpora)]
    if not all(corpus.licenses for corpus in corpora):
        licenses.append("unknown")
    size = next(
        (name for name, limit in _SIZES.items() if quality.num_mixtures < limit), "1B<n<10B"
    )
    lists = {
        "license": licenses,
        "task_categories": ["audio-to-audio"],
        "tags": ["audio", "source-separation"],
        "size_categories": [size],
    }
    lines = [f"pretty_name: {json.dumps(described.name)}"]
    for key, values in lists.items():
        lines += [f"{key}:", *(f"- {value}" for value in values)]
    return "\n".join(["---", *lines, "---"])


def _counts(described: Dataset, quality: Quality) -> str:
    rows = [
        (
            name,
            split.num_mixtures,
            f"{split.mixture_hours:.2f}",
            split.num_speakers,
            split.num_utterances,
            split.num_shards,
            f"{split.num_bytes / 1e6:.0f}",
        )
        for name, split in quality.splits.items()
    ]
    heads = ("split", "mixtures", "hours", "speakers", "utterances", "shards", "MB")
    channels = "mono" if described.num_channels == 1 else "stereo"
    checks = quality.checks
    disjoint = isinstance(checks, Checks) and not checks.speakers_in_two_splits
    apart = " No speaker is in two splits." if disjoint else ""
    at_most = "up to " if described.silent_rows else ""
    return (
        f"{quality.num_mixtures} mixtures of {at_most}{described.num_sources} sources, 16 bits,"
        f" {described.sample_rate} Hz, {channels}.{apart}\n\n{_table(heads, rows)}"
    )


def _content(spec: DatasetSpec, described: Dataset) -> str:
    samples = "samples" if described.num_channels == 1 else "samples, channels"
    each = described.num_sources
    rows = [
        ("id", "text", "the name of the mixture"),
        ("mixture", f"int16 [{samples}]", ""),
        ("sources", f"int16 [{each}, {samples}]", "each as it sounds in the mixture"),
        ("sample_rate", "int64", "Hz"),
        ("speakers", f"text [{each}]", ""),
        ("offsets_s", f"float32 [{each}]", "the start of each source in the mixture, seconds"),
        ("gains_db", f"float32 [{each}]", "from the samples of the file to those in the mixture"),
        ("recipe", "text", "JSON: the complete description of the mixture"),
    ]
    if spec.has_noise:
        rows.append(("noise", f"int16 [{samples}]", ""))
    if spec.has_rooms:
        rows.append(("dry_sources", f"int16 [{each}, {samples}]", "their direct sound alone"))
    if spec.has_transmission:
        rows.append(("degraded", f"int16 [{samples}]", "the mixture after its transmission"))
    if spec.enrolment_samples:
        shape = samples.replace("samples", str(spec.enrolment_samples))
        meaning = "another utterance of each speaker"
        rows.append(("enrolments", f"int16 [{each}, {shape}]", meaning))
    text = _table(("feature", "type", "meaning"), rows)
    if described.silent_rows:
        text += (
            "\n\nA mixture of fewer sources has silent rows after them: zeros in `sources`, an"
            " empty text in `speakers`."
        )
    if described.instruments:
        text += f"\n\nThe sources are, in this order: {', '.join(described.instruments)}."
    if described.mixture_given:
        return f"{text}\n\nMixtures are recordings, and need not be the sums of their sources."
    parts = "sum(sources) + noise" if spec.has_noise else "sum(sources)"
    return f"{text}\n\n`mixture == {parts}`, to the last bit."


def _making(spec: DatasetSpec) -> str:
    path = files.join(spec.folder, dataset.JOB)
    job = parse_mixture_job(files.read_text(path), path)
    if spec.given is None:
        how = f"Recipes were drawn with the seed {job.seed}; splits: {job.splits}."
    else:
        how = "The recipes were given."
    kinds = [("noise", spec.has_noise), ("rooms", spec.has_rooms)]
    sounds = "".join(f" --{kind} {kind.upper()}" for kind, is_there in kinds if is_there)
    return (
        f"By spleeter-beam. {how} `{dataset.JOB}` has all settings, `recipes/` how each mixture was"
        f" made, `{dataset.QUALITY}` and `{dataset.REPORT}` what came out. The same corpora and"
        f" settings give the same bytes, with {', '.join(job.versions)}.\n\n"
        "With the corpora at hand, the dataset is rendered again, also elsewhere or at another"
        " sample rate, by\n\n"
        "```bash\n"
        "python -m beam_jobs.build_mixtures --recipes 'FOLDER/recipes/*.jsonl' --corpus CORPUS"
        f"{sounds} --output OUTPUT\n"
        "```"
    )


def _licenses(corpora: Sequence[CardCorpus], quality: Quality) -> str:
    num_speakers = {one.corpus: one.num_speakers for one in quality.corpora}
    rows = [
        (
            corpus.name,
            corpus.content,
            corpus.layout,
            num_speakers.get(corpus.name, ""),
            " or ".join(corpus.licenses) or "not known",
        )
        for corpus in corpora
    ]
    return (
        "Mixtures are derived from the corpora, and come under their licences. A licence in this"
        " table is that of the corpora that have this layout; the corpus itself says what is"
        " right.\n\n" + _table(("corpus", "content", "layout", "speakers", "licence"), rows)
    )


def _loading(described: Dataset) -> str:
    export = (
        "Without TensorFlow: `python -m beam_jobs.export_audio --dataset FOLDER --output OUTPUT"
        " --layout NAME` writes WAV or FLAC files, for WebDataset, Hugging Face datasets, Lhotse"
        " and others."
    )
    if described.compression:
        return f"The shards are compressed, and TensorFlow Datasets can't read them.\n\n{export}"
    return (
        "```python\n"
        "import tensorflow_datasets as tfds\n\n"
        'dataset = tfds.builder_from_directory("FOLDER").as_dataset(split="train")\n'
        f"```\n\n{export}\n\n"
        f"`{dataset.CROISSANT}` describes the files and the recipes for Croissant's readers:\n\n"
        "```python\n"
        "import mlcroissant\n\n"
        f'recipes = mlcroissant.Dataset("FOLDER/{dataset.CROISSANT}").records("mixtures")\n'
        "```"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in line)} |"
        for line in lines
    )


def _hub_license(name: str) -> str:
    """Returns the Hugging Face hub's name of a licence that has SPDX's."""
    return {"ODC-By-1.0": "odc-by"}.get(name, name.lower())
