"""The manifests, checked against the schemas of Kubernetes and of Flink's operator."""

import copy
import re
import shutil
import subprocess
import zipfile

import jsonschema
import kubernetes_validate
import pytest
import yaml
from small_datasets import REPOSITORY

from beam_jobs import build_mixtures
from beam_jobs.runtime.options import parse_options

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
CRON_JOB = REPOSITORY / "deploy" / "schedules" / "cronjob.yaml"
VERSION = "1.31"

OPERATOR = "flink-kubernetes-operator-api"
OPERATOR_VERSION = "1.10.0"


def documents():
    """Returns all documents of the manifests by their kinds."""
    return {
        document["kind"]: document
        for path in (*sorted(KUBERNETES.glob("*.yaml")), CRON_JOB)
        for document in yaml.safe_load_all(path.read_text("utf-8"))
    }


def resources():
    """Returns the documents of Kubernetes' own kinds, and the pod that the operator makes."""
    found = documents()
    flink = found.pop("FlinkDeployment")["spec"]
    pod = copy.deepcopy(flink["taskManager"]["podTemplate"])
    # The operator adds its own container, with the image and what the other template sets for it.
    pod["spec"]["containers"].append(
        flink["podTemplate"]["spec"]["containers"][0] | {"image": flink["image"]}
    )
    pod["spec"]["volumes"] = flink["podTemplate"]["spec"]["volumes"]
    return found | {"Pod": pod}


@pytest.mark.parametrize("kind", sorted(resources()))
def test_kubernetes_takes_the_manifests(kind):
    kubernetes_validate.validate(resources()[kind], VERSION, strict=True)


def test_a_misspelt_field_is_found():
    document = resources()["PersistentVolumeClaim"]
    document["spec"]["accessMode"] = document["spec"].pop("accessModes")
    with pytest.raises(kubernetes_validate.ValidationError, match="accessMode"):
        kubernetes_validate.validate(document, VERSION, strict=True)


@pytest.fixture(scope="module")
def flink_deployment_schema():
    """The schema in the operator's own resource definition, which is in the jar of its classes."""
    folder = REPOSITORY / ".cache" / f"{OPERATOR}-{OPERATOR_VERSION}"
    jar = folder / f"{OPERATOR}-{OPERATOR_VERSION}.jar"
    if not jar.exists():
        mvn = shutil.which("mvn")
        if mvn is None:
            pytest.skip("no Maven here: it brings the definition of Flink's operator")
        artifact = f"org.apache.flink:{OPERATOR}:{OPERATOR_VERSION}"
        plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy"
        options = (f"-Dartifact={artifact}", f"-DoutputDirectory={folder}")
        subprocess.run([mvn, "--quiet", "--batch-mode", plugin, *options], check=True)
    with zipfile.ZipFile(jar) as archive:
        name = "META-INF/fabric8/flinkdeployments.flink.apache.org-v1.yml"
        definition = yaml.load(archive.read(name), yaml.CSafeLoader)
    (version,) = (one for one in definition["spec"]["versions"] if one["name"] == "v1beta1")
    return closed(version["schema"]["openAPIV3Schema"])


def closed(schema):
    """Makes a schema reject misspelt fields, which Kubernetes would drop silently."""
    if isinstance(schema, list):
        return [closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    schema = {key: closed(value) for key, value in schema.items()}
    if "properties" in schema and "type" in schema:
        schema.setdefault("additionalProperties", False)
    if schema.get("x-kubernetes-int-or-string"):
        schema.pop("type", None)
    return schema


def test_the_operator_takes_the_cluster(flink_deployment_schema):
    deployment = documents()["FlinkDeployment"]
    metadata = {"apiVersion": {}, "kind": {}, "metadata": {}}
    flink_deployment_schema["properties"] |= metadata
    operator = jsonschema.Draft202012Validator(flink_deployment_schema)
    operator.validate(deployment)
    deployment["spec"]["taskManager"]["replica"] = 4
    with pytest.raises(jsonschema.ValidationError, match="replica"):
        operator.validate(deployment)


def test_the_job_meets_the_cluster():
    flink, job = documents()["FlinkDeployment"]["spec"], documents()["Job"]["spec"]
    (container,) = job["template"]["spec"]["containers"]
    (server,) = job["template"]["spec"]["initContainers"]
    (workers,) = flink["taskManager"]["podTemplate"]["spec"]["containers"]
    assert container["command"][1:] == ["-m", "beam_jobs.build_mixtures"]
    _, options = parse_options(build_mixtures.build_parser(), container["args"])
    asked = options.get_all_options()
    assert asked["environment_config"] == f"localhost:{workers['ports'][0]['containerPort']}"
    assert f"--job-port={asked['job_endpoint'].partition(':')[2]}" in server["args"]
    assert "--flink-master=flink-rest:8081" in server["args"]
    assert documents()["FlinkDeployment"]["metadata"]["name"] == "flink"
    slots = int(flink["flinkConfiguration"]["taskmanager.numberOfTaskSlots"])
    assert "--parallelism=16" in container["args"]
    assert slots * flink["taskManager"]["replicas"] == 16
    # Workers and launcher must have the same packages, so they share an image.
    assert container["image"] == workers["image"]
    dockerfile = (KUBERNETES / "flink.Dockerfile").read_text("utf-8")
    (version,) = re.findall(r"^FROM flink:(\d+\.\d+)\.\d+-java17$", dockerfile, re.MULTILINE)
    assert flink["flinkVersion"] == f"v{version.replace('.', '_')}"
