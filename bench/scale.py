"""What a job of any size takes, computed from the figures below: the tables of docs/scale.md.

python -m bench.scale [--price_per_core_hour USD] [--request_latency_s S]

Change a figure, and the tables follow.
"""

import argparse
import dataclasses

# Measured: README.md and `make bench`, two cores, LibriSpeech at 16 kHz, two speakers.
RENDERED_PER_CORE_S = 85.0
MIXTURE_S = 16.0
RECIPES_PLANNED_PER_CORE_S = 1 / 65e-6
START_UP_S = 1.6

# Properties of the formats.
SAMPLE_BYTES = 2
SIGNALS = 3
MIXTURES_PER_SHARD = 128
CHUNK_BYTES = 1 << 24

# Requests to Cloud Storage, counted at the emulator: looking up and reading the header of each
# utterance; the same of each source of a mixture; of each shard, whether it is done, and its
# measurements read twice; its chunks, its recipes and its measurements, each begun and sent.
READS_PER_UTTERANCE = 2
READS_PER_SOURCE = 2
READS_PER_SHARD = 3
SMALL_OBJECTS_PER_SHARD = 2

# A bucket's capacity at first, in requests a second, which then grows, at twice in 20 minutes:
# https://cloud.google.com/storage/docs/request-rate
FIRST_READS_PER_S = 5000.0
FIRST_WRITES_PER_S = 1000.0

# US dollars, single region, us-central1, as of 2026-09-20: https://cloud.google.com/storage/pricing
STORAGE_GIB_HOUR = 2.7397e-5
WRITES_1000 = 0.005
READS_1000 = 0.0004
HOURS_PER_MONTH = 730

# Threads that each core's worker has on Dataflow, where nobody says otherwise.
THREADS_PER_CORE = 12

# Of an archive: long recordings of one channel, in two outputs as 16-bit WAV at the same rate.
RECORDING_H = 5 / 60
RECORDING_RATE = 16000
OUTPUTS = 2
# The input looked up three times and read, the ledger looked up; outputs and ledger written.
READS_PER_RECORDING = 6
WRITES_PER_RECORDING = OUTPUTS + 2


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A dataset to be built on some cores."""

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
    def reads(self) -> float:
        return (
            self.num_utterances * READS_PER_UTTERANCE
            + self.num_mixtures * 2 * READS_PER_SOURCE
            + self.num_shards * READS_PER_SHARD
        )

    @property
    def writes(self) -> float:
        chunks = -(-self.num_bytes / self.num_shards // CHUNK_BYTES)
        return self.num_shards * (1 + chunks + 2 * SMALL_OBJECTS_PER_SHARD)

    @property
    def core_s(self) -> float:
        rendering_s = self.num_mixtures / RENDERED_PER_CORE_S
        return rendering_s + self.num_mixtures / RECIPES_PLANNED_PER_CORE_S

    @property
    def limits_s(self) -> dict[str, float]:
        """How long the job takes at the least, by what limits it."""
        waiting_s = (self.reads + self.writes) * self.request_latency_s
        return {
            "cores": self.core_s / self.cores,
            "waiting for Cloud Storage": waiting_s / (self.cores * THREADS_PER_CORE),
            "a new bucket's reads": ramp_s(self.reads, FIRST_READS_PER_S),
            "a new bucket's writes": ramp_s(self.writes, FIRST_WRITES_PER_S),
        }


def ramp_s(requests: float, first_per_s: float) -> float:
    """How long a bucket takes for so many requests, where its capacity doubles every 20 minutes."""
    seconds, capacity = 0.0, first_per_s
    while requests > capacity * 1200:
        requests -= capacity * 1200
        seconds += 1200
        capacity *= 2
    return seconds + requests / capacity


def storage_price(num_bytes: float, reads: float, writes: float) -> tuple[float, float]:
    """Of the requests, and of keeping the result for a month, in dollars."""
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
        "| mixtures | hours of audio | utterances | shards | GB | cores | core hours | hours"
        " | limited by | thousand reads | thousand writes | USD cores | USD requests"
        " | USD a month |"
    )
    print("| --- " * 14 + "|")
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
            f" | {job.num_shards:,} | {job.num_bytes / 1e9:,.0f} | {cores:,}"
            f" | {job.core_s / 3600:,.2f} | {(seconds + START_UP_S) / 3600:,.2f} | {limit}"
            f" | {job.reads / 1e3:,.0f} | {job.writes / 1e3:,.1f}"
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
