"""Speaks a small corpus with espeak-ng: `SPEAKER/UTTERANCE.wav`, a different voice in each folder.

python -m demo.speak_corpus --output FOLDER [--num_voices 40] [--num_utterances 5]
"""

import argparse
import ctypes
import itertools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import espeakng_loader
import numpy as np
import soundfile
from numpy.typing import NDArray

# From espeak-ng's speak_lib.h.
_SYNCHRONOUS, _DONT_EXIT, _UTF8, _OK = 2, 0x8000, 1, 0
_RATE, _VOLUME, _PITCH = 1, 2, 3
_SynthCallback = ctypes.CFUNCTYPE(
    ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p
)

# The numbers of accents and timbres have no common factor, so stepping through both at once yields
# every pair.
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-029", "en-gb-x-gbclan", "en-us-nyc", "en-gb-x-rp")
TIMBRES = (
    *("Alicia", "Reed", "anika", "norbert", "zac", "Marco", "Andrea", "gustave", "aunty", "Lee"),
    *("caleb", "boris", "steph3", "ian", "Annie", "Andy", "grandma", "travis", "shelby", "pablo"),
    *("f2", "Gene", "linda", "Hugo", "f1", "Storm", "belinda", "kaukovalta", "f5", "sandro"),
    *("Nguyen", "michel", "f3", "Alex", "ed", "edward", "antonio", "Mario", "quincy", "pedro"),
)
PITCHES = (50, 30, 65, 40)
WORDS_PER_MINUTE = (165, 150, 180)

SENTENCES = (
    "The ferry leaves the harbour at seven, and nobody waits for a late passenger.",
    "My grandmother kept her recipes in a tin box under the kitchen window.",
    "Two engineers argued about the bridge until the river settled the question.",
    "Please put the blue folder back on the shelf before the meeting starts.",
    "A quiet room is the most expensive thing that a studio can buy.",
    "Snow fell all night, so in the morning the whole valley sounded like cotton.",
    "The children counted eleven geese, then twelve, and then lost count completely.",
    "He repaired old radios for a living and listened to new ones for pleasure.",
    "If the train is late again, we will walk along the canal instead.",
    "Her first violin had three strings, a crack, and a wonderful temper.",
    "Every speaker in this room believes that everybody else is the noise.",
    "The baker opens at five because the fishermen want warm bread at sea.",
    "Nobody remembers who planted the oak, but everyone complains about its leaves.",
    "We measured the corridor twice and got three different answers.",
    "On Thursdays the library smells of coffee, wet coats and old paper.",
    "The pilot spoke slowly, as if each word had to be landed separately.",
    "Turn left after the post office and follow the sound of the market.",
    "A good question is worth more than a drawer full of ready answers.",
    "The theatre was empty, yet the actors bowed as they always had.",
    "Tomorrow we will paint the fence, unless the weather has other plans.",
)


class Voice(NamedTuple):
    """The voice of a speaker; the pitch is in espeak's units of 0 to 100."""

    accent: str
    timbre: str
    pitch: int
    words_per_minute: int

    @property
    def name(self) -> str:
        """The speaker's name, and that of the folder."""
        return f"{self.timbre.lower()}-{self.accent}"


def choose_voices(num_voices: int) -> list[Voice]:
    """Returns voices of espeak-ng that are all different, the same ones every time.

    Raises:
        ValueError: there are fewer voices.
    """
    if not 1 <= num_voices <= len(ACCENTS) * len(TIMBRES):
        raise ValueError(f"--num_voices is 1 to {len(ACCENTS) * len(TIMBRES)}, not {num_voices}")
    cycles = (itertools.cycle(values) for values in (ACCENTS, TIMBRES, PITCHES, WORDS_PER_MINUTE))
    return [Voice(*traits) for traits in itertools.islice(zip(*cycles, strict=True), num_voices)]


class Synthesizer:
    """The espeak-ng library. A process can have only one.

    It carries the phase of flutter and noise from one text to the next, so a new process that
    speaks the same texts in the same order gets the same samples.

    Attributes:
        sample_rate: the sample rate of the speech, in Hz.
    """

    def __init__(self) -> None:
        self._library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.sample_rate: int = self._library.espeak_Initialize(
            _SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), _DONT_EXIT
        )
        if self.sample_rate <= 0:
            raise RuntimeError("espeak-ng does not start: install espeakng-loader again")
        # Breath is noise, which is otherwise seeded with the time.
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(1))
        self._spoken: list[NDArray[np.int16]] = []
        # Keep a reference: ctypes does not know that the library still calls it.
        self._callback = _SynthCallback(self._keep)
        self._library.espeak_SetSynthCallback(self._callback)

    def speak(self, voice: Voice, text: str) -> NDArray[np.int16]:
        """Speaks an utterance, int16 [samples]."""
        self._spoken.clear()
        characters = text.encode()
        parameters = ((_RATE, voice.words_per_minute), (_VOLUME, 60), (_PITCH, voice.pitch))
        results = [
            self._library.espeak_SetVoiceByName(f"{voice.accent}+{voice.timbre}".encode()),
            *(self._library.espeak_SetParameter(*parameter, 0) for parameter in parameters),
            self._library.espeak_Synth(characters, len(characters) + 1, 0, 0, 0, _UTF8, None, None),
        ]
        if any(result != _OK for result in results):
            raise RuntimeError(f"espeak-ng can't speak as {voice}: {results}")
        return np.concatenate(self._spoken)

    def _keep(self, samples: "ctypes._Pointer[ctypes.c_short]", num_samples: int, _: int) -> int:
        if num_samples:
            self._spoken.append(np.ctypeslib.as_array(samples, (num_samples,)).copy())
        return 0


def speak_corpus(folder: Path, *, num_voices: int, num_utterances: int) -> float:
    """Writes 16-bit WAV files of two sentences for each voice.

    Returns:
        The total duration in seconds.
    """
    synthesizer = Synthesizer()
    num_samples = 0
    for index, voice in enumerate(choose_voices(num_voices)):
        (folder / voice.name).mkdir(parents=True, exist_ok=True)
        for number in range(num_utterances):
            first = index + 2 * number
            text = " ".join(SENTENCES[n % len(SENTENCES)] for n in (first, first + 1))
            samples = synthesizer.speak(voice, text)
            path = folder / voice.name / f"{number:02}.wav"
            soundfile.write(path, samples, synthesizer.sample_rate, subtype="PCM_16")
            num_samples += len(samples)
    return num_samples / synthesizer.sample_rate


def main(argv: Sequence[str]) -> None:
    """Runs the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m demo.speak_corpus", description="Speaks a small corpus with espeak-ng."
    )
    parser.add_argument("--output", type=Path, required=True, help="the folder of the corpus")
    parser.add_argument("--num_voices", type=int, default=40, help="speakers (default: 40)")
    parser.add_argument(
        "--num_utterances", type=int, default=5, help="utterances of each speaker (default: 5)"
    )
    arguments = parser.parse_args(argv)
    try:
        duration_s = speak_corpus(
            arguments.output,
            num_voices=arguments.num_voices,
            num_utterances=arguments.num_utterances,
        )
    except (ValueError, OSError) as error:
        parser.exit(1, f"speak_corpus: {error}\n")
    print(
        f"spoke {arguments.num_voices * arguments.num_utterances} utterances in"
        f" {arguments.num_voices} voices, {duration_s / 60:.1f} minutes, in {arguments.output}"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
