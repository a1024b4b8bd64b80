"""docker-compose.yml and Dockerfile as they are written: valid with every profile, closed, pinned, without secrets, and in
agreement with each other and with the programs' own idea of their configuration."""

import json
import pathlib
import re
import subprocess
import sys

from common import COMPOSE, ROOT, SERVICES, config, environment, environment_file, expect, resolved, scratch, variables

DOCKER_COMPOSE, PROGRAMS = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
# Every profile alone, and together as README and docs/compose.md have them.
COMBINATIONS = [
    ["all"],
    ["all", "monitoring"],
    ["all", "monitoring", "tools"],
    ["all", "cdc"],
    ["all", "cdc", "monitoring", "tools", "auth", "mail", "db", "kafka"],
]
RUNS_ONCE = {"provision", "topics", "capture"}
# Run `belay` and go on for ever.
RUNS_BELAY = {"audit"}


def profiles_of_the_file(text):
    import yaml

    services = yaml.safe_load(text)["services"]
    return sorted({profile for service in services.values() for profile in service["profiles"]})


def check_profiles(env_file):
    alone = [[profile] for profile in profiles_of_the_file(COMPOSE.read_text())]
    wanted = {"db", "kafka", *SERVICES, "all", "auth", "mail", "monitoring", "cdc", "tools"}
    expect({name for [name] in alone} == wanted, f"the profiles are not {sorted(wanted)}")
    documented = re.findall(r"^[^#\n]*docker compose((?: --profile [a-z-]+)+)", documents(), re.MULTILINE)
    written = [re.findall(r"--profile ([a-z-]+)", words) for words in documented]
    expect(["all"] in written, "no document says `docker compose --profile all up`")
    for profiles in alone + COMBINATIONS + written:
        _, active = resolved(DOCKER_COMPOSE, env_file, profiles)
        expect(active, f"profile {profiles} starts nothing")
        for name, service in active.items():
            for other, how in service.get("depends_on", {}).items():
                expect(other in active, f"{name} needs {other}, which profiles {profiles} do not start")
                wanted_how = "service_completed_successfully" if other in RUNS_ONCE else "service_healthy"
                expect(how["condition"] == wanted_how, f"{name} waits for {other} with {how['condition']}")
    return len(alone), len(COMBINATIONS) + len(written)


def documents():
    return "".join((ROOT / path).read_text() for path in ["README.md", "docs/compose.md"])


def check_secrets(env_file):
    known = variables(env_file)
    text = COMPOSE.read_text()
    # The operators' own key is theirs alone: no container has it.
    known.pop("BELAY_IDENTITY_KEY_BELAY")
    expect("BELAY_IDENTITY_KEY_BELAY" not in text, "the operators' key is in the compose file")
    for name in known:
        expect(f"${{{name}:?" in text, f"{name} is in .env.example, and the compose file does not insist on it")
        without = env_file.parent / "without.env"
        without.write_text("".join(f"{key}={value}\n" for key, value in known.items() if key != name))
        code, _, err = config(DOCKER_COMPOSE, without, ["all"])
        expect(code != 0 and name in err and ".env" in err, f"without {name} the file is not refused clearly: {err.strip()}")
    for line in text.splitlines():
        found = re.match(r"\s+([A-Z_]*(?:PASSWORD|SECRET|TOKEN|KEY)[A-Z_]*):\s*(.*)$", line)
        expect(not found or found.group(2).startswith("${"), f"this may be a secret: {line.strip()}")
        expect(not re.search(r"://[^:/@\s]+:(?!\$\{)[^@/\s]+@", line), f"a password is in a URL: {line.strip()}")
    return len(known)


def check_containers(services):
    for name, service in services.items():
        ours = name in SERVICES or name in RUNS_ONCE or name in RUNS_BELAY
        image = service["image"]
        tag = image.rpartition(":")[2] if ":" in image.rpartition("/")[2] else ""
        expect(tag and tag != "latest", f"{name}: the image {image} has no fixed tag")
        expect(ours == ("build" in service), f"{name}: what is ours is built, and nothing else")
        for port in service.get("ports", []):
            text = port if isinstance(port, str) else str(port)
            expect(text.startswith("127.0.0.1:"), f"{name} publishes {text}")
        expect(service.get("cap_drop") == ["ALL"], f"{name} keeps capabilities")
        expect("no-new-privileges:true" in service.get("security_opt", []), f"{name} may gain privileges")
        limits = service.get("deploy", {}).get("resources", {}).get("limits", {})
        expect({"cpus", "memory"} <= limits.keys() and "pids_limit" in service, f"{name} has no limits")
        expect(not service.get("privileged") and "network_mode" not in service, f"{name} is not contained")
        expect(set(service.get("networks") or {"default": None}) == {"default"}, f"{name} is on another network")
        if name in RUNS_ONCE:
            expect("restart" not in service, f"{name} runs once")
        else:
            expect("healthcheck" in service and service.get("restart") == "unless-stopped", f"{name} is not watched")
        if ours:
            expect(service.get("read_only") is True and service.get("user") == "65532:65532", f"{name} may write")
            expect(not service.get("volumes") and not service.get("tmpfs"), f"{name} has something to write to")


def targets():
    """The Dockerfile's targets for our programs: name -> (entry point, health check)."""
    text = (ROOT / "Dockerfile").read_text()
    found = {}
    for name, body in re.findall(r"^FROM runtime AS (\S+)\n((?:(?!FROM ).*\n?)*)", text, re.MULTILINE):
        entry = re.search(r"^ENTRYPOINT (\[.*\])$", body, re.MULTILINE)
        health = re.search(r"^HEALTHCHECK CMD (\[.*\])$", body, re.MULTILINE)
        copied = re.search(r"^COPY --from=build /out/(\S+) (\S+)$", body, re.MULTILINE)
        expect(entry and copied, f"target {name} has no program")
        entry = json.loads(entry.group(1))
        expect([copied.group(2)] == entry and copied.group(1) == name, f"target {name} starts what it does not have")
        found[name] = (entry, json.loads(health.group(1)) if health else None)
    return found


def check_dockerfile(services):
    text = (ROOT / "Dockerfile").read_text()
    metadata = subprocess.run(
        ["cargo", "metadata", "--no-deps", "--format-version=1", "--locked"], cwd=ROOT, check=True, capture_output=True
    )
    packages = json.loads(metadata.stdout)["packages"]
    programs = {target["name"] for package in packages for target in package["targets"] if "bin" in target["kind"]}
    wanted = {*SERVICES, "belay"}
    expect(wanted <= programs, f"these are no programs of the workspace: {sorted(wanted - programs)}")
    images = targets()
    expect(set(images) == wanted, f"the Dockerfile has targets {sorted(images)}")
    installed = set(re.findall(r"^\s+target/release/(\S+)", text, re.MULTILINE))
    expect(installed == wanted, f"the Dockerfile installs {sorted(installed)}")
    named = [re.findall(r"--package (\S+)", command) for command in re.split(r"^RUN", text, flags=re.MULTILINE)]
    named = [set(packages) for packages in named if packages]
    expect(named == [wanted, wanted], "cook and build do not name the packages of the images")
    for name, service in services.items():
        if "build" not in service:
            continue
        target = service["build"]["target"]
        expect(service["image"].split("/")[-1].split(":")[0] == target, f"{name}: image and target differ")
        entry, health = images[target]
        if name in SERVICES:
            expect(target == name and "command" not in service, f"{name} runs something else than its image")
            expect(service["healthcheck"]["test"] == ["CMD", *health[0:]], f"{name}: health checks differ")
            expect(health == [*entry, "probe"], f"{name}: the image's health check is not its own program")
    toolchain = re.search(r'^channel = "(.*)"', (ROOT / "rust-toolchain.toml").read_text(), re.MULTILINE).group(1)
    expect(f"/rust:{toolchain}-" in text and f"RUSTUP_TOOLCHAIN={toolchain}" in text, "the Dockerfile has another Rust")
    members = {pathlib.Path(package["manifest_path"]).parent.relative_to(ROOT).parts[0] for package in packages}
    ignore = (ROOT / ".dockerignore").read_text().splitlines()
    for needed in [*members, "Cargo.toml", "Cargo.lock", ".sqlx", "avro", "cdc"]:
        expect(f"!{needed}" in ignore, f".dockerignore leaves out {needed}, which the build needs")


def check_configurations(services, known):
    """`--check-config` of the real program with exactly the environment of its container."""
    for name in SERVICES:
        entry = [str(PROGRAMS / name), "--check-config"]
        done = subprocess.run(entry, env=environment(services[name]), capture_output=True, text=True, timeout=30)
        expect(done.returncode == 0, f"{name} does not take its environment: {done.stderr.strip()}")
        for variable, value in environment(services[name]).items():
            ours = variable.startswith("BELAY_")
            expect(not ours or f"({variable})" in done.stdout, f"{name} does not know {variable}")
        expect("0.0.0.0:8080  (BELAY_HTTP)" in done.stdout, f"{name} does not listen where its port is")
        said = done.stdout + done.stderr
        expect(not any(secret in said for secret in known.values()), f"{name} prints a password")
        lacking = {key: value for key, value in environment(services[name]).items() if key != "BELAY_DATABASE_URL"}
        done = subprocess.run(entry, env=lacking, capture_output=True, text=True, timeout=30)
        expect(done.returncode != 0 and "--database-url" in done.stderr, f"{name} takes half a configuration")
    unsaid = environment(services["payments"])
    del unsaid["BELAY_PAYMENT_PROVIDER"]
    done = subprocess.run([str(PROGRAMS / "payments"), "--check-config"], env=unsaid, capture_output=True, text=True)
    expect(done.returncode != 0 and "--provider" in done.stderr, "payments simulates without having been told to")
    for name in sorted(RUNS_ONCE | RUNS_BELAY):
        # The command's words are taken if its help is shown.
        words = [str(PROGRAMS / "belay"), *services[name]["command"], "--help"]
        done = subprocess.run(words, env=environment(services[name]), capture_output=True, text=True, timeout=30)
        expect(done.returncode == 0, f"{name}: belay does not know {services[name]['command']}: {done.stderr.strip()}")


def check_files(services):
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = str(volume).split(":")[0]
            if source.startswith("/"):
                expect(pathlib.Path(source).exists(), f"{name} mounts {source}, which is not there")
    issuer = environment(services["bff"])["BELAY_ISSUER"]
    expect(issuer.startswith(environment(services["keycloak"])["KC_HOSTNAME"] + "/realms/"), "the edge trusts another issuer")
    [mounted] = [str(volume).split(":")[0] for volume in services["keycloak"]["volumes"]]
    realm = json.loads(pathlib.Path(mounted).read_text())
    expect(issuer.endswith("/" + realm["realm"]), f"the realm is {realm['realm']}, and the issuer {issuer}")
    audience = environment(services["bff"])["BELAY_AUDIENCE"]
    mapped = [
        mapper["config"].get("included.custom.audience") or mapper["config"].get("included.client.audience")
        for holder in [*realm.get("clients", []), *realm.get("clientScopes", [])]
        for mapper in holder.get("protocolMappers", [])
        if mapper["protocolMapper"] == "oidc-audience-mapper"
    ]
    expect(audience in mapped, f"no audience mapper of the realm adds {audience}")
    import yaml

    scraped = yaml.safe_load((ROOT / "compose/prometheus/prometheus.yml").read_text())["scrape_configs"]
    addresses = [target for job in scraped for group in job["static_configs"] for target in group["targets"]]
    expect(sorted(addresses) == sorted(f"{name}:8080" for name in {*SERVICES, *RUNS_BELAY}), f"Prometheus scrapes {addresses}")


def main():
    with scratch() as directory:
        env_file = environment_file(pathlib.Path(directory), PROGRAMS)
        alone, together = check_profiles(env_file)
        secrets = check_secrets(env_file)
        everything = COMBINATIONS[-1]
        _, services = resolved(DOCKER_COMPOSE, env_file, everything)
        check_containers(services)
        check_dockerfile(services)
        check_files(services)
        check_configurations(services, variables(env_file))
        # The tests' realm has passwords that everybody knows: it has to be asked for.
        expect("belay-test" not in json.dumps(services), "the realm of the tests is taken without having been asked for")
        _, tried = resolved(DOCKER_COMPOSE, env_file, everything, BELAY_REALM="belay-test")
        check_files(tried)
        _, captured = resolved(DOCKER_COMPOSE, env_file, everything, BELAY_OUTBOX="cdc", BELAY_OTLP="http://traces:4318")
        check_configurations(captured, variables(env_file))
    print(f"compose file: {alone} profiles, {together} combinations, {len(services)} containers, {secrets} secrets: right")


main()
