"""Embeddings are cleared of what tells of no voice."""

import dataclasses

import numpy as np
import pytest

from schemas.errors import UserError
from training.voices.packed_speech import Piece, Speech
from training.voices.whitening import find_whitening

RATE = 8000
NUM_VOICES, NUM_CROPS = 12, 6


def to_unit(vectors):
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


@pytest.fixture
def speech():
    """Voices that are constants, so that an embedding can be made of them."""
    length = round(NUM_CROPS * 1.1 * RATE)
    pieces = tuple(
        Piece(
            f"corpus/{voice}",
            "",
            "train",
            f"mixtures/{voice}",
            voice * length,
            (voice + 1) * length,
        )
        for voice in range(NUM_VOICES)
    )
    pcm = np.repeat(np.arange(1, NUM_VOICES + 1, dtype=np.int16) * 1000, length)
    return Speech("mixtures", "f" * 64, "clean", RATE, pieces, pcm)


@pytest.fixture
def embed():
    """Embeds a voice as an angle, and chance as something larger at a right angle to it."""
    random = np.random.default_rng(0)

    def embed_one(waveform):
        voices = waveform[:, 0] * 32768 / 1000
        angles = 2 * np.pi * voices / NUM_VOICES
        chance = random.normal(0, 1.5, len(voices))
        every = np.ones(len(voices))
        return to_unit(np.stack([np.cos(angles), np.sin(angles), chance, 2 * every], axis=1))

    return embed_one


def similarity(embeddings, voices):
    """Returns the mean cosine of pairs of one voice, and of pairs of several."""
    cosines = embeddings @ embeddings.T
    same = voices[:, np.newaxis] == voices
    return cosines[same].mean(), cosines[~same].mean()


def test_what_varies_in_one_voice_counts_less_and_what_all_share_not_at_all(speech, embed):
    whitening = find_whitening(embed, [speech])
    voices = np.repeat(np.arange(1, NUM_VOICES + 1), 20)
    raw = embed(voices[:, np.newaxis] * 1000 / 32768)
    whitened = to_unit((raw - whitening.mean) @ whitening.transform)
    same, different = similarity(raw, voices)
    assert different > 0.4
    same_whitened, different_whitened = similarity(whitened, voices)
    assert abs(different_whitened) < 0.1
    assert same_whitened - different_whitened > 1.5 * (same - different)


def test_separated_speech_is_what_is_measured_where_there_is_any(speech, embed):
    separated = dataclasses.replace(speech, kind="separated", pcm=speech.pcm[::-1])
    heard = []

    def listen(waveform):
        heard.append(waveform[0, 0])
        return embed(waveform)

    find_whitening(listen, [speech, separated])
    assert len(heard) == NUM_VOICES
    assert heard[0] == np.float32(NUM_VOICES * 1000 / 32768)


def test_too_little_speech_is_said(speech, embed):
    short = tuple(dataclasses.replace(one, stop=one.start + RATE) for one in speech.pieces)
    with pytest.raises(UserError, match=r"4\.4 s of speech without pauses: pack more"):
        find_whitening(embed, [dataclasses.replace(speech, pieces=short)])
