"""Speech as it comes out of the codecs that FFmpeg has, packet by packet.

PyAV is an optional dependency, so import this module only when a codec needs it.
"""

import math
from collections.abc import Iterator
from typing import Any, TypeAlias

import av
import numpy as np
from av.audio.codeccontext import AudioCodecContext

from schemas.pcm import Samples, to_pcm, to_samples
from schemas.transmission import Codec

# Encoder and decoder of each codec. FFmpeg's own decoders do not conceal what is lost.
LIBRARIES = {"amr_nb": "libopencore_amrnb", "opus": "libopus"}

_Packet: TypeAlias = "av.Packet[Any]"

# In samples of what the decoder gives. AMR's encoder looks 5 ms ahead. Opus says 312, at 48 kHz;
# it has a little more while it sends nothing above 4 kHz, and less otherwise.
_AMR_DELAY = 40
_OPUS_NARROWBAND_DELAY, _OPUS_DELAY = 314, 310

# A frame of AMR of the type 15, "no data".
_AMR_NO_DATA = bytes([15 << 3 | 4])


def is_available(codec_name: str) -> bool:
    """Returns whether this PyAV has a codec, to encode and to decode."""
    return LIBRARIES[codec_name] in av.codecs_available


def through_pyav(samples: Samples, sample_rate: int, codec: Codec) -> tuple[Samples, int]:
    """Encodes a signal, loses packets, and decodes the others.

    Decoders conceal a lost packet themselves when they get one without content in its place.

    Args:
        samples: float32 [samples].
        sample_rate: in Hz, one that the codec has.
        codec: with a bit rate.

    Returns:
        float32 [samples], without the codec's delay, with silence behind it; and its rate.
    """
    assert codec.kbps is not None
    library = LIBRARIES[codec.name]
    encoder = av.CodecContext.create(library, "w")
    assert isinstance(encoder, AudioCodecContext)
    encoder.sample_rate, encoder.layout, encoder.format = sample_rate, "mono", "s16"
    encoder.bit_rate = round(1000 * codec.kbps)
    if codec.name == "opus":
        # The effort of telephones; that of computers takes half as long again.
        encoder.options = {"application": "voip", "compression_level": "5"}
    encoder.open()
    decoder = av.CodecContext.create(library, "r")
    assert isinstance(decoder, AudioCodecContext)
    decoder.sample_rate, decoder.layout = sample_rate, "mono"
    lost = set(codec.lost_packets)
    decoded = []
    packets = list(_encode(samples, encoder))
    for number, packet in enumerate(packets):
        received = _empty_packet(packet, codec) if number in lost else packet
        decoded += [frame.to_ndarray()[0] for frame in decoder.decode(received)]
    heard = to_samples(np.concatenate(decoded))
    return heard[_delay(packets[0], codec) :], decoder.sample_rate


def _delay(packet: "_Packet", codec: Codec) -> int:
    if codec.name == "amr_nb":
        return _AMR_DELAY
    # The first five bits tell the mode; the first four modes have 4 kHz of speech (RFC 6716, 3.1).
    return _OPUS_NARROWBAND_DELAY if bytes(packet)[0] >> 3 < 4 else _OPUS_DELAY


def _encode(samples: Samples, encoder: AudioCodecContext) -> Iterator["_Packet"]:
    size = encoder.frame_size
    # What comes out is late: one frame more brings out the end.
    num_frames = math.ceil(len(samples) / size) + 1
    pcm = np.zeros((1, num_frames * size), np.int16)
    pcm[0, : len(samples)] = to_pcm(samples)
    for start in range(0, pcm.shape[1], size):
        frame = av.AudioFrame.from_ndarray(pcm[:, start : start + size], "s16", "mono")
        frame.sample_rate, frame.pts = encoder.sample_rate, start
        yield from encoder.encode(frame)
    yield from encoder.encode(None)


def _empty_packet(packet: "_Packet", codec: Codec) -> "_Packet":
    # The first byte of Opus's tells how long the packet is (RFC 6716, 3.1).
    return av.Packet(_AMR_NO_DATA if codec.name == "amr_nb" else bytes(packet)[:1])
