"""The production files, as far as they can be checked without a Docker engine."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML

from masking.cli import app
from masking.settings import Settings

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
COMPOSE: dict[str, Any] = YAML(typ="safe").load((ROOT / "docker-compose.yml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service.get("image") == "masking:latest"}
BARE = {name: value for name, value in os.environ.items() if not name.startswith(("MASKING_", "TEMPORAL_"))}
STANDARD = {"DATABASE_URL", "TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE"}


def test_the_compose_file_fits_the_schema() -> None:
    subprocess.run(
        [BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", ROOT / "docker-compose.yml"],
        check=True,
        capture_output=True,
        timeout=60,
    )


def test_the_dockerfile_passes_the_linter() -> None:
    subprocess.run([BIN / "hadolint", ROOT / "Dockerfile"], check=True, timeout=60)


def test_every_command_of_the_image_exists() -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    assert {name: service["command"] for name, service in OURS.items()} == {
        "migrate": ["migrate"],
        "gateway": ["gateway"],
        "worker": ["worker"],
    }
    for service in OURS.values():
        assert service["command"][0] in commands


def test_every_variable_is_one_that_is_read() -> None:
    read = {f"MASKING_{name.upper()}" for name in Settings.model_fields} | STANDARD
    for service in OURS.values():
        assert set(service["environment"]) <= read


def test_every_secret_comes_from_the_environment_and_is_demanded() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    for name, value in re.findall(r"(\S*(?:PASSWORD|PWD|KEYS|TOKEN)\S*): (.+)", text):
        assert "${" in value, name
        assert ":?" in value, name


def test_the_worker_can_be_scaled_and_nothing_but_the_host_reaches_a_port() -> None:
    assert not {"container_name", "ports"} & set(COMPOSE["services"]["worker"])
    for service in COMPOSE["services"].values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")


@pytest.mark.parametrize("name", COMPOSE["services"])
def test_what_runs_for_long_has_a_health_check(name: str) -> None:
    ends_by_itself = "on-failure" in COMPOSE["services"][name]["restart"]
    assert ends_by_itself != bool(COMPOSE["services"][name].get("healthcheck", {}).get("test"))


def test_the_health_checks_command_exists() -> None:
    how, *command = COMPOSE["services"]["worker"]["healthcheck"]["test"]
    assert (how, command) == ("CMD", ["python", "-m", "masking", "health", "worker"])
    refused = subprocess.run(
        [sys.executable, *command[1:]], env=BARE, capture_output=True, text=True, timeout=30, check=False
    )
    assert refused.returncode == 2
    assert refused.stderr.startswith("masking: no keys: ")


def test_what_others_wait_for_is_told_healthy_or_done() -> None:
    for service in COMPOSE["services"].values():
        for name, wait in service.get("depends_on", {}).items():
            long = bool(COMPOSE["services"][name].get("healthcheck"))
            assert wait["condition"] == ("service_healthy" if long else "service_completed_successfully")


def test_no_simulator_in_production() -> None:
    assert "simulator" not in (ROOT / "docker-compose.yml").read_text()


def test_the_image_takes_every_package_it_runs() -> None:
    copied = set(re.findall(r"^COPY (?!--from)(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE))
    kept_out = (ROOT / ".dockerignore").read_text().splitlines()
    assert copied == {"requirements/production.txt", "activities", "masking", "workflows", "worker.py"}
    assert {f"!{path}" for path in copied} <= set(kept_out)


def test_the_image_has_what_the_production_processes_import() -> None:
    """Gateway, worker and migrations must not need what only the local requirements hold."""
    pinned = {
        line.split("==")[0] for line in (ROOT / "requirements/production.txt").read_text().splitlines() if "==" in line
    }
    script = (
        "import sys, worker, masking.gateway.server, masking.storage.migrate, masking.cli\n"
        "from importlib.metadata import packages_distributions\n"
        "assert 'obstore' not in sys.modules, 'only an archive in object storage loads it'\n"
        "import obstore.store\n"
        "names = {m.partition('.')[0] for m in sys.modules}\n"
        "found = packages_distributions()\n"
        "print(*sorted({d.lower().replace('_', '-') for n in names for d in found.get(n, [])}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True
    )
    # httpx takes click along where it is, and does without where it is not.
    assert set(done.stdout.split()) - {"masking", "setuptools", "click"} <= pinned
