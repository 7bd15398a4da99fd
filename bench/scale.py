"""Computes what jobs of various sizes take, from the figures below: the tables of docs/scale.md.

python -m bench.scale [--price_per_core_hour USD] [--request_latency_s S]
"""

import argparse
import dataclasses

# Measured: README.md and `make bench`, two cores, LibriSpeech at 16 kHz, two speakers.
# By the uses of each utterance in its shard.
RENDERED_PER_CORE_S = {1: 85.0, 8: 220.0}
MIXTURE_S = 16.0
RECIPES_PLANNED_PER_CORE_S = 1 / 65e-6
START_UP_S = 1.6

# Properties of the formats.
SAMPLE_BYTES = 2
SIGNALS = 3
MIXTURES_PER_SHARD = 128
CHUNK_BYTES = 1 << 24

# A table finds another partner for an utterance this often at most.
MAX_USES_PER_SHARD = 11

# Requests to Cloud Storage, counted at the emulator. Each utterance is looked up and its header
# read; so is each utterance of a shard, however often it is used there. Each shard is looked up to
# see whether it is done, and its measurements are read twice. Its chunks, recipes and measurements
# are written, each with one request to begin and one to send.
READS_PER_UTTERANCE = 2
READS_PER_UTTERANCE_OF_A_SHARD = 2
READS_PER_SHARD = 3
SMALL_OBJECTS_PER_SHARD = 2

# A new bucket's capacity in requests per second, which then doubles every 20 minutes:
# https://cloud.google.com/storage/docs/request-rate
FIRST_READS_PER_S = 5000.0
FIRST_WRITES_PER_S = 1000.0

# US dollars, single region, us-central1, as of 2026-09-20: https://cloud.google.com/storage/pricing
STORAGE_GIB_HOUR = 2.7397e-5
WRITES_1000 = 0.005
READS_1000 = 0.0004
HOURS_PER_MONTH = 730

# The default on Dataflow for the worker of each core.
THREADS_PER_CORE = 12

# An archive: recordings of one channel, in two outputs as 16-bit WAV at the same rate.
RECORDING_H = 5 / 60
RECORDING_RATE = 16000
OUTPUTS = 2
# The input is looked up three times and read, and the ledger is looked up. The outputs and the
# ledger are written.
READS_PER_RECORDING = 6
WRITES_PER_RECORDING = OUTPUTS + 2


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset that is built on a number of cores."""

    num_mixtures: int
    num_utterances: int
    cores: int
    request_latency_s: float

    @property
    def num_bytes(self) -> float:
        return self.num_mixtures * MIXTURE_S * 16000 * SAMPLE_BYTES * SIGNALS

    @property
    def num_shards(self) -> int:
        return max(8, -(-self.num_mixtures // MIXTURES_PER_SHARD))

    @property
    def uses_per_shard(self) -> float:
        """How often an utterance is used in its shard."""
        return min(max(self.num_mixtures * 2 / self.num_utterances, 1), MAX_USES_PER_SHARD)

    @property
    def reads(self) -> float:
        return (
            self.num_utterances * READS_PER_UTTERANCE
            + self.num_mixtures * 2 / self.uses_per_shard * READS_PER_UTTERANCE_OF_A_SHARD
            + self.num_shards * READS_PER_SHARD
        )

    @property
    def writes(self) -> float:
        chunks = -(-self.num_bytes / self.num_shards // CHUNK_BYTES)
        return self.num_shards * (1 + chunks + 2 * SMALL_OBJECTS_PER_SHARD)

    @property
    def core_s(self) -> float:
        (_, once), (uses, several) = RENDERED_PER_CORE_S.items()
        decoding_s = (1 / once - 1 / several) / (1 - 1 / uses)
        rendering_s = 1 / once - decoding_s * (1 - 1 / self.uses_per_shard)
        return self.num_mixtures * (rendering_s + 1 / RECIPES_PLANNED_PER_CORE_S)

    @property
    def limits_s(self) -> dict[str, float]:
        """The time that each resource alone would limit the job to, in seconds."""
        waiting_s = (self.reads + self.writes) * self.request_latency_s
        return {
            "cores": self.core_s / self.cores,
            "waiting for Cloud Storage": waiting_s / (self.cores * THREADS_PER_CORE),
            "a new bucket's reads": ramp_s(self.reads, FIRST_READS_PER_S),
            "a new bucket's writes": ramp_s(self.writes, FIRST_WRITES_PER_S),
        }


def ramp_s(requests: float, first_per_s: float) -> float:
    """Returns the seconds that a bucket takes, with a capacity that doubles every 20 minutes."""
    seconds, capacity = 0.0, first_per_s
    while requests > capacity * 1200:
        requests -= capacity * 1200
        seconds += 1200
        capacity *= 2
    return seconds + requests / capacity


def storage_price(num_bytes: float, reads: float, writes: float) -> tuple[float, float]:
    """Returns the price of the requests, and of storing the result for a month, in dollars."""
    requests = reads / 1000 * READS_1000 + writes / 1000 * WRITES_1000
    return requests, num_bytes / 2**30 * STORAGE_GIB_HOUR * HOURS_PER_MONTH


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--price_per_core_hour", type=float, default=0.0, metavar="USD")
    parser.add_argument("--request_latency_s", type=float, default=0.05, metavar="S")
    options = parser.parse_args()

    def price_of(core_hours: float) -> str:
        price = core_hours * options.price_per_core_hour
        return f"{price:,.2f}" if price else "-"

    print(
        "| mixtures | hours of audio | utterances | uses in a shard | shards | GB | cores"
        " | core hours | hours | limited by | thousand reads | thousand writes | USD cores"
        " | USD requests | USD a month |"
    )
    print("| --- " * 15 + "|")
    for num_mixtures, num_utterances, cores in (
        (10_000, 20_000, 4),
        (1_000_000, 300_000, 64),
        (100_000_000, 2_000_000, 1024),
    ):
        job = Dataset(num_mixtures, num_utterances, cores, options.request_latency_s)
        limit, seconds = max(job.limits_s.items(), key=lambda item: item[1])
        requests, month = storage_price(job.num_bytes, job.reads, job.writes)
        print(
            f"| {num_mixtures:,} | {num_mixtures * MIXTURE_S / 3600:,.0f} | {num_utterances:,}"
            f" | {job.uses_per_shard:.1f} | {job.num_shards:,} | {job.num_bytes / 1e9:,.0f}"
            f" | {cores:,} | {job.core_s / 3600:,.2f} | {(seconds + START_UP_S) / 3600:,.2f}"
            f" | {limit} | {job.reads / 1e3:,.0f} | {job.writes / 1e3:,.1f}"
            f" | {price_of(job.core_s / 3600)} | {requests:,.2f} | {month:,.2f} |"
        )

    print()
    print(
        "| hours of archive | times as fast as it plays, a core | core hours | hours on 256 cores"
        " | GB in | GB out | thousand reads | thousand writes | USD cores | USD requests"
        " | USD a month |"
    )
    print("| --- " * 11 + "|")
    archive_h = 100_000
    num_recordings = archive_h / RECORDING_H
    in_bytes = archive_h * 3600 * RECORDING_RATE * SAMPLE_BYTES
    out_bytes = in_bytes * OUTPUTS
    reads = num_recordings * READS_PER_RECORDING + in_bytes / CHUNK_BYTES
    writes = num_recordings * WRITES_PER_RECORDING + out_bytes / CHUNK_BYTES
    for speed in (5, 10, 20, 40):
        core_hours = archive_h / speed
        requests, month = storage_price(out_bytes, reads, writes)
        print(
            f"| {archive_h:,} | {speed} | {core_hours:,.0f} | {core_hours / 256:,.1f}"
            f" | {in_bytes / 1e9:,.0f} | {out_bytes / 1e9:,.0f} | {reads / 1e3:,.0f}"
            f" | {writes / 1e3:,.0f} | {price_of(core_hours)} | {requests:,.2f} | {month:,.2f} |"
        )


if __name__ == "__main__":
    main()
