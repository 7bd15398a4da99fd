"""The numbers of the training in PyTorch, read from `settings.json`."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

_PATH = Path(__file__).with_name("settings.json")

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SpeechSettings:
    """How speech, noise and rooms are packed.

    Attributes:
        max_utterances_per_speaker: spread evenly over all utterances of a speaker.
        min_speaker_s: speakers with less speech than this are left out.
        level_rms: the level of each utterance and each noise, full scale being 1.
        max_pause_s: longer pauses are shortened to this.
        pause_db: pauses are quieter than this, relative to the loud parts of the utterance.
        num_rooms: simulated rooms.
        response_samples: the length of each room response.
    """

    max_utterances_per_speaker: int
    min_speaker_s: float
    level_rms: float
    max_pause_s: float
    pause_db: float
    num_rooms: int
    response_samples: int


@dataclasses.dataclass(frozen=True)
class MixtureSettings:
    """How mixtures to train on are drawn; ranges are uniform, or log-uniform where it says so.

    Attributes:
        speed: of playing, log-uniform; it changes pitch and tempo.
        envelope_warp: the factor along frequency of a spectral envelope, log-uniform.
        unwarped_share: of the sources, whose envelope is left alone.
        max_warp_nepers: the most that warping an envelope changes any of its values.
        microphone_nepers: standard deviation of the first cosine of a microphone's log response.
        gain_db: of each source.
        two_corpora_share: of the mixtures, whose second speaker comes from a random corpus rather
            than from that of the first speaker.
        room_share: of the mixtures.
        partly_heard_share: of the mixtures, in which the first, and the second, speaker is heard
            for a part of the time only.
        heard_part: how large that part is.
        fade_s: at either end of it.
        noise_share: of the mixtures.
        snr_db: the level of the mixture above its noise.
    """

    speed: Range
    envelope_warp: Range
    unwarped_share: float
    max_warp_nepers: float
    microphone_nepers: float
    gain_db: Range
    two_corpora_share: float
    room_share: float
    partly_heard_share: Range
    heard_part: Range
    fade_s: float
    noise_share: float
    snr_db: Range


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """How the network is trained, by AdamW; names are those of a configuration where it has them.

    Attributes:
        loss_type: `pit_snr` or `pit_si_sdr`, as `training.losses` defines them.
        batch_size: in mixtures.
        learning_rate: after the warm-up.
        learning_rate_warmup_steps: in which the learning rate rises to `learning_rate`.
        constant_learning_rate_share: of the time, before the learning rate falls by half a cosine.
        final_learning_rate_share: of `learning_rate`, at the end.
        weight_decay: of AdamW.
        gradient_clip_norm: the largest norm of a gradient.
        weight_averaging: the share of itself that the running mean of the weights keeps in a step.
        num_validation_mixtures: of speakers who are not trained on.
    """

    loss_type: Literal["pit_snr", "pit_si_sdr"]
    batch_size: int
    learning_rate: float
    learning_rate_warmup_steps: int
    constant_learning_rate_share: float
    final_learning_rate_share: float
    weight_decay: float
    gradient_clip_norm: float
    weight_averaging: float
    num_validation_mixtures: int


@dataclasses.dataclass(frozen=True)
class Settings:
    """All numbers of the training in PyTorch.

    Attributes:
        speech: how speech, noise and rooms are packed.
        mixtures: how mixtures to train on are drawn.
        training: how the network is trained.
    """

    speech: SpeechSettings
    mixtures: MixtureSettings
    training: TrainingSettings


def read_settings() -> Settings:
    """Reads `settings.json`."""
    document = json.loads(_PATH.read_text("utf-8"))
    mixtures = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in document["mixtures"].items()
    }
    return Settings(
        SpeechSettings(**document["speech"]),
        MixtureSettings(**mixtures),
        TrainingSettings(**document["training"]),
    )
