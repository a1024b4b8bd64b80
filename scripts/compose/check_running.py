"""What the containers would do, done by the real programs: databases and roles are made by the one-shot's environment on
a real PostgreSQL, every service runs with its container's environment until its own health check is content, and the
dashboards are compared with what a running system exports. Runs under with-postgres."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import dashboards
from common import SERVICES, environment, environment_file, expect, fail, resolved, scratch

DOCKER_COMPOSE, PROGRAMS = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
# How long anything here may take, in seconds: a loaded machine takes a while.
PATIENCE = 90


def wait_for(what, condition):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.1)
    fail(f"{what} did not come within {PATIENCE} s")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def stop(process, name):
    """Asks the program to end, as the engine does."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        fail(f"{name} does not stop")


class System:
    """A whole system on embedded parts: its registry serves the containers' programs, its metrics the dashboards."""

    def __init__(self, directory):
        self.data = directory / "data"
        self.log = (directory / "up.log").open("w")
        clean = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
        words = [str(PROGRAMS / "belay"), "up", "--data", str(self.data), "--http", "127.0.0.1:0"]
        self.process = subprocess.Popen(words, env=clean, stdout=self.log, stderr=self.log, cwd=directory)
        self.info = wait_for("belay up", self.running)

    def running(self):
        expect(self.process.poll() is None, f"belay up ended: {pathlib.Path(self.log.name).read_text()}")
        try:
            return json.loads((self.data / "running.json").read_text())
        except (FileNotFoundError, json.JSONDecodeError):
            return None

    def token(self):
        words = [str(PROGRAMS / "belay"), "token", "--data", str(self.data), "--role", "customer", "--subject", "alice"]
        return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()

    def ask(self, query, token=None, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        headers = {"content-type": "application/json"}
        if token:
            headers["authorization"] = f"Bearer {token}"
        request = urllib.request.Request(f"{self.info['http']}/graphql", body, headers)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return json.load(answer)["data"]

    def buy(self):
        """One purchase, to its end: from then on every ordinary metric is there."""

        def product():
            filter = "{ availability: [IN_STOCK] }"
            data = self.ask("{ products(first: 1, filter: %s) { nodes { id } } }" % filter)
            nodes = data and data["products"]["nodes"]
            return nodes and nodes[0]["id"]

        token = self.token()
        submit = (
            "mutation($input: SubmitPurchaseInput!) { submitPurchase(input: $input)"
            " { purchase { id } userErrors { message } } }"
        )
        order = {
            "idempotencyKey": os.urandom(16).hex(),
            "lines": [{"productId": wait_for("a product", product), "quantity": 1}],
            "paymentMethodToken": "tok_ok",
        }
        done = self.ask(submit, token, input=order)["submitPurchase"]
        expect(done["purchase"], f"the purchase is refused: {done['userErrors']}")

        def state():
            data = self.ask("query($id: ID!) { purchase(id: $id) { state } }", token, id=done["purchase"]["id"])
            return data["purchase"]["state"] == "COMPLETED"

        wait_for("the end of the purchase", state)

    def metrics(self):
        with urllib.request.urlopen(f"{self.info['http']}/metrics", timeout=20) as answer:
            return answer.read().decode()


def address_of(url):
    return re.search(r"@([^/]+)/", url).group(1)


def provision(services, postgres):
    """The one-shot, as its container runs it, but for the address of the server and its administrator."""
    given = environment(services["provision"])
    given["BELAY_ADMIN_DATABASE_URL"] = postgres.rstrip("/") + "/postgres"
    words = [str(PROGRAMS / "belay"), *services["provision"]["command"]]
    for _ in range(2):
        done = subprocess.run(words, env=given, capture_output=True, text=True, timeout=PATIENCE)
        expect(done.returncode == 0, f"belay provision: {done.stderr.strip()}")
        said = done.stdout + done.stderr
        expect(not any(value in said for name, value in given.items() if "PASSWORD" in name), "provision prints a password")
    lacking = {name: value for name, value in given.items() if name != "BELAY_PASSWORD_ORDERS"}
    done = subprocess.run(words, env=lacking, capture_output=True, text=True, timeout=PATIENCE)
    expect(done.returncode != 0 and "BELAY_PASSWORD_ORDERS" in done.stderr, "provision makes up a password")


def native(name, service, system, postgres, directory):
    """The container's environment, with the parts where they are on this machine. No broker is there: a service is ready
    without one."""
    given = environment(service)
    database = given["BELAY_DATABASE_URL"]
    expect(address_of(database) == "db:5432", f"{name} has its database at {address_of(database)}")
    given["BELAY_DATABASE_URL"] = database.replace("@db:5432/", f"@{address_of(postgres.rstrip('/') + '/')}/")
    given["BELAY_REGISTRY"] = system.info["registry"]
    given["BELAY_KAFKA"] = "127.0.0.1:1"
    port = free_port()
    # All interfaces of a container are the loopback of this machine.
    given["BELAY_HTTP"] = f"127.0.0.1:{port}"
    if "BELAY_INTERNAL_HTTP" in given:
        given["BELAY_INTERNAL_HTTP"] = f"127.0.0.1:{free_port()}"
    log = (directory / f"{name}.log").open("w")
    words = [str(PROGRAMS / name)]
    return given, subprocess.Popen(words, env=given, stdout=log, stderr=log, cwd=directory), log


def healthy(name, service, given, process, log):
    kind, program, *rest = service["healthcheck"]["test"]
    expect(kind == "CMD" and pathlib.Path(program).name == name, f"{name} is not asked by its own program")
    words = [str(PROGRAMS / name), *rest]

    def asked():
        expect(process.poll() is None, f"{name} ended: {pathlib.Path(log.name).read_text()}")
        return subprocess.run(words, env=given, capture_output=True).returncode == 0

    wait_for(f"the health of {name} ({log.name})", asked)
    return words


def main():
    postgres = os.environ["BELAY_TEST_POSTGRES"]
    with scratch() as directory:
        directory = pathlib.Path(directory)
        env_file = environment_file(directory, PROGRAMS)
        _, services = resolved(DOCKER_COMPOSE, env_file, ["all"])
        # The embedded PostgreSQL runs as somebody else when we are root, and has to get to its data.
        directory.chmod(0o755)
        provision(services, postgres)
        system, started = None, {}
        try:
            system = System(directory)
            system.buy()
            summary = dashboards.check(system.metrics())
            for name in SERVICES:
                started[name] = native(name, services[name], system, postgres, directory)
            for name in SERVICES:
                given, process, log = started[name]
                words = healthy(name, services[name], given, process, log)
            for name in SERVICES:
                given, process, _ = started[name]
                code = stop(process, name)
                expect(code == 0, f"{name} ends with {code}")
                words = [str(PROGRAMS / name), "probe"]
                expect(subprocess.run(words, env=given, capture_output=True).returncode == 1, f"{name} is well and gone")
        finally:
            for _, process, _ in started.values():
                if process.poll() is None:
                    process.kill()
            if system:
                stop(system.process, "belay up")
    print(f"containers: databases and roles made, {len(SERVICES)} services healthy with their environment, and stopped")
    print(f"dashboards and alerts: {summary}")


main()
