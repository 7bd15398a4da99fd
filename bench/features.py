"""Measures the time that each feature of a recipe adds to a mixture, in one process.

python -m bench.features [MIXTURES]   (default: 60 of each kind, three times; the best counts)

Mixtures of generated sound are drawn, rendered, measured and encoded, as in the job.
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

from beam_jobs.corpora.catalogue import SCHEMA, Catalogue
from beam_jobs.corpora.clean_enough import measure_utterance
from beam_jobs.quality.measurements import Measurements
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.rendering.part_reader import PartReader
from beam_jobs.rendering.render import encode_mixture, render
from beam_jobs.rendering.scratch import Scratch
from beam_jobs.runtime.workarounds import keep_freed_memory
from schemas.recipe import Utterance
from schemas.recipe_config import parse_recipe_config

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
TELEPHONE_BAND = {"band": {"low_hz": 300, "high_hz": 3400}}
ROOM = {"length_m": 6, "width_m": 5, "height_m": 3, "distance_m": 1}
FOUR_USES = {"max_utterances_per_speaker": 1, "max_uses_per_shard": 4}
EVENTS = {"number": 3, "snr_db": 5, "length_s": 2}
FEATURES = {
    "plain overlay": {},
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
    "telephone band": {"transmission": [TELEPHONE_BAND]},
    "clipping": {"transmission": [{"clipping": {"below_peak_db": 6}}]},
    "automatic gain": {"transmission": [{"automatic_gain": {"level_dbfs": -20}}]},
    "mu-law": {"transmission": [{"mu_law": {}}]},
    "mu-law, 5 % lost": {"transmission": [{"mu_law": {"packet_loss": 0.05}}]},
    "GSM": {"transmission": [{"gsm": {}}]},
    "MP3, 32 kbit/s": {"transmission": [{"mp3": {"kbps": 32}}]},
    "AMR, 12.2 kbit/s": {"transmission": [{"amr_nb": {"kbps": 12.2}}]},
    "Opus, 16 kbit/s": {"transmission": [{"opus": {"kbps": 16}}]},
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


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        files = write_sounds(root, "speech", 60, (10, 16))
        files += write_sounds(root, "noise", 10, (5, 30)) + write_sounds(
            root, "rooms", 10, (0.4, 0.6)
        )
        roots = {name: str(root / name) for name in ("speech", "noise", "rooms")}
        plans = {}
        for name, changes in FEATURES.items():
            config = parse_recipe_config(json.dumps(OVERLAY | changes), name)
            sounds = {"noise": "noise" in changes, "rooms": changes.get("rooms") == "recorded"}
            rows = [dataclasses.asdict(file) for file in files if sounds.get(file.corpus, True)]
            options = PlanOptions(
                config=config,
                seed=0,
                shares={"train": 1.0, "validation": 0.0, "test": 0.0},
                num_mixtures=count,
                num_shards=1,
                sounds={name: name for name, is_on in sounds.items() if is_on},
            )
            plans[name] = DrawnPlan(Catalogue(pa.Table.from_pylist(rows, schema=SCHEMA)), options)
        for plan in plans.values():
            # Warm up: some modules are imported on first use.
            time_mixture(plan, roots, 2)
        times = {
            name: min(time_mixture(plan, roots, count) for _ in range(NUM_ROUNDS))
            for name, plan in plans.items()
        }
        plain_s = times["plain overlay"]
        times["cleanness of 1 utterance"] = time_cleanness(files, roots)
        print("                        ms a mixture   over the plain one")
        for name, elapsed_s in times.items():
            print(f"{name:24}  {elapsed_s * 1000:9.1f}  {(elapsed_s - plain_s) / plain_s:+16.0%}")


if __name__ == "__main__":
    main()
