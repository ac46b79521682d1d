"""What people copy: the compose file, and the examples for schedulers in docs/training.md, held against the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.compute import cluster
from serving.config import IMAGES
from serving.server import monitoring

ROOT = Path(__file__).parent.parent


DOCKER = ROOT / "docker"


def compose(name: str = "compose.workers.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DOCKER / name).read_text(encoding="utf-8"))
    return found


def blocks(language: str) -> list[str]:
    """Return the blocks of code in a language of the page on training."""
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", page, re.DOTALL)


def test_compose_file_starts_two_workers_that_reach_each_other_by_name() -> None:
    services = compose()["services"]
    for index, (name, service) in enumerate(services.items()):
        options = dict(zip(service["command"][2::2], service["command"][3::2], strict=True))
        found = cluster.find({}, options["--workers"], int(options["--worker"]))
        assert found is not None
        assert found.index == index
        assert [address.partition(":")[0] for address in found.addresses] == list(services)
        assert name == f"worker-{index}"
        assert "ports" not in service
    assert compose()["networks"]["workers"]["internal"]


def test_image_is_made_of_files_that_are_there() -> None:
    text = (DOCKER / "pipeline.Dockerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY ([^-].*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    kept = (DOCKER / "pipeline.Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(kept)
    build = compose()["x-worker"]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).samefile(DOCKER / "pipeline.Dockerfile")


def images() -> list[str]:
    """Return what the Dockerfiles and compose files take from registries."""
    found = [
        base for path in DOCKER.glob("*.Dockerfile") for base in re.findall(r"^ARG BASE=(.*)$", path.read_text(), re.M)
    ]
    for path in DOCKER.glob("compose*.yaml"):
        services = compose(path.name)["services"].values()
        found += [re.sub(r"^\$\{\w+:-(.*)\}$", r"\1", one["image"]) for one in services]
    return found


def test_images_from_registries_are_pinned_to_a_release() -> None:
    found = [image for image in images() if image != "modelmill"]  # which is built here
    assert len(found) >= 3
    assert all(re.search(r":v?[0-9]+\.[0-9]+\.[0-9]+", image) for image in found), found
    assert IMAGES["cpu"] in found  # what `measure` asks is what is served


def test_services_are_reached_from_this_machine_alone_and_tell_their_health() -> None:
    for name, service in compose("compose.yaml")["services"].items():
        assert service["ports"], name
        assert all(port.startswith("127.0.0.1:") for port in service["ports"]), name
        assert service["healthcheck"]["test"], name
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name


def test_prometheus_asks_where_the_server_tells() -> None:
    services = compose("compose.yaml")["services"]
    mounted = {
        volume.rpartition(":ro")[0].split(":")[1]: volume.split(":")[0]
        for service in services.values()
        for volume in service["volumes"]
        if volume.startswith("./")
    }
    (flag,) = services["serving"]["command"]
    told = monitoring.path(str(DOCKER / mounted[flag.partition("=")[2]]))
    (job,) = yaml.safe_load((DOCKER / mounted["/etc/prometheus/prometheus.yml"]).read_text())["scrape_configs"]
    assert job["metrics_path"] == told
    (target,) = job["static_configs"][0]["targets"]
    host, _, port = target.partition(":")
    assert port in [published.split(":")[2] for published in services[host]["ports"]]


def test_job_of_kubernetes_in_the_docs_names_its_workers() -> None:
    (example,) = [block for block in blocks("yaml") if "kind: Job" in block]
    service, job = yaml.safe_load_all(example)
    spec = job["spec"]
    pod = spec["template"]["spec"]
    assert spec["completionMode"] == "Indexed"
    assert spec["completions"] == spec["parallelism"]
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    (container,) = pod["containers"]
    environment = {one["name"]: one["value"] for one in container["env"]}
    name = job["metadata"]["name"]
    for index in range(spec["completions"]):
        # as Kubernetes sets them in a pod of an Indexed Job
        found = cluster.find(environment | {"JOB_COMPLETION_INDEX": str(index), "HOSTNAME": f"{name}-{index}"})
        assert found is not None
        assert found.index == index
        assert found.addresses[index] == f"{name}-{index}.{pod['subdomain']}:{cluster.PORT}"
    assert {one["name"] for one in container["volumeMounts"]} == {one["name"] for one in pod["volumes"]}


def test_script_for_slurm_in_the_docs_starts_one_step_of_several_tasks() -> None:
    (script,) = [block for block in blocks("bash") if "#SBATCH" in block]
    assert script.startswith("#!/bin/bash\n")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", script, re.MULTILINE))
    assert int(asked["nodes"]) * int(asked["ntasks-per-node"]) == 2
    assert re.search(r"^srun .*modelmill run ", script, re.MULTILINE)
