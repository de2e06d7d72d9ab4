"""Packs a root folder as a one-layer image in an OCI layout: oci_layout.py ROOT OUT TAG COMMAND.

The same root gives the same bytes, so that a registry that has the layer takes no second copy.
"""

import gzip
import hashlib
import json
import os
import platform
import sys
import tarfile

ROOT, OUT, TAG, COMMAND = sys.argv[1:5]
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
        with gzip.GzipFile(fileobj=packed, filename="", mode="wb", compresslevel=6, mtime=0) as zipped:
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


os.makedirs(BLOBS)
packed, diff_id = layer()
image = "application/vnd.oci.image"
config = blob(
    f"{image}.config.v1+json",
    {
        "architecture": ARCHITECTURE,
        "os": "linux",
        "created": "2023-11-14T22:13:20Z",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "Cmd": [COMMAND],
        },
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
        "history": [{"created": "2023-11-14T22:13:20Z", "created_by": "oci_layout.py"}],
    },
)
manifest = blob(
    f"{image}.manifest.v1+json",
    {
        "schemaVersion": 2,
        "mediaType": f"{image}.manifest.v1+json",
        "config": config,
        "layers": [
            {
                "mediaType": f"{image}.layer.v1.tar+gzip",
                "digest": f"sha256:{packed.sha256.hexdigest()}",
                "size": packed.size,
            }
        ],
    },
)
manifest["annotations"] = {"org.opencontainers.image.ref.name": TAG}
with open(os.path.join(OUT, "index.json"), "w") as file:
    json.dump({"schemaVersion": 2, "manifests": [manifest]}, file)
with open(os.path.join(OUT, "oci-layout"), "w") as file:
    json.dump({"imageLayoutVersion": "1.0.0"}, file)
