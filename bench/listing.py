"""Measures time and memory of listing a million objects, here and with Beam's file system.

python -m bench.listing [OBJECTS]   (default: 1000000)

The pages come from a server on this machine, so this is the cost of the client alone.
"""

import http.server
import json
import multiprocessing
import os
import resource
import sys
import time
import urllib.parse

PAGE_OBJECTS = 1000
PREFIX = "gs://bucket/corpus/"


class Pages(http.server.BaseHTTPRequestHandler):
    """Answers like Cloud Storage, with pages of `num_objects` names."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    num_objects = 0

    def do_GET(self) -> None:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query)
        start = int(query.get("pageToken", ["0"])[0])
        stop = min(start + PAGE_OBJECTS, self.num_objects)
        items = [{"name": f"corpus/{number:09d}.flac"} for number in range(start, stop)]
        if "fields" not in query:
            about = {"bucket": "bucket", "size": "200000", "updated": "2026-01-01T00:00:00.000Z"}
            items = [item | about for item in items]
        page = {"items": items} | ({"nextPageToken": str(stop)} if stop < self.num_objects else {})
        content = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def serve(num_objects: int, port: "multiprocessing.SimpleQueue[int]") -> None:
    Pages.num_objects = num_objects
    server = http.server.ThreadingHTTPServer(("localhost", 0), Pages)
    port.put(server.server_port)
    server.serve_forever()


def count(by_beam: bool, answer: "multiprocessing.SimpleQueue[tuple[int, float, float]]") -> None:
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.io.gcp import gcsio
    from google.cloud.storage import Client

    from beam_jobs.storage import files

    # Without this, Google's client searches for credentials for half a minute.
    gcsio.create_storage_client = lambda _: Client.create_anonymous_client()
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    start_s = time.monotonic()
    if by_beam:
        (match,) = FileSystems.match([f"{PREFIX}**.flac"])
        num_found = len(match.metadata_list)
    else:
        num_found = sum(1 for _ in files.find_paths(PREFIX, "**.flac"))
    seconds = time.monotonic() - start_s
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer.put((num_found, seconds, peak_mb - before_mb))


def main() -> None:
    num_objects = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    context = multiprocessing.get_context("spawn")
    port, answer = context.SimpleQueue(), context.SimpleQueue()
    server = context.Process(target=serve, args=(num_objects, port), daemon=True)
    server.start()
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://localhost:{port.get()}"
    for name, by_beam in (("here", False), ("by Beam's file system", True)):
        counter = context.Process(target=count, args=(by_beam, answer))
        counter.start()
        num_found, seconds, peak_mb = answer.get()
        counter.join()
        print(f"{name}: {num_found} objects in {seconds:.1f} s, {peak_mb:.0f} MB", flush=True)
    server.terminate()


if __name__ == "__main__":
    main()
