"""An emulator of Google Cloud Storage, behind a network that can fail."""

import contextlib
import datetime
import http.client
import http.server
import json
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import urllib.parse
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client
from local_ports import free_port, is_listening

BUCKET = "recordings"
TOKEN = "ya29.the-token-of-the-tests"
PAGE_OBJECTS = 10
GOOGLE_HOSTS = ("www.googleapis.com", "storage.googleapis.com")

# The faults of the network. A reset after the answer is worse than one before it: the request was
# carried out, and the client does not know.
FAULTS = ("429", "503", "reset before", "reset after")


class CloudStorage:
    """A bucket, and the network between it and its clients.

    Attributes:
        root: the bucket's path.
        address: the address of the network.
        key: the key file of the service account.
        certificate: a certificate for Google's host names, which clients in tests trust.
        faults: whether requests of each kind meet each of `FAULTS`, once.
        met: pairs of a kind of request and a fault that it met.
        refusals: the status for every request of a kind, by the kind.
        requests: the kind of each request so far.
        bytes_read: how many bytes of the objects were read.
        tokens: the tokens that the clients presented.
        uploads: the answer to the last chunk of each upload, by its URL.
    """

    root = f"gs://{BUCKET}"

    def __init__(self, address: str, emulator: Client, key: Path, certificate: Path) -> None:
        self.address = address
        self.key = key
        self.certificate = certificate
        self._bucket = emulator.bucket(BUCKET)
        self._lock = threading.Lock()
        self.forget()

    def forget(self) -> None:
        """Resets faults and records; keeps the objects."""
        self.faults = False
        self.met = set()
        self.refusals = {}
        self.requests = []
        self.bytes_read = 0
        self.tokens = set()
        self.uploads = {}

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that point Google's clients here."""
        return {
            "STORAGE_EMULATOR_HOST": self.address,
            "GOOGLE_APPLICATION_CREDENTIALS": str(self.key),
            "GOOGLE_CLOUD_PROJECT": "tests",
            # The clients also ask Google where the account may be used; that request ends here.
            "HTTPS_PROXY": self.address,
        }

    def put(self, folder: Path, prefix: str) -> str:
        """Copies a folder into the bucket, and returns its path there."""
        for path in folder.rglob("*"):
            if path.is_file():
                name = f"{prefix}/{path.relative_to(folder).as_posix()}"
                self._bucket.blob(name).upload_from_filename(path)
        return f"{self.root}/{prefix}"

    def names(self, prefix: str) -> set[str]:
        """Returns the names of all objects below a prefix, relative to it."""
        blobs = self._bucket.list_blobs(prefix=f"{prefix}/")
        return {blob.name.removeprefix(f"{prefix}/") for blob in blobs}

    def get(self, prefix: str) -> dict[str, bytes]:
        """Returns the contents of all objects below a prefix, by their names relative to it."""
        return {
            name: self._bucket.blob(f"{prefix}/{name}").download_as_bytes()
            for name in self.names(prefix)
        }

    def next_fault(self, kind: str) -> str | None:
        """Records a request of a kind, and returns the fault that it meets."""
        with self._lock:
            self.requests.append(kind)
            number = self.requests.count(kind)
        if kind in self.refusals:
            return self.refusals[kind]
        # Every other request is spared, or one would meet all faults, with ever longer waits.
        turn, is_spared = divmod(number - 1, 2)
        if not self.faults or is_spared or turn >= len(FAULTS):
            return None
        self.met.add((kind, FAULTS[turn]))
        return FAULTS[turn]


@contextlib.contextmanager
def run_cloud_storage(folder: Path):
    """Runs the emulator, and the network between it and its clients."""
    port = free_port()
    command = [sys.executable, "-m", "gcp_storage_emulator", "start", "--quiet", "--in-memory"]
    emulator = subprocess.Popen([*command, f"--port={port}", f"--default-bucket={BUCKET}"])
    try:
        while emulator.poll() is None and not is_listening(port):
            time.sleep(0.02)
        direct = Client(
            project="tests",
            credentials=AnonymousCredentials(),
            client_options=ClientOptions(api_endpoint=f"http://localhost:{port}"),
        )
        certificate = write_certificate(folder / "certificate.pem")
        network = http.server.ThreadingHTTPServer(("localhost", 0), _Network)
        network.emulator_port = port
        network.addresses = [f"localhost:{one}".encode() for one in (port, network.server_port)]
        network.daemon_threads = True
        network.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        network.tls.load_cert_chain(certificate)
        address, key = f"http://localhost:{network.server_port}", folder / "key.json"
        write_service_account(key, token_uri=f"{address}/token")
        network.cloud_storage = CloudStorage(address, direct, key, certificate)
        threading.Thread(target=network.serve_forever, daemon=True).start()
        yield network.cloud_storage
        network.shutdown()
    finally:
        emulator.terminate()
        emulator.wait()


def write_service_account(path: Path, *, token_uri: str) -> None:
    """Writes the key file of a service account, like those of Google Cloud's console."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    account = {
        "type": "service_account",
        "project_id": "tests",
        "private_key_id": "0123456789abcdef",
        "private_key": _pem(key).decode(),
        "client_email": "tests@tests.iam.gserviceaccount.com",
        "client_id": "1",
        "token_uri": token_uri,
    }
    path.write_text(json.dumps(account))


def write_certificate(path: Path) -> Path:
    """Writes a certificate for Google's host names, which only the tests trust, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.timezone.utc)
    names = x509.SubjectAlternativeName(map(x509.DNSName, GOOGLE_HOSTS))
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(names, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM) + _pem(key))
    return path


def _pem(key: Any) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


class _Network(http.server.BaseHTTPRequestHandler):
    """Passes requests on to the emulator, unless they meet a fault."""

    protocol_version = "HTTP/1.1"
    # Send headers and content together: a second packet would wait until the first is acknowledged.
    wbufsize = -1

    def _pass_on(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        cloud_storage = self.server.cloud_storage
        if self.path == "/token":
            answer = {"access_token": TOKEN, "expires_in": 3600, "token_type": "Bearer"}
            return self._answer(200, {}, json.dumps(answer).encode())
        cloud_storage.tokens.add(self.headers.get("Authorization"))
        kind = _kind(self.command, self.path)
        fault = cloud_storage.next_fault(kind)
        if fault == "reset before":
            return self._reset()
        if fault not in (None, "reset after"):
            return self._answer(int(fault), {}, b'{"error": {"message": "not now"}}')
        if self.path in cloud_storage.uploads:
            # A repeated end of an upload, which the emulator no longer knows.
            return self._answer(200, {}, cloud_storage.uploads[self.path])
        connection = http.client.HTTPConnection("localhost", self.server.emulator_port)
        connection.request(self.command, self.path, body, dict(self.headers))
        response = connection.getresponse()
        content = response.read()
        if self.command == "PUT" and response.status == 200:
            cloud_storage.uploads[self.path] = content
        if fault == "reset after":
            return self._reset()
        if kind == "read":
            cloud_storage.bytes_read += len(content)
        else:
            # Objects contain their own addresses, which must not bypass the network.
            content = content.replace(*self.server.addresses)
        if kind == "list":
            content = _page(content, self.path)
        headers = {
            name: value
            for name, value in response.getheaders()
            if name.lower() not in ("content-length", "connection", "date", "server")
        }
        return self._answer(response.status, headers, content)

    def do_CONNECT(self) -> None:
        """Answers at Google's own host names, the only ones that TensorFlow's client knows."""
        if self.path.partition(":")[0] not in GOOGLE_HOSTS:
            return self._answer(403, {}, b"")
        self.send_response(200)
        self.end_headers()
        self.wfile.flush()
        self.request = self.server.tls.wrap_socket(self.connection, server_side=True)
        return self.setup()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _reset(self) -> None:
        # Closing without lingering sends a reset, like a broken network.
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = _pass_on  # noqa: N815

    def log_message(self, *_) -> None:
        pass


def _kind(method: str, path: str) -> str:
    """Returns the kind of a request: `list`, `read`, `look up`, `upload`, `batch`."""
    url = urllib.parse.urlsplit(path)
    if url.path.startswith("/batch"):
        return "batch"
    if url.path.startswith("/upload"):
        return "upload"
    if "alt=media" in url.query or url.path.startswith(f"/{BUCKET}/"):
        return "read"
    return "list" if url.path.endswith("/o") else f"look up {method}".removesuffix(" GET")


def _page(content: bytes, path: str) -> bytes:
    """Cuts one page out of a listing, which the emulator returns as a whole."""
    listing = json.loads(content)
    query = urllib.parse.parse_qs(urllib.parse.urlsplit(path).query)
    start = int(query.get("pageToken", ["0"])[0])
    page = listing | {"items": listing["items"][start : start + PAGE_OBJECTS]}
    if start + PAGE_OBJECTS < len(listing["items"]):
        page["nextPageToken"] = str(start + PAGE_OBJECTS)
    return json.dumps(page).encode()
