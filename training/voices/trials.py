"""Trials of speaker embeddings: all pairs of crops of one speaker, and of two."""

import dataclasses
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from schemas.dataset import Split
from schemas.pcm import Samples, to_samples
from schemas.voice_model import VOICES, VoiceModel, parse_voice_model
from scoring.verification import Scores, equal_error_rate
from training.saved_models import load_saved_model
from training.voices.packed_speech import Speech

CROP_S = 3.0

_MAX_CROPS_PER_VOICE = 16
_BATCH = 64

Embed = Callable[[Samples], Samples]


@dataclasses.dataclass(frozen=True, slots=True)
class Trials:
    """The result of comparing pairs of crops of one kind.

    Attributes:
        dataset: that the crops are from.
        kind: clean or separated.
        pairs: `all`, `same gender`, or `same mixture`, the speakers who talk with each other.
        num_voices: speakers.
        num_same: pairs of one speaker.
        num_different: pairs of two.
        equal_error_rate: 0 to 1.
    """

    dataset: str
    kind: str
    pairs: str
    num_voices: int
    num_same: int
    num_different: int
    equal_error_rate: float


def evaluate(
    embed: Embed, packed: Sequence[Speech], split: Split, crop_s: float = CROP_S
) -> list[Trials]:
    """Compares all pairs of crops from the same corpus, dataset and kind of speech.

    Args:
        embed: from waveforms float32 [batch, samples] to embeddings [batch, dimension].
        packed: speech.
        split: whose speakers are heard.
        crop_s: the length of a crop.
    """
    trials: list[Trials] = []
    for speech in packed:
        crops = list(_crops(speech, split, crop_s))
        if not crops:
            continue
        waveform = np.stack([crop.samples for crop in crops])
        embeddings = np.concatenate(
            [embed(waveform[start : start + _BATCH]) for start in range(0, len(crops), _BATCH)]
        )
        trials += _try_pairs(speech, crops, embeddings @ embeddings.T)
    return trials


def load_voice_model(folder: str) -> tuple[VoiceModel, Embed]:
    """Loads the voice model that `training.voices.export` wrote into a folder.

    Returns:
        Its description, and the function that it is.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = f"{folder.rstrip('/')}/{VOICES}"
    with tf.io.gfile.GFile(path) as file:
        described = parse_voice_model(file.read(), path)
    model = load_saved_model(folder)
    signature = model.signatures["serving_default"]

    def embed(waveform: Samples) -> Samples:
        return signature(waveform=tf.constant(waveform))["embedding"].numpy()  # type: ignore[no-any-return]

    return described, embed


def format_trials(trials: Sequence[Trials]) -> str:
    """Returns a table to print."""
    lines = [f"{'dataset':20} {'kind':10} {'pairs':12} speakers     same  different  equal error"]
    lines += [
        f"{one.dataset:20} {one.kind:10} {one.pairs:12} {one.num_voices:8} {one.num_same:8} "
        f"{one.num_different:10} {one.equal_error_rate:11.1%}"
        for one in trials
    ]
    return "\n".join(lines)


@dataclasses.dataclass(frozen=True, slots=True, eq=False)
class _Crop:
    voice: str
    gender: str
    mixture: str
    samples: Samples


def _crops(speech: Speech, split: Split, crop_s: float) -> Iterator[_Crop]:
    """Yields crops of each voice, of one mixture each where there is enough of it."""
    by_voice = defaultdict(list)
    for piece in speech.pieces:
        if piece.split == split:
            by_voice[piece.voice].append(piece)
    length = round(crop_s * speech.sample_rate)
    for voice, pieces in sorted(by_voice.items()):
        samples = np.concatenate([speech.pcm[piece.start : piece.stop] for piece in pieces])
        mixtures = np.repeat(np.arange(len(pieces)), [piece.stop - piece.start for piece in pieces])
        starts = range(0, len(samples) - length + 1, length)[:_MAX_CROPS_PER_VOICE]
        for start in starts:
            names = {pieces[n].mixture for n in mixtures[[start, start + length - 1]]}
            yield _Crop(
                voice=voice,
                gender=pieces[0].gender,
                mixture=names.pop() if len(names) == 1 else "",
                samples=to_samples(samples[start : start + length]),
            )


def _try_pairs(speech: Speech, crops: Sequence[_Crop], scores: Scores) -> Iterator[Trials]:
    upper = np.triu(np.ones(scores.shape, bool), k=1)
    corpora = np.array([crop.voice.rpartition("/")[0] for crop in crops])
    upper &= corpora[:, np.newaxis] == corpora
    voices = np.array([crop.voice for crop in crops])
    same = voices[:, np.newaxis] == voices
    gender = np.array([crop.gender for crop in crops])
    mixture = np.array([crop.mixture for crop in crops])
    chosen = {
        "all": upper,
        "same gender": upper & (gender[:, np.newaxis] == gender) & (gender != ""),
        "same mixture": upper & (mixture[:, np.newaxis] == mixture) & (mixture != ""),
    }
    for pairs, mask in chosen.items():
        ones, others = scores[mask & same], scores[mask & ~same]
        if len(ones) and len(others):
            yield Trials(
                dataset=speech.dataset,
                kind=speech.kind,
                pairs=pairs,
                num_voices=len(np.unique(voices[mask.any(axis=0) | mask.any(axis=1)])),
                num_same=len(ones),
                num_different=len(others),
                equal_error_rate=round(equal_error_rate(ones, others), 4),
            )
