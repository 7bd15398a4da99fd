"""Measures time and memory of planning alone, for more and more mixtures of a million utterances.

Also measures what each kind of plan costs on one core.

python -m bench.planning [MIXTURES ...]   (default: 100000 1000000 10000000)
"""

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from beam_jobs.build_mixtures import build_parser
from beam_jobs.corpora.catalogue import SCHEMA, Catalogue, write_table
from beam_jobs.dataset import folder as dataset_folder
from beam_jobs.dataset.mixture_options import specify_dataset
from beam_jobs.recipes.drawn_plan import DrawnPlan
from beam_jobs.recipes.plan import PlanOptions
from beam_jobs.recipes.presets import load_recipe_config
from beam_jobs.recipes.splits import parse_shares

NUM_UTTERANCES, NUM_SPEAKERS = 1_000_000, 2_000
NUM_SHARDS = 200

# As long as those of LibriSpeech.
TEXT = "WORD " * 36


def utterances() -> Iterator[pa.Table]:
    for first in range(0, NUM_UTTERANCES, 62_500):
        names = [
            f"{number % NUM_SPEAKERS}/{number // NUM_SPEAKERS:06d}"
            for number in range(first, first + 62_500)
        ]
        columns = {
            "id": names,
            "corpus": ["corpus"] * len(names),
            "path": [f"{name}.flac" for name in names],
            "speaker": [name.split("/")[0] for name in names],
            "gender": ["fm"[number % 2] for number in range(first, first + 62_500)],
            "split": [""] * len(names),
            "start": [0] * len(names),
            "stop": [16_000 * 10] * len(names),
            "sample_rate": [16_000] * len(names),
            "num_channels": [1] * len(names),
            "channel": [None] * len(names),
            "text": [TEXT] * len(names),
            "language": ["en"] * len(names),
        }
        yield pa.table(columns, schema=SCHEMA)


def measure_kinds() -> None:
    catalogue = Catalogue(pa.concat_tables(list(utterances())))
    overlay, sparse = load_recipe_config("overlay"), load_recipe_config("sparse")
    kinds = {
        "overlay": overlay,
        "overlay, 30 % of one gender": dataclasses.replace(overlay, same_gender_share=0.3),
        "sparse": sparse,
        "sparse, 3 speakers": dataclasses.replace(sparse, num_speakers=3),
        "conversation": load_recipe_config("conversation"),
    }
    print("us a recipe   us an utterance")
    for name, config in kinds.items():
        plan = DrawnPlan(catalogue, PlanOptions(config, 0, parse_shares("train=1"), 1_000_000, 0))
        start = time.process_time()
        num_recipes = num_utterances = 0
        for shard in plan.shards[:NUM_SHARDS]:
            for draft in plan.drafts(shard):
                draft.recipe.to_json()
                num_recipes += 1
                num_utterances += len(draft.recipe.sources)
        elapsed_us = (time.process_time() - start) * 1e6
        print(f"{elapsed_us / num_recipes:11.1f}  {elapsed_us / num_utterances:15.1f}   {name}")


def main() -> None:
    counts = [int(argument) for argument in sys.argv[1:]] or [100_000, 1_000_000, 10_000_000]
    print("mixtures   seconds   us a recipe   MB at the most")
    with tempfile.TemporaryDirectory() as name:
        corpus = Path(name, "corpus")
        corpus.mkdir()
        for count in counts:
            output = Path(name, str(count))
            options = ["--recipes_only", "--corpus_format=speaker_folders", f"--corpus={corpus}"]
            options += [f"--output={output}", f"--num_mixtures={count}"]
            # The job finds its folder as if it had been killed once it had the catalogue.
            parser = build_parser()
            dataset_folder.claim(
                str(output), specify_dataset(parser.parse_args(options), parser)[1]
            )
            write_table(str(output / "catalogue.arrow"), utterances())
            start = time.perf_counter()
            subprocess.run([sys.executable, "-m", "beam_jobs.build_mixtures", *options], check=True)
            elapsed_s = time.perf_counter() - start
            megabytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1000
            print(
                f"{count:8}  {elapsed_s:8.1f}  {elapsed_s / count * 1e6:12.1f}  {megabytes:15.0f}"
            )
    measure_kinds()


if __name__ == "__main__":
    main()
