"""What both checks know of the compose file."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
COMPOSE = ROOT / "docker-compose.yml"
# Our services; what runs once is not among them.
SERVICES = ["bff", "consolidator", "notifications", "orders", "payments", "product-admin", "purchase-manager"]


def fail(message):
    sys.exit(f"check-compose: {message}")


def expect(condition, message):
    if not condition:
        fail(message)


def environment_file(directory, programs):
    """Makes .env by the very line that .env.example tells people to run, and the keys by the program that it names."""
    example = ROOT / ".env.example"
    line = re.search(r"^#\s+(\(umask 077;.*\))$", example.read_text(), re.MULTILINE)
    expect(line, ".env.example does not say how to make .env")
    (directory / ".env.example").write_text(example.read_text())
    subprocess.run(["bash", "-euo", "pipefail", "-c", line.group(1)], cwd=directory, check=True)
    path = directory / ".env"
    keys = subprocess.run([programs / "belay", "identity"], check=True, capture_output=True, text=True)
    path.write_text(path.read_text() + keys.stdout)
    expect(path.stat().st_mode & 0o077 == 0, ".env can be read by others")
    return path


def variables(path):
    return dict(line.split("=", 1) for line in path.read_text().splitlines())


def config(docker_compose, env_file, profiles, **more):
    """The file as docker-compose resolves it. Nothing of this shell's environment gets in."""
    words = [docker_compose, "--file", str(COMPOSE), "--env-file", str(env_file)]
    for profile in profiles:
        words += ["--profile", profile]
    clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}
    done = subprocess.run([*words, "config"], env=clean, capture_output=True, text=True)
    return done.returncode, done.stdout, done.stderr


def resolved(docker_compose, env_file, profiles, **more):
    code, out, err = config(docker_compose, env_file, profiles, **more)
    expect(code == 0, f"profiles {', '.join(profiles)}: {err.strip()}")
    document = yaml.safe_load(out)
    active = {
        name: service
        for name, service in document["services"].items()
        if set(service.get("profiles", [])) & set(profiles) or not service.get("profiles")
    }
    return document, active


def environment(service):
    """The environment of a container, and nothing else."""
    return {name: "" if value is None else str(value) for name, value in service.get("environment", {}).items()}


def scratch():
    return tempfile.TemporaryDirectory(prefix="belay-compose-")
