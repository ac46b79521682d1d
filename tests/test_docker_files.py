"""What people copy: the compose file, and the README's examples for schedulers, held against the command."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from pipeline.compute import cluster

ROOT = Path(__file__).parent.parent


def compose() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "docker" / "compose.workers.yaml").read_text(encoding="utf-8"))
    return found


def blocks(language: str) -> list[str]:
    """Return the README's blocks of code in a language."""
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)


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
    text = (ROOT / "docker" / "Dockerfile").read_text(encoding="utf-8")
    copied = [word for line in re.findall(r"^COPY (.*)$", text, re.MULTILINE) for word in line.split()[:-1]]
    assert copied
    assert all((ROOT / name).exists() for name in copied)
    kept = (ROOT / "docker" / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    assert {f"!{name}" for name in copied} <= set(kept)
    build = compose()["x-worker"]["build"]
    assert (ROOT / "docker" / build["context"] / build["dockerfile"]).samefile(ROOT / "docker" / "Dockerfile")


def test_job_of_kubernetes_in_the_readme_names_its_workers() -> None:
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


def test_script_for_slurm_in_the_readme_starts_one_step_of_several_tasks() -> None:
    (script,) = [block for block in blocks("bash") if "#SBATCH" in block]
    assert script.startswith("#!/bin/bash\n")
    asked = dict(re.findall(r"^#SBATCH --([a-z-]+)=(\S+)$", script, re.MULTILINE))
    assert int(asked["nodes"]) * int(asked["ntasks-per-node"]) == 2
    assert re.search(r"^srun .*modelmill run ", script, re.MULTILINE)
