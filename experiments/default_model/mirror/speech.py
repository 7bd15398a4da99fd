"""Packs what the mirror trains on: `python -m experiments.default_model.mirror.speech --help`.

The folder gets the speech of each corpus, speaker by speaker, `speech-0.flac` and so on;
`noise.flac`; `rooms.npy`, int16 [rooms, speakers, samples]; last `speakers.json`, which says who is
where. Speakers are split as `experiments.default_model` splits them.
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from beam_jobs.audio.decoding import read_segment
from beam_jobs.audio.types import UnusableAudioError
from beam_jobs.corpora.catalogue_transforms import find_utterances
from beam_jobs.corpora.headers import catalogue_utterance
from beam_jobs.corpora.layout import Corpus, parse_corpora
from beam_jobs.corpora.sounds import parse_sounds
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.random_numbers import keyed_uniforms
from beam_jobs.recipes.scene import draw_simulated_rooms
from beam_jobs.recipes.splits import parse_shares, split_by_shares
from beam_jobs.rendering.rooms import simulate_response
from beam_jobs.runtime.dead_letters import Rejected
from beam_jobs.storage import files
from experiments.default_model.__main__ import SAMPLE_RATE, SPLITS, recipe_path
from experiments.default_model.mirror import NOISE, ROOMS, SPEAKERS
from schemas.errors import UserError
from schemas.pcm import MAX_PCM, Samples
from schemas.recipe import Utterance
from schemas.recipe_config import SimulatedRooms

_MAX_UTTERANCES_PER_SPEAKER = 60
_NUM_ROOMS = 300
_RESPONSE_SAMPLES = 4096

_RMS = 0.06
# Mixtures are drawn from any place in the speech: where there is none, there is nothing to learn.
_MAX_PAUSE_S = 0.25
_PAUSE_DB = -32.0
_STEP = SAMPLE_RATE // 40


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; the exit code is 0, or 1 after an error."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.default_model.mirror.speech",
        description=__doc__,
        allow_abbrev=False,
    )
    parser.add_argument("--corpus", action="append", required=True, help="clean speech")
    parser.add_argument("--noise", required=True, help="a folder of noise")
    parser.add_argument("--output", required=True, type=Path, help="the folder that is made")
    options = parser.parse_args(arguments)
    try:
        corpora = parse_corpora(options.corpus)
        noise = parse_sounds("noise", options.noise)
        options.output.mkdir(parents=True, exist_ok=True)
        speakers = []
        for number, corpus in enumerate(corpora):
            speakers += _pack_speech(corpus, options.output / f"speech-{number}.flac")
        sounds = [level(read(noise, sound)) for sound in utterances(noise)]
        _write(options.output / NOISE, np.concatenate(sounds))
        np.save(options.output / ROOMS, simulate_rooms(_NUM_ROOMS))
        (options.output / SPEAKERS).write_text(json.dumps(speakers, indent=1) + "\n")
    except (UserError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def utterances(corpus: Corpus) -> Iterator[Utterance]:
    """What can be used of a corpus; what can't is said."""
    for found in find_utterances(corpus):
        one = catalogue_utterance(*found, prefix_names=False)
        if isinstance(one, Rejected):
            print(f"left out: {one.path}: {one.reason}", file=sys.stderr)
        else:
            yield one


def read(corpus: Corpus, utterance: Utterance) -> Samples:
    """Float32 [samples], at the sample rate of the model; none where it can't be decoded."""
    path = files.join(corpus.root, utterance.path)
    try:
        samples = read_segment(path, utterance.start, utterance.stop)
    except UnusableAudioError as error:
        print(f"left out: {path}: {error}", file=sys.stderr)
        return np.zeros(0, np.float32)
    return soxr.resample(samples, utterance.sample_rate, SAMPLE_RATE)  # type: ignore[no-any-return]


def shorten_pauses(samples: Samples) -> Samples:
    """Leaves out what is further than a quarter of a second from anything that is said."""
    steps = samples[: len(samples) // _STEP * _STEP].reshape(-1, _STEP)
    if not len(steps):
        return samples
    rms = np.sqrt(np.mean(np.square(steps), axis=1))
    is_loud = rms > np.quantile(rms, 0.95) * 10 ** (_PAUSE_DB / 20)
    reach = round(_MAX_PAUSE_S / 2 * SAMPLE_RATE / _STEP)
    is_near = np.convolve(is_loud, np.ones(2 * reach + 1), mode="same") > 0
    return steps[is_near].ravel()


def level(samples: Samples) -> Samples:
    """At the level that everything is packed with."""
    rms = float(np.sqrt(np.mean(np.square(samples)))) if len(samples) else 0.0
    return np.clip(samples * np.float32(_RMS / rms), -1, 1) if rms else samples[:0]


def simulate_rooms(number: int) -> npt.NDArray[np.int16]:
    """Responses of rooms as in the recipe `train_far`, each with a place for two speakers.

    Returns:
        int16 [rooms, speakers, samples], each response of unit energy.
    """
    config = load_recipe_config(str(recipe_path("train_far")))
    if not isinstance(config.rooms, SimulatedRooms):
        raise UserError("train_far: its rooms are not simulated")
    responses = np.zeros((number, config.num_speakers, _RESPONSE_SAMPLES), np.float32)
    for room, uniforms in ((n, keyed_uniforms("mirror", n)) for n in range(number)):
        places = draw_simulated_rooms(config.rooms, config.num_speakers, uniforms)
        for speaker, place in enumerate(places):
            response = simulate_response(place, SAMPLE_RATE)
            start = response.direct_part.start
            samples = response.samples[start : start + _RESPONSE_SAMPLES]
            responses[room, speaker, : len(samples)] = samples / np.linalg.norm(samples)
    quantised: npt.NDArray[np.int16] = np.round(responses * MAX_PCM).astype(np.int16)
    return quantised


def _pack_speech(corpus: Corpus, path: Path) -> list[dict[str, object]]:
    """Writes the speech of a corpus, speaker by speaker.

    Returns:
        Of each speaker, who it is and where.
    """
    by_speaker = defaultdict(list)
    for utterance in sorted(utterances(corpus), key=lambda one: one.id):
        by_speaker[utterance.speaker].append(utterance)
    splits = split_by_shares(by_speaker, parse_shares(SPLITS), min_speakers=2)
    speakers: list[dict[str, object]] = []
    pieces, start = [], 0
    for speaker, spoken in by_speaker.items():
        few = spoken[:: -(-len(spoken) // _MAX_UTTERANCES_PER_SPEAKER)]
        piece = np.concatenate([level(shorten_pauses(read(corpus, one))) for one in few])
        stop = start + len(piece)
        # Mixtures are longer than this, and repeat what is shorter.
        if len(piece) >= 2 * SAMPLE_RATE:
            where = {"file": path.name, "start": start, "stop": stop}
            speakers.append({"speaker": speaker, "split": splits[speaker]} | where)
            pieces.append(piece)
            start = stop
    if not pieces:
        raise UserError(f"{corpus.root}: nobody speaks for two seconds in it")
    _write(path, np.concatenate(pieces))
    return speakers


def _write(path: Path, samples: Samples) -> None:
    soundfile.write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


if __name__ == "__main__":
    sys.exit(main())
