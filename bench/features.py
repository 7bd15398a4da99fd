"""Measures the time that each feature of a recipe adds to a mixture, in one process.

python -m bench.features [MIXTURES]   (default: 20 of each kind, three times; the best counts)

Mixtures of generated sound are drawn, rendered, measured and encoded, as in the job. What a feature
that is off costs is the difference between the two lines of plain mixtures.
"""

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile

from beam_jobs.audio.codecs import find_missing
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.corpora.clean_enough import measure_utterance
from beam_jobs.quality.measurements import Measurements
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture, render
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.runtime.workarounds import keep_freed_memory
from schemas.recipe import Utterance
from schemas.recipe_config import RecipeConfig, parse_recipe_config

NUM_ROUNDS = 3
RATE = 16_000

OVERLAY = {
    "version": 1,
    "description": "",
    "num_speakers": 2,
    "offset_s": {"uniform": [1, 5]},
    "level": {"gain_db": 0},
    "max_uses_per_shard": 1,
}
# About as many words as are read in 13 s.
TEXT = " ".join(["transcript"] * 32)
TELEPHONE_BAND = {"band": {"low_hz": 300, "high_hz": 3400}}
ROOM = {"length_m": 6, "width_m": 5, "height_m": 3, "distance_m": 1}
FOUR_USES = {"max_utterances_per_speaker": 1, "max_uses_per_shard": 4}
EVENTS = {"number": 3, "snr_db": 5, "length_s": 2}
FEATURES = {
    "plain overlay": {},
    "plain overlay again": {},
    "1, 2 or 3 speakers": {"num_speakers": {"choices": [1, 2, 3]}},
    "transcripts": {},
    "level in LUFS": {"level": {"loudness_lufs": -28}},
    "crop to 4 s": {"length": 4.0},
    "resampling to 8 kHz": {"sample_rate": 8000},
    "enrolment of 5 s": {"enrolment_s": 5},
    "speed": {"speed": {"choices": [0.9, 1.1]}},
    "noise, SNR": {"noise": {"snr_db": 10}},
    "noise, LUFS": {"noise": {"loudness_lufs": -35}},
    "noise and 3 events, SNR": {"noise": {"background": {"snr_db": 10}, "events": EVENTS}},
    "recorded room": {"rooms": "recorded"},
    "simulated room, 0.2 s": {"rooms": {"simulated": ROOM | {"rt60_s": 0.2}}},
    "simulated room, 0.4 s": {"rooms": {"simulated": ROOM | {"rt60_s": 0.4}}},
    "the same, used 4 times": {"rooms": {"simulated": ROOM | {"rt60_s": 0.4}}} | FOUR_USES,
    "transmission as it is": {"transmission": []},
    "telephone band": {"transmission": [TELEPHONE_BAND]},
    "clipping": {"transmission": [{"clipping": {"below_peak_db": 6}}]},
    "automatic gain": {"transmission": [{"automatic_gain": {"level_dbfs": -20}}]},
    "mu-law": {"transmission": [{"mu_law": {}}]},
    "mu-law, 5 % lost": {"transmission": [{"mu_law": {"packet_loss": 0.05}}]},
    "A-law": {"transmission": [{"a_law": {}}]},
    "A-law, 5 % lost": {"transmission": [{"a_law": {"packet_loss": 0.05}}]},
    "GSM": {"transmission": [{"gsm": {}}]},
    "GSM, 5 % lost": {"transmission": [{"gsm": {"packet_loss": 0.05}}]},
    "MP3, 32 kbit/s": {"transmission": [{"mp3": {"kbps": 32}}]},
    "AMR, 4.75 kbit/s": {"transmission": [{"amr_nb": {"kbps": 4.75}}]},
    "AMR, 12.2 kbit/s": {"transmission": [{"amr_nb": {"kbps": 12.2}}]},
    "AMR, 12.2, 5 % lost": {"transmission": [{"amr_nb": {"kbps": 12.2, "packet_loss": 0.05}}]},
    "Opus, 6 kbit/s": {"transmission": [{"opus": {"kbps": 6}}]},
    "Opus, 24 kbit/s": {"transmission": [{"opus": {"kbps": 24}}]},
    "Opus, 24, 5 % lost": {"transmission": [{"opus": {"kbps": 24, "packet_loss": 0.05}}]},
}


def write_sounds(root: Path, corpus: str, count: int, durations_s: tuple[float, float]) -> list:
    """Writes FLAC files of noise with changing loudness; returns their rows in a catalogue."""
    rng = np.random.default_rng(count)
    sounds = []
    for number in range(count):
        num_samples = int(rng.uniform(*durations_s) * RATE)
        envelope = np.repeat(rng.random(num_samples // 1600 + 1), 1600)[:num_samples]
        if corpus == "rooms":
            envelope = np.exp(-np.arange(num_samples) / 1000)
        path = f"{number}.flac"
        (root / corpus).mkdir(exist_ok=True)
        soundfile.write(root / corpus / path, 0.1 * envelope * rng.normal(size=num_samples), RATE)
        name, speaker = f"{corpus}/{number}", f"{corpus}/{number // 2}"
        sounds.append(Utterance(name, corpus, path, speaker, "", "", 0, num_samples, RATE, 1))
    return sounds


def time_mixture(plan: DrawnPlan, roots: dict[str, str], count: int) -> float:
    """Returns the processor time of a mixture, in seconds."""
    reader, scratch, measurements = PartReader(roots), Scratch(), Measurements()
    drafts = [draft for shard in plan.shards for draft in plan.drafts(shard)][:count]
    start = time.process_time()
    for draft in drafts:
        mixture = render(draft.recipe, reader, scratch)
        encode_mixture(mixture)
        measurements.measure(mixture)
    return (time.process_time() - start) / count


def time_cleanness(files: list[Utterance], roots: dict[str, str]) -> float:
    """Returns the processor time of decoding and measuring an utterance, in seconds."""
    speech = [file for file in files if file.corpus == "speech"]
    start = time.process_time()
    for utterance in speech:
        measure_utterance(utterance, roots["speech"])
    return (time.process_time() - start) / len(speech)


def make_plan(config: RecipeConfig, rows: list[dict], count: int, *sounds: str) -> DrawnPlan:
    """Plans mixtures of the utterances and sounds in the rows of a catalogue."""
    options = PlanOptions(
        config=config,
        seed=0,
        shares={"train": 1.0, "validation": 0.0, "test": 0.0},
        num_mixtures=count,
        num_shards=1,
        sounds={name: name for name in sounds},
    )
    return DrawnPlan(Catalogue(pa.Table.from_pylist(rows, schema=SCHEMA)), options)


def time_planning(config: RecipeConfig, count: int) -> float:
    """Returns the processor time of planning a conversation of about 40 utterances, in seconds."""
    rng = np.random.default_rng(0)
    rows = [
        dataclasses.asdict(
            Utterance(
                f"{speaker}/{number}", "speech", "", f"s{speaker}", "", "", 0, frames, RATE, 1
            )
        )
        for speaker in range(8)
        for number, frames in enumerate((rng.uniform(2, 7, 60) * RATE).astype(int).tolist())
    ]
    start = time.process_time()
    plan = make_plan(config, rows, count)
    for shard in plan.shards:
        list(plan.drafts(shard))
    return (time.process_time() - start) / count


def time_conversations(count: int) -> dict[str, float]:
    """Returns the processor times of planning conversations, without the keys of meetings and with
    them, in seconds."""
    meeting = load_recipe_config("meeting")
    asked = meeting.conversation
    plain = dataclasses.replace(
        asked, pause_probability=None, dominance=None, backchannels=None, three_at_once=None
    )
    configs = {
        "planning a conversation": dataclasses.replace(meeting, conversation=plain),
        "planning a meeting": meeting,
    }
    return {
        name: min(time_planning(config, count) for _ in range(NUM_ROUNDS))
        for name, config in configs.items()
    }


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        # Two of a speaker, so that those used four times are as many mixtures as the others.
        files = write_sounds(root, "speech", count, (10, 16))
        files += write_sounds(root, "noise", 10, (5, 30)) + write_sounds(
            root, "rooms", 10, (0.4, 0.6)
        )
        roots = {name: str(root / name) for name in ("speech", "noise", "rooms")}
        plans = {}
        for name, changes in FEATURES.items():
            config = parse_recipe_config(json.dumps(OVERLAY | changes), name)
            if missing := find_missing(config.codecs):
                print(f"{name}: left out: {missing}")
                continue
            sounds = {"noise": "noise" in changes, "rooms": changes.get("rooms") == "recorded"}
            rows = [dataclasses.asdict(file) for file in files if sounds.get(file.corpus, True)]
            if name == "transcripts":
                rows = [row | {"text": TEXT, "language": "en"} for row in rows]
            plans[name] = make_plan(
                config, rows, count, *(sound for sound, is_on in sounds.items() if is_on)
            )
        for plan in plans.values():
            # Warm up: some modules are imported on first use.
            time_mixture(plan, roots, 2)
        times = {
            name: min(time_mixture(plan, roots, count) for _ in range(NUM_ROUNDS))
            for name, plan in plans.items()
        }
        plain_s = times["plain overlay"]
        print("                        ms a mixture   over the plain one")
        for name, elapsed_s in times.items():
            print(f"{name:24}  {elapsed_s * 1000:9.1f}  {(elapsed_s - plain_s) / plain_s:+16.0%}")
        others = time_conversations(count)
        others["cleanness of 1 utterance"] = time_cleanness(files, roots)
        print("                        ms             of a plain mixture")
        for name, elapsed_s in others.items():
            print(f"{name:24}  {elapsed_s * 1000:9.1f}  {elapsed_s / plain_s:16.0%}")


if __name__ == "__main__":
    main()
