"""Whether the real programs take what the manifests give them: every variable, every argument, the probes' paths."""

import os
import pathlib
import re
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

from common import containers, expect, matches, name_of, of_kind, pods, program_of

# What a program reads without being told so in its --help: PostgreSQL's driver (sqlx), and the telemetry (docs/observability.md).
DRIVER = {"PGHOST", "PGPORT", "PGSSLMODE", "PGSSLROOTCERT", "PGUSER", "PGPASSWORD"}
TELEMETRY = re.compile(r"OTEL_[A-Z_]+$|RUST_LOG$")
PASSWORD = "check-kubernetes-0123456789"
# What a Secret holds that is no password. The private key is the number one, which everybody knows.
OF_SECRETS = {
    "BELAY_CALLERS": "bff=A2sX0fLhLEJH-Lzm5WOkQPJ3A32BLeszoPShOUXYmMKW",
    "BELAY_IDENTITY_KEY": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE",
}


def accepted(programs, program, words=()):
    """Variables that a program's help names, and those of `belay provision`, which reads one for each service."""
    done = subprocess.run([programs / program, *words, "--help"], capture_output=True, text=True)
    expect(done.returncode == 0, f"{program} {' '.join(words)} --help: {done.stderr.strip()}")
    return set(re.findall(r"\[env: ([A-Z_0-9]+)", done.stdout)) | DRIVER


def environment(documents, container, own_only=False):
    """What a container gets, with PASSWORD for whatever comes from a Secret."""
    maps = {document["metadata"]["name"]: document["data"] for document in of_kind(documents, "ConfigMap")}
    found = {}
    if not own_only:
        for source in container.get("envFrom", []):
            found.update(maps[source["configMapRef"]["name"]])
    for entry in container.get("env", []):
        if "value" in entry:
            found[entry["name"]] = entry["value"]
        elif "configMapKeyRef" in entry["valueFrom"]:
            origin = entry["valueFrom"]["configMapKeyRef"]
            found[entry["name"]] = maps[origin["name"]][origin["key"]]
        else:
            found[entry["name"]] = OF_SECRETS.get(entry["name"], PASSWORD)
    return found


def mounted(pod, container, path):
    return any(path.startswith(mount["mountPath"].rstrip("/") + "/") for mount in container.get("volumeMounts", []))


def ours(documents):
    for workload, pod in pods(documents):
        for container in pod["spec"]["containers"]:
            if program_of(container):
                yield workload, pod, container, program_of(container)


def check_variables(documents, programs, known):
    """Every variable that is set is one that its program reads. Shared settings must be read by every service."""
    for workload, _, container, program in ours(documents):
        words = tuple(word for word in container.get("args", []) if not word.startswith("-"))
        key = (program, words)
        if key not in known:
            known[key] = accepted(programs, program, words)
        # What `belay` is told is in its arguments; of the settings that all share it needs the database's alone.
        job = workload["kind"] != "Deployment" or program == "belay"
        for name in environment(documents, container, own_only=job):
            # `belay provision` and `belay audit` have a password for each service, by its name.
            named = job and re.fullmatch(r"BELAY_PASSWORD_[A-Z_]+", name)
            expect(
                name in known[key] or TELEMETRY.match(name) or named,
                f"{name_of(workload)}: {program} does not read {name}",
            )


def check_config(documents, programs, authority, seen):
    """Each service's configuration is what it would start with. The authority's file is one of our own."""
    for workload, pod, container, program in ours(documents):
        if workload["kind"] != "Deployment" or program == "belay":
            continue
        given = environment(documents, container)
        if "BELAY_KAFKA_CA" in given:
            file = given["BELAY_KAFKA_CA"]
            expect(mounted(pod, container, file), f"{name_of(workload)}: nothing is mounted where {file} should be")
            given["BELAY_KAFKA_CA"] = str(authority)
        key = (program, tuple(sorted(given.items())))
        if key in seen:
            continue
        seen.add(key)
        done = subprocess.run([programs / program, "--check-config"], env=clean(given), capture_output=True, text=True)
        expect(done.returncode == 0, f"{name_of(workload)}: {program} --check-config: {done.stderr.strip()}")
        port = int(given["BELAY_HTTP"].rpartition(":")[2])
        expect(
            any(p["name"] == "http" and p["containerPort"] == port for p in container["ports"]),
            f"{name_of(workload)}: it listens on {port}, and no port `http` is that",
        )
        expect(given["BELAY_HTTP"].startswith("0.0.0.0:"), f"{name_of(workload)} listens where no probe comes")


def clean(given):
    return {"PATH": os.environ["PATH"], "HOME": "/", **given}


def check_probe_paths(documents):
    """A path that is no probe's would answer 503 for ever, or 404."""
    wanted = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
    for workload, _, container, _ in ours(documents):
        if workload["kind"] == "Deployment":
            for probe, path in wanted.items():
                expect(probe in container, f"{name_of(workload)} has no {probe}")
                asked = container[probe]["httpGet"]["path"]
                expect(asked == path, f"{name_of(workload)}: {probe} asks for {asked}, and the program answers {path}")
            wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]


def check_drain(documents, drain_seconds):
    """The grace period has room for the wait before the drain, and the drain twice."""
    for workload, pod, container, _ in ours(documents):
        if workload["kind"] == "Deployment":
            wait = container["lifecycle"]["preStop"]["sleep"]["seconds"]
            grace = pod["spec"]["terminationGracePeriodSeconds"]
            expect(
                grace >= wait + 2 * drain_seconds,
                f"{name_of(workload)}: {grace} s of grace are short for {wait} s of waiting and {drain_seconds} s of drain",
            )


def drain_seconds(root):
    """DRAIN, RELAY_DRAIN and CLOSE of crates/host/src/service.rs, rounded up."""
    text = (root / "crates/host/src/service.rs").read_text()
    total = 0.0
    for name in ("DRAIN", "RELAY_DRAIN", "CLOSE"):
        found = re.search(rf"const {name}: Duration = Duration::from_(secs|millis)\((\d+)\)", text)
        expect(found, f"crates/host/src/service.rs has no {name}")
        total += int(found.group(2)) / (1000 if found.group(1) == "millis" else 1)
    return int(total + 0.999)


def run(documents, programs, server):
    """Provisions `server` as the Job would, twice and as no superuser, and starts every service on it: each must log in, make its
    tables, and then wait for the registry, which is not there. `server` is (host, port, user, password)."""
    host, port, *_ = server
    user, password = administrator(server)
    place = {"PGHOST": host, "PGPORT": str(port), "PGSSLMODE": "disable"}
    by_name = {workload["metadata"]["name"]: (pod, container) for workload, pod, container, _ in ours(documents)}
    _, provision = by_name["provision"]
    given = {**environment(documents, provision), **place, "PGUSER": user, "PGPASSWORD": password}
    for _ in range(2):
        done = subprocess.run([programs / "belay", *provision["args"]], env=clean(given), capture_output=True, text=True)
        expect(done.returncode == 0, f"Job/provision: {done.stderr.strip()}")
    started = []
    try:
        for name, (_, container) in by_name.items():
            if program_of(container) == "belay":
                continue
            given = {**environment(documents, container), **place, "BELAY_REGISTRY": "http://127.0.0.1:9"}
            given["BELAY_HTTP"] = f"127.0.0.1:{free_port()}"
            if "BELAY_INTERNAL_HTTP" in given:
                given["BELAY_INTERNAL_HTTP"] = f"127.0.0.1:{free_port()}"
            process = subprocess.Popen(
                [programs / program_of(container)], env=clean(given), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
            )
            started.append((name, container, process, given["BELAY_HTTP"]))
        for name, container, process, address in started:
            wait_for(name, container, process, address)
        check_watch(by_name["audit-watch"][1], documents, programs, place)
        for name in ("audit", "audit-everything"):
            audit = by_name[name][1]
            given = {**environment(documents, audit), **place}
            done = subprocess.run([programs / "belay", *audit["args"]], env=clean(given), capture_output=True, text=True)
            expect(done.returncode == 0, f"CronJob/{name}: {done.stderr.strip() or done.stdout.strip()}")
        for name, _, process, _ in started:
            process.terminate()
        for name, _, process, _ in started:
            expect(process.wait(timeout=15) == 0, f"{name} ended with {process.returncode}")
    finally:
        for _, _, process, _ in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def administrator(server):
    """A role that may make roles and databases and is no superuser, as Cloud SQL's `postgres` is none."""
    host, port, user, password = server
    psql = shutil.which("psql") or next(map(str, sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin/psql"))), "psql")
    made = f"create role manager login createrole createdb password '{PASSWORD}'"
    words = [psql, "--no-psqlrc", "--quiet", "--host", host, "--port", str(port), "--username", user, "--dbname", "postgres"]
    done = subprocess.run([*words, "--command", made], env={**os.environ, "PGPASSWORD": password}, capture_output=True, text=True)
    expect(done.returncode == 0, f"no administrator can be made: {done.stderr.strip()}")
    return "manager", PASSWORD


def check_watch(container, documents, programs, place):
    """The continuous audit, as its Deployment starts it, on the databases that the Job and the services have made."""
    port = free_port()
    words = [f"--metrics={port}" if word.startswith("--metrics=") else word for word in container["args"]]
    expect("--metrics=0.0.0.0:8080" in container["args"], "Deployment/audit-watch listens where no probe comes")
    given = {**environment(documents, container), **place}
    process = subprocess.Popen(
        [programs / "belay", *words], env=clean(given), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        until = time.monotonic() + 60
        while ask(f"127.0.0.1:{port}", "/readyz")[0] != 200:
            expect(process.poll() is None, f"audit-watch ended: {process.stderr.read() if process.poll() is not None else ''}")
            expect(time.monotonic() < until, "audit-watch makes no audit within a minute")
            time.sleep(0.1)
        said = ask(f"127.0.0.1:{port}", "/metrics")[1]
        expect('belay_audit_violations{invariant="I11"} 0' in said, "audit-watch does not tell of I11")
        process.terminate()
        expect(process.wait(timeout=15) == 0, f"audit-watch ended with {process.returncode}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def wait_for(name, container, process, address):
    until = time.monotonic() + 60
    ready = container["readinessProbe"]["httpGet"]["path"]
    body = "nothing"
    while time.monotonic() < until:
        expect(process.poll() is None, f"{name} ended: {process.stderr.read() if process.poll() is not None else ''}")
        status, body = ask(address, ready)
        if status == 503 and "waits for the schema registry" in body:
            for probe in ("startupProbe", "livenessProbe"):
                path = container[probe]["httpGet"]["path"]
                expect(ask(address, path)[0] == 200, f"{name}: {path} is not answered")
            expect(ask(address, "/metrics")[0] == 200, f"{name}: /metrics is not answered")
            return
        time.sleep(0.1)
    expect(False, f"{name} did not come to the registry within a minute: {body}")


def ask(address, path):
    try:
        with urllib.request.urlopen(f"http://{address}{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as answer:
        return answer.code, answer.read().decode()
    except OSError as error:
        return 0, str(error)


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
