"""Dataflow without the service: descriptions of jobs, templates, and the package of the workers."""

import io
import json
import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import time
import venv
from pathlib import Path

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.dataflow.internal.clients.dataflow import (
    dataflow_v1b3_messages as messages,
)
from apache_beam.runners.portability.stager import Stager
from apitools.base.py import encoding
from local_ports import free_port, is_listening
from small_datasets import REPOSITORY, build

from beam_jobs import (
    build_mixtures,
    export_audio,
    score_separation,
    separate_archive,
    verify_dataset,
)
from deploy.dataflow.metadata import template_metadata
from schemas.bundle import Bundle, Provenance

DATAFLOW = REPOSITORY / "deploy" / "dataflow"
NOT_INSTALLED = {"demo", "experiments"}
PACKAGES = sorted({path.parent.name for path in REPOSITORY.glob("*/__init__.py")} - NOT_INSTALLED)


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy of the files that the distribution is made from; making it leaves files behind."""
    folder = tmp_path_factory.mktemp("sources")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, folder)
    for name in PACKAGES:
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / name, folder / name, ignore=ignore)
    return folder


@pytest.fixture(scope="module")
def worker_python(sources, tmp_path_factory):
    """A Python that has the distribution of `--setup_file`, and can't see the checkout."""
    folder = tmp_path_factory.mktemp("worker")
    archive = Stager._build_setup_package(str(sources / "setup.py"), str(folder))
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    dependencies = Path(sysconfig.get_path("purelib"))
    (site,) = (folder / "venv" / "lib").glob("python*/site-packages")
    # A container image would have the dependencies. Here a path leads to those of this Python.
    # Unlike a site directory, it does not bring the editable installation of the project.
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index")
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    subprocess.run(
        [python, "-m", "pip", "install", *options, archive], cwd=folder, env=environment, check=True
    )
    return python


def test_the_distribution_has_every_file_of_the_packages(sources, worker_python):
    (site,) = worker_python.parent.parent.glob("lib/python*/site-packages")
    files = {
        path.relative_to(sources)
        for name in PACKAGES
        for path in (sources / name).rglob("*")
        if path.is_file()
    }
    assert len(files) > 50
    assert {file for file in files if not (site / file).exists()} == set()


@pytest.mark.parametrize(
    ("script", "module"),
    [("verify-dataset", "beam_jobs.verify_dataset"), ("export-separator", "training.export")],
)
def test_the_distribution_has_its_commands(worker_python, tmp_path, script, module):
    def print_help(*command):
        return subprocess.run(
            [*command, "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout

    installed = print_help(worker_python.parent / script)
    as_module = print_help(worker_python, "-m", module)
    assert installed.startswith(f"usage: {script} ")
    assert set(re.findall(r"--\w+", installed)) == set(re.findall(r"--\w+", as_module))


@pytest.fixture
def worker_pool(worker_python, tmp_path):
    """The address of a worker pool like those beside the machines of a cluster."""
    port = free_port()
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    environment["PATH"] = f"{worker_python.parent}:{environment['PATH']}"
    module = "apache_beam.runners.worker.worker_pool_main"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [worker_python, "-m", module, f"--service_port={port}"],
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=log,
        )
    while process.poll() is None and not is_listening(port):
        time.sleep(0.05)
    yield f"localhost:{port}"
    process.terminate()
    process.wait()


def test_workers_with_nothing_but_the_distribution_write_the_same_bytes(
    worker_python, worker_pool, corpus, recipe, tmp_path
):
    where = subprocess.run(
        [worker_python, "-c", "import beam_jobs; print(beam_jobs.__file__)"],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert where.stdout.startswith(str(worker_python.parent.parent))
    asked = (f"--recipe={recipe}", "--splits=train=1", "--num_shards=3")
    here = build(*asked, corpus=corpus, output=tmp_path / "here")
    there = build(
        *asked,
        "--runner=PortableRunner",
        "--job_endpoint=embed",
        "--environment_type=EXTERNAL",
        f"--environment_config={worker_pool}",
        corpus=corpus,
        output=tmp_path / "there",
    )
    assert there.status == here.status == 0, there.printed
    assert there.digests == here.digests


@pytest.fixture
def bundle(tmp_path):
    """The files of a bundle that the launcher reads; workers would load the model."""
    folder = tmp_path / "bundle"
    (folder / "saved_model").mkdir(parents=True)
    (folder / "saved_model" / "saved_model.pb").write_bytes(b"a model")
    described = Bundle(
        name="bundle",
        sample_rate=8000,
        num_channels=1,
        num_sources=2,
        source_names=("speaker1", "speaker2"),
        aligned=True,
        architecture="test",
        window_s=1.0,
        context_s=0.05,
        configuration={},
        metrics={},
        provenance=Provenance("", "", 0, "2026-01-01T00:00:00+00:00"),
    )
    (folder / "bundle.json").write_text(described.to_json())
    return folder


@pytest.fixture
def jobs(cloud_storage, corpus, recipe, bundle, tmp_path):
    """The command line of each job, with the steps that it should have."""
    built = build(f"--recipe={recipe}", "--splits=train=1", corpus=corpus, output=tmp_path / "d")
    speech = cloud_storage.put(corpus, "dataflow/corpus")
    model = cloud_storage.put(bundle, "dataflow/bundle")
    dataset = cloud_storage.put(built.folder, "dataflow/dataset")
    (tmp_path / "separated" / "_ledger").mkdir(parents=True)
    (tmp_path / "separated" / "_ledger" / "a.wav.json").touch()
    separated = cloud_storage.put(tmp_path / "separated", "dataflow/separated")
    output = f"{cloud_storage.root}/dataflow/output"
    return {
        build_mixtures: (
            (f"--corpus={speech}", f"--output={output}/1.0.0", f"--recipe={recipe}"),
            ("FindUtterances", "ReadHeaders", "PlanShards", "RenderShards", "FinishDataset"),
        ),
        separate_archive: (
            (f"--input={speech}/**.flac", f"--model={model}", f"--output={output}/separated"),
            ("Inspect", "SeparateShort", "SeparateLong", "WriteRejected", "WriteCounts"),
        ),
        export_audio: (
            (f"--dataset={dataset}", f"--output={output}/exported", "--layout=spleeter"),
            ("ExportShards", "FinishExport"),
        ),
        score_separation: (
            (f"--dataset={dataset}", f"--separated={separated}", f"--output={output}/scores"),
            ("ReadLedger", "Score", "WriteReports", "WriteRejected"),
        ),
        verify_dataset: (
            (f"--dataset={dataset}", f"--report={output}/damage.jsonl"),
            ("VerifyFiles", "VerifyShards", "WriteDamage"),
        ),
    }


def test_each_job_becomes_one_that_dataflow_takes(cloud_storage, jobs, sources, capsys):
    root = f"{cloud_storage.root}/dataflow"
    for job, (arguments, steps) in jobs.items():
        name = job.__name__.rpartition(".")[2]
        status = job.main(
            [
                *arguments,
                "--runner=DataflowRunner",
                "--project=tests",
                "--region=europe-west1",
                "--sdk_container_image=europe-docker.pkg.dev/tests/images/spleeter-beam:1",
                "--worker_machine_type=n2-highcpu-4",
                f"--setup_file={sources / 'setup.py'}",
                f"--staging_location={root}/{name}/staging",
                f"--temp_location={root}/{name}/temp",
                # Describes the job without starting it, like the launcher of a Flex Template.
                f"--template_location={root}/{name}/job",
            ]
        )
        assert status == 0, (name, capsys.readouterr())
        stored = cloud_storage.get(f"dataflow/{name}")
        described = json.loads(stored["job"])
        assert re.fullmatch(rf"{name.replace('_', '-')}-\d{{8}}-\d{{6}}", described["name"])
        pool = described["environment"]["workerPools"][0]
        assert pool["machineType"] == "n2-highcpu-4"
        (image,) = pool["sdkHarnessContainerImages"]
        assert image["containerImage"].endswith("spleeter-beam:1")
        staged = {path.rpartition("/")[2]: content for path, content in stored.items()}
        with tarfile.open(fileobj=io.BytesIO(staged["workflow.tar.gz"])) as archive:
            assert any(path.endswith(f"beam_jobs/{name}.py") for path in archive.getnames())
        pipeline = beam_runner_api_pb2.Pipeline.FromString(staged["pipeline.pb"])
        names = {one.unique_name for one in pipeline.components.transforms.values()}
        for step in steps:
            assert any(re.search(rf"\b{step}\b", one) for one in names), (name, step)


@pytest.mark.parametrize(
    "job", [build_mixtures, export_audio, score_separation, separate_archive, verify_dataset]
)
def test_a_template_offers_the_options_of_its_command(job):
    parser = job.build_parser()
    metadata = template_metadata("name", parser)
    message = encoding.JsonToMessage(messages.TemplateMetadata, json.dumps(metadata))
    assert json.loads(encoding.MessageToJson(message)) == metadata
    actions = {action.dest: action for action in parser._actions}
    offered = {parameter.name: parameter for parameter in message.parameters}
    assert {name for name in actions if name not in offered} == {
        name for name, action in actions.items() if action.nargs == 0
    }
    for name, parameter in offered.items():
        assert f"--{name}" in actions[name].option_strings
        assert parameter.isOptional != actions[name].required
        assert parameter.helpText
        assert "%" not in parameter.helpText
        assert {one.value for one in parameter.enumOptions} == set(actions[name].choices or ())


def test_the_image_has_what_the_launcher_has():
    text = (DATAFLOW / "Dockerfile").read_text("utf-8")
    lock = (REPOSITORY / "requirements.lock").read_text("utf-8")
    version = re.search(r"^apache-beam==([\d.]+)", lock, re.MULTILINE)[1]
    assert f"COPY --from=apache/beam_python3.11_sdk:{version} /opt/apache/beam " in text
    for source in re.findall(r"^COPY (?!--from)(.*) \S+$", text, re.MULTILINE):
        for name in source.split():
            assert (REPOSITORY / name).exists(), name
    assert set(PACKAGES) <= set(re.findall(r"^COPY (\w+) \1$", text, re.MULTILINE))
