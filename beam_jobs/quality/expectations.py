"""What a recipe configuration asks for, beside what came of it."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from beam_jobs.quality.measures import HISTOGRAMS, Quality
from schemas.recipe_config import (
    Choices,
    Conversation,
    Distribution,
    LogNormal,
    RecipeConfig,
    SimulatedRooms,
)

# A share that is further off than this is not so by rounding.
_TOLERANCE = 0.01


def asked_documents(
    quality: Quality, config: RecipeConfig, genders: npt.NDArray[np.str_]
) -> list[dict[str, str]]:
    """The part `asked` of `quality.json`: what is a number in both.

    Args:
        quality: of all shards.
        config: what recipes are drawn from.
        genders: of all utterances, [utterances].
    """
    return [
        *_timing(quality, config),
        *_levels(quality, config),
        *(_turns(quality, config, config.conversation) if config.conversation else ()),
        *_scene(quality, config),
        *_genders(quality, config.same_gender_share, genders),
    ]


def _timing(quality: Quality, config: RecipeConfig) -> Iterator[dict[str, str]]:
    if config.num_speakers == 1 or config.length != "max":
        return
    if config.offset_s is not None:
        yield from _compare(quality, "Shift of a source", config.offset_s, "offset_s")
    if config.overlap_ratio is not None:
        note = ""
        if quality.histograms["overlap_ratio"].low < config.overlap_ratio.low - _TOLERANCE:
            note = "; as near as the lengths of the utterances allow"
        title = "Share in which sources overlap"
        yield from _compare(quality, title, config.overlap_ratio, "overlap_ratio", note)


def _levels(quality: Quality, config: RecipeConfig) -> Iterator[dict[str, str]]:
    if config.level_kind == "loudness_lufs":
        yield from _compare(quality, "Loudness of a source", config.level, "loudness_lufs")
    if config.level_kind == "relative_db" and config.num_speakers == 2:
        yield from _compare(quality, "Level over the other", config.level, "level_difference_db")


def _turns(
    quality: Quality, config: RecipeConfig, conversation: Conversation
) -> Iterator[dict[str, str]]:
    yield from _compare(quality, "Pause of a speaker", conversation.pause_s, "pause_s")
    yield from _compare(quality, "Gap between speakers", conversation.gap_s, "gap_s")
    yield from _compare(quality, "Overlap of speakers", conversation.overlap_s, "turn_overlap_s")
    overlaps, gaps = (
        quality.histograms[name].counts.total() for name in ("turn_overlap_s", "gap_s")
    )
    if overlaps + gaps:
        yield {
            "title": "Changes of speaker that overlap",
            "asked": f"{conversation.overlap_probability:.1%}",
            "achieved": f"{overlaps / (overlaps + gaps):.1%}",
        }
    if config.length != "max":
        return
    note = ""
    if quality.histograms["speech_s"].low < conversation.speech_s / 2:
        note = "; who has fewer utterances takes fewer turns"
    yield {
        "title": "Speech in a conversation",
        "asked": f"about {conversation.speech_s:g} s",
        "achieved": _achieved(quality, "speech_s") + note,
    }


def _scene(quality: Quality, config: RecipeConfig) -> Iterator[dict[str, str]]:
    if config.noise is not None:
        names = {
            "snr_db": ("Sources over noise", "snr_db"),
            "loudness_lufs": ("Loudness of noise", "noise_lufs"),
        }
        title, name = names[config.noise.level_kind]
        yield from _compare(quality, title, config.noise.level, name)
    if isinstance(config.rooms, SimulatedRooms):
        yield from _compare(quality, "Reverberation time", config.rooms.rt60_s, "rt60_s")
    if config.speed is not None:
        yield from _compare(quality, "Speed of an utterance", config.speed, "speed")


def _genders(
    quality: Quality, share: float | None, genders: npt.NDArray[np.str_]
) -> Iterator[dict[str, str]]:
    num_mixtures = quality.genders.total()
    if share is None or not num_mixtures:
        return
    achieved = f"{quality.genders['one'] / num_mixtures:.1%}"
    off = abs(quality.genders["one"] - share * num_mixtures)
    # In a small dataset a mixture more or less is no sign of anything.
    if off > max(2, _TOLERANCE * num_mixtures):
        achieved += ", the nearest that the genders in the corpus make"
    if num_unknown := int((genders == "").sum()):
        achieved += f"; {num_unknown:,} utterances without a gender are left out"
    yield {"title": "Mixtures of one gender", "asked": f"{share:.1%}", "achieved": achieved}


def _compare(
    quality: Quality, title: str, distribution: Distribution, name: str, note: str = ""
) -> Iterator[dict[str, str]]:
    if not quality.histograms[name].counts:
        return
    unit = HISTOGRAMS[name][1]
    achieved = _achieved(quality, name)
    if isinstance(distribution, LogNormal):
        asked = f"median {distribution.median:g} {unit}, log-normal, sigma {distribution.sigma:g}"
        achieved = _achieved(quality, name, "median")
    elif isinstance(distribution, Choices):
        asked = f"{', '.join(f'{value:g}' for value in distribution.values)} {unit}"
    else:
        ends = dict.fromkeys((f"{distribution.low:g}", f"{distribution.high:g}"))
        asked = f"{' to '.join(ends)} {unit}".rstrip()
    yield {"title": title, "asked": asked, "achieved": achieved + note}


def _achieved(quality: Quality, name: str, middle: str = "mean") -> str:
    _, unit, step = HISTOGRAMS[name]
    histogram = quality.histograms[name]
    value = histogram.median(step) if middle == "median" else histogram.mean
    span = f"{histogram.low:.2f} to {histogram.high:.2f} {unit}".rstrip()
    return f"{span}, {middle} {value:.2f}"
