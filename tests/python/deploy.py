"""Reads compose.yaml and Traefik's files as programs do, and tells what in them leads nowhere.

    deploy.py REPOSITORY FOLDER_WHERE_SECRETS_SH_RAN
"""

import os
import re
import sys

import yaml

root, made = sys.argv[1:]
problems = []


def check(good, words):
    if not good:
        problems.append(words)


def load(name):
    with open(os.path.join(root, name)) as file:
        return yaml.safe_load(file)


text = open(os.path.join(root, "compose.yaml")).read()
compose = load("compose.yaml")
services, secrets, volumes = compose["services"], compose["secrets"], compose["volumes"]
for name in ("mesh", "caddy", "coturn", "gotify", "postgres"):
    check(name in services, f"no service {name}")

for name, secret in secrets.items():
    check(os.path.isfile(os.path.join(made, secret["file"])), f"secrets.sh does not make {secret['file']}")
for name, service in services.items():
    for secret in service.get("secrets", []):
        check(secret in secrets, f"{name}: no secret {secret}")
    for file in service.get("env_file", []):
        check(os.path.isfile(os.path.join(made, file["path"])), f"secrets.sh does not make {file['path']}")
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        there = os.path.exists(os.path.join(root, source)) if source.startswith(".") else source in volumes
        check(there, f"{name}: no {source}")
    environment = service.get("environment", {})
    for key, value in environment.items():
        if key.endswith("_FILE"):
            check(value.split("/")[-1] in service["secrets"], f"{name}: {key} names a secret that it does not have")
    for needed in service.get("depends_on", {}):
        check(needed in services, f"{name} depends on {needed}")
    for network in service.get("networks", []):
        check(network in compose["networks"], f"{name}: no network {network}")

lines = open(os.path.join(made, ".env")).read().splitlines()
named = {line.lstrip("#").split("=")[0] for line in lines if re.match(r"#?[A-Z_]+=", line)}
for variable, default in re.findall(r"\$\{([A-Z_]+)(:-[^}]*)?", text):
    check(variable in named, f"{variable} stands in compose.yaml, and secrets.sh does not write it")

mesh = services["mesh"]
check(mesh["read_only"] and mesh["cap_drop"] == ["ALL"], "mesh is not kept from what it does not need")
subnet = compose["networks"]["inside"]["ipam"]["config"][0]["subnet"]
check(mesh["environment"]["MESH_TRUSTED_PROXIES"] == subnet, "the proxy's address is not believed")
check(services["postgres"]["profiles"] == ["postgres"], "PostgreSQL is no profile")

static, dynamic = load("deploy/traefik.yml"), load("deploy/traefik-mesh.yml")
check(os.path.basename(static["providers"]["file"]["filename"]) == "traefik-mesh.yml", "Traefik reads another file")
for name, router in dynamic["http"]["routers"].items():
    check(router["service"] in dynamic["http"]["services"], f"Traefik: no service {router['service']}")
    check(all(entry in static["entryPoints"] for entry in router["entryPoints"]), f"Traefik: {name} has no entry point")
    check(router["tls"]["certResolver"] in static["certificatesResolvers"], f"Traefik: {name} has no resolver")

print("\n".join(problems) or "read")
