"""The runner of a job without a cluster."""

import argparse
import time

import apache_beam as beam

from beam_jobs.runtime.options import parse_options
from beam_jobs.runtime.runners import choose_runner


class SlowToWrite:
    """An element that is slow to encode, as elements are while other threads compute."""

    def __init__(self, number):
        self.number = number

    def __reduce__(self):
        time.sleep(0.01)
        return SlowToWrite, (self.number,)


def test_what_takes_long_to_send_arrives_whole(tmp_path):
    _, options = parse_options(argparse.ArgumentParser(), [])
    with beam.Pipeline(runner=choose_runner(options), options=options) as pipeline:
        (
            pipeline
            | beam.Create([0])
            | beam.FlatMap(lambda _: map(SlowToWrite, range(300)))
            | beam.Reshuffle()
            | beam.Map(lambda element: str(element.number))
            | beam.io.WriteToText(str(tmp_path / "numbers"), shard_name_template="")
        )
    numbers = (tmp_path / "numbers").read_text().split()
    assert sorted(map(int, numbers)) == list(range(300))
