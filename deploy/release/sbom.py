"""Prints the components of the binary as CycloneDX 1.5: every crate that `postrider` is built from, by `cargo metadata` and
Cargo.lock. Fails when a crate has no licence, or one that deny.toml does not allow. The same commit gives the same output.

    python3 deploy/release/sbom.py > sbom.json
    python3 deploy/release/sbom.py --licences        # a line for each crate
"""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET = "x86_64-unknown-linux-gnu"


def metadata():
    command = ["cargo", "metadata", "--locked", "--format-version", "1", "--filter-platform", TARGET]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout)


def built_from(data, name):
    """The packages that `name` is built from: normal and build dependencies, without dependencies of tests."""
    packages = {package["id"]: package for package in data["packages"]}
    nodes = {node["id"]: node for node in data["resolve"]["nodes"]}
    todo = [key for key, package in packages.items() if package["name"] == name]
    reached = {}
    while todo:
        key = todo.pop()
        if key in reached:
            continue
        reached[key] = packages[key]
        for dependency in nodes[key]["deps"]:
            if any(kind["kind"] != "dev" for kind in dependency["dep_kinds"]):
                todo.append(dependency["pkg"])
    return sorted(reached.values(), key=lambda package: (package["name"], package["version"]))


def is_allowed(expression, allowed):
    """Whether the allowed licences satisfy an expression: one side of an `OR`, both sides of an `AND`."""
    expression = expression.replace("/", " OR ")
    parts = re.split(r"\s+OR\s+", expression.replace("(", "").replace(")", "")) if " AND " not in expression else [expression]
    for part in parts:
        terms = [term.strip(" ()") for term in part.split(" AND ")]
        if all(any(choice.strip(" ()") in allowed for choice in term.split(" OR ")) for term in terms):
            return True
    return False


def main():
    packages = built_from(metadata(), "postrider")
    lock = tomllib.loads((ROOT / "Cargo.lock").read_text())
    checksums = {(package["name"], package["version"]): package.get("checksum") for package in lock["package"]}
    allowed = set(tomllib.loads((ROOT / "deny.toml").read_text())["licenses"]["allow"])
    wrong = [f"{p['name']} {p['version']}: {p['license']}" for p in packages if not p["license"] or not is_allowed(p["license"], allowed)]
    if wrong:
        sys.exit("licences that deny.toml does not allow:\n" + "\n".join(wrong))
    if "--licences" in sys.argv:
        for package in packages:
            print(f"{package['name']} {package['version']}: {package['license']}")
        return
    components = []
    for package in packages:
        component = {
            "type": "application" if package["name"] == "postrider" else "library",
            "bom-ref": f"{package['name']}@{package['version']}",
            "name": package["name"],
            "version": package["version"],
            "licenses": [{"expression": package["license"].replace("/", " OR ")}],
        }
        if package["source"]:
            component["purl"] = f"pkg:cargo/{package['name']}@{package['version']}"
        if checksum := checksums.get((package["name"], package["version"])):
            component["hashes"] = [{"alg": "SHA-256", "content": checksum}]
        components.append(component)
    main_component = next(component for component in components if component["name"] == "postrider")
    components.remove(main_component)
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": main_component},
        "components": components,
    }
    print(json.dumps(document, indent=1))


if __name__ == "__main__":
    main()
