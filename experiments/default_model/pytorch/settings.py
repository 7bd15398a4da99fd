"""The numbers of the training in PyTorch, read from `settings.json`."""

import dataclasses
import json
from pathlib import Path
from typing import Literal

_PATH = Path(__file__).with_name("settings.json")

Range = tuple[float, float]


@dataclasses.dataclass(frozen=True)
class SpeechSettings:
    """Settings of packing speech, noise and rooms.

    Attributes:
        max_utterances_per_speaker: at most this many, spread evenly over those of a speaker.
        min_speaker_s: speakers with less speech than this are left out.
        level_rms: the RMS level of each utterance and each noise, full scale being 1.
        max_pause_s: longer pauses are shortened to this.
        pause_db: pauses are quieter than this, relative to the loud parts of the utterance.
        num_rooms: simulated rooms.
        response_samples: the length of each room response.
        speech_bits_per_s: the bit rate of speech, in Opus.
        noise_bits_per_s: the bit rate of noise.
    """

    max_utterances_per_speaker: int
    min_speaker_s: float
    level_rms: float
    max_pause_s: float
    pause_db: float
    num_rooms: int
    response_samples: int
    speech_bits_per_s: float
    noise_bits_per_s: float


@dataclasses.dataclass(frozen=True)
class MixtureSettings:
    """Settings of drawing mixtures; ranges are uniform unless they are said to be log-uniform.

    Attributes:
        speed: the range of playing speeds, log-uniform; they change pitch and tempo.
        envelope_warp: the range of factors that stretch a spectral envelope along frequency,
            log-uniform.
        unwarped_share: the share of sources whose envelope is left alone.
        max_warp_nepers: the most that warping an envelope changes any of its values.
        microphone_nepers: the standard deviation of the first cosine of a microphone's log
            response.
        gain_db: the range of gains of a source.
        corpus_shares: how often a corpus is drawn from, by name, relative to the others; 1 for
            those that are not named.
        two_corpora_share: the share of mixtures whose second speaker comes from a random corpus,
            not from that of the first speaker.
        room_share: the share of mixtures in a room.
        turn_taking_share: the share of mixtures in which the speakers take turns.
        turn_s: the range of lengths of turns, from the beginning of one to that of the next one, in
            seconds; less than a mixture, so that both speakers are heard.
        turn_overlap_s: the range of how long a turn goes on after the next one has begun; less than
            0 for a gap between them, in seconds.
        partly_heard_share: the shares of the other mixtures in which the first and the second
            speaker are heard for a part of the time only.
        heard_part: the range of such parts, 1 being the whole time.
        fade_s: the fades at both ends of a turn or a part, in seconds.
        noise_share: the share of mixtures with noise.
        snr_db: the range of levels of a mixture relative to its noise.
        one_speaker_share: the share of mixtures in which the second speaker is silent.
        telephone_share: the share of mixtures with the band of a telephone.
        companded_share: the share of mixtures that mu-law quantised.
    """

    speed: Range
    envelope_warp: Range
    unwarped_share: float
    max_warp_nepers: float
    microphone_nepers: float
    gain_db: Range
    corpus_shares: dict[str, float]
    two_corpora_share: float
    room_share: float
    turn_taking_share: float
    turn_s: Range
    turn_overlap_s: Range
    partly_heard_share: Range
    heard_part: Range
    fade_s: float
    noise_share: float
    snr_db: Range
    one_speaker_share: float
    telephone_share: float
    companded_share: float


@dataclasses.dataclass(frozen=True)
class TrainingSettings:
    """Settings of training, by AdamW; keys of a `schemas.configuration` keep their names.

    Attributes:
        loss_type: `pit_snr` or `pit_si_sdr`, as `training.losses` defines them.
        batch_size: in mixtures.
        learning_rate: after the warm-up.
        learning_rate_warmup_steps: steps in which the learning rate rises to `learning_rate`.
        constant_learning_rate_share: the share of the time before the learning rate falls, along
            half a cosine.
        final_learning_rate_share: the learning rate at the end, as a share of `learning_rate`.
        weight_decay: of AdamW.
        gradient_clip_norm: the norm to which larger gradients are scaled down.
        weight_averaging: the share of itself that the running mean of the weights keeps in a step.
        num_validation_mixtures: mixtures of speakers who are not trained on.
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
    """The content of `settings.json`.

    Attributes:
        speech: of packing speech, noise and rooms.
        mixtures: of drawing mixtures to train on.
        training: of training the network.
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
