"""Packs a root folder as one layer of an image in an OCI layout, alone or on top of another layout's image.

The same root gives the same bytes, so that a registry that has the layer takes no second copy.
"""

import argparse
import gzip
import hashlib
import json
import os
import platform
import shutil
import tarfile

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("root")
parser.add_argument("out")
parser.add_argument("tag")
parser.add_argument("command", nargs="*", help="what it runs if not told otherwise")
parser.add_argument("--base", help="layout whose one image goes below")
parser.add_argument("--entrypoint", action="append")
parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE")
parser.add_argument("--level", type=int, default=6, help="of compression; 0 is quick")
arguments = parser.parse_args()
ROOT, OUT, TAG = arguments.root, arguments.out, arguments.tag
BLOBS = os.path.join(OUT, "blobs", "sha256")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
EPOCH = 1_700_000_000


class Hashing:
    """A file that hashes what is written to it."""

    def __init__(self, file):
        self.file, self.sha256, self.size = file, hashlib.sha256(), 0

    def write(self, data):
        self.sha256.update(data)
        self.size += len(data)
        return self.file.write(data)

    def flush(self):
        self.file.flush()


def plain_times(entry):
    entry.mtime = EPOCH
    return entry


def layer():
    part = os.path.join(BLOBS, "layer.part")
    with open(part, "wb") as file:
        packed = Hashing(file)
        with gzip.GzipFile(fileobj=packed, filename="", mode="wb", compresslevel=arguments.level, mtime=0) as zipped:
            plain = Hashing(zipped)
            with tarfile.open(fileobj=plain, mode="w|", format=tarfile.GNU_FORMAT) as tar:
                for name in sorted(os.listdir(ROOT)):
                    tar.add(os.path.join(ROOT, name), arcname=name, filter=plain_times)
    os.rename(part, os.path.join(BLOBS, packed.sha256.hexdigest()))
    return packed, plain.sha256.hexdigest()


def blob(media_type, value):
    data = json.dumps(value, sort_keys=True).encode()
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(BLOBS, digest), "wb") as file:
        file.write(data)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}


def layers_of(layout):
    """What a layout's one image says of its layers, whose blobs are taken over."""

    def read(digest):
        with open(os.path.join(layout, "blobs", *digest.split(":"))) as file:
            return json.load(file)

    with open(os.path.join(layout, "index.json")) as file:
        manifest = read(json.load(file)["manifests"][0]["digest"])
    for layer in manifest["layers"]:
        name = layer["digest"].split(":")[1]
        shutil.copy(os.path.join(layout, "blobs", "sha256", name), os.path.join(BLOBS, name))
    return manifest["layers"], read(manifest["config"]["digest"])["rootfs"]["diff_ids"]


os.makedirs(BLOBS)
image = "application/vnd.oci.image"
layers, diff_ids = layers_of(arguments.base) if arguments.base else ([], [])
packed, diff_id = layer()
layers.append(
    {
        "mediaType": f"{image}.layer.v1.tar+gzip",
        "digest": f"sha256:{packed.sha256.hexdigest()}",
        "size": packed.size,
    }
)
diff_ids.append(f"sha256:{diff_id}")
settings = {"Env": arguments.env or ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
if arguments.command:
    settings["Cmd"] = arguments.command
if arguments.entrypoint:
    settings["Entrypoint"] = arguments.entrypoint
config = blob(
    f"{image}.config.v1+json",
    {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": settings,
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "oci_layout.py"} for _ in layers],
    },
)
manifest = blob(
    f"{image}.manifest.v1+json",
    {"schemaVersion": 2, "mediaType": f"{image}.manifest.v1+json", "config": config, "layers": layers},
)
manifest["annotations"] = {"org.opencontainers.image.ref.name": TAG}
with open(os.path.join(OUT, "index.json"), "w") as file:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
with open(os.path.join(OUT, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
