"""A client in Python: client.py PROTO_FOLDER ADDRESS ARCHIVE, token in IGNITE_TOKEN.

Generates its stubs from the contract, uploads the archive, builds it, follows the log, and prints as JSON what it saw.
"""

import json
import os
import sys
import tempfile
from importlib import resources

import grpc
from google.protobuf.json_format import MessageToDict
from grpc_tools import protoc

PROTO_FOLDER, ADDRESS, ARCHIVE = sys.argv[1:4]
CHUNK_BYTES = 512 * 1024

stubs = tempfile.TemporaryDirectory()
well_known = resources.files("grpc_tools") / "_proto"
out = [f"--python_out={stubs.name}", f"--grpc_python_out={stubs.name}"]
if protoc.main(["protoc", f"-I{PROTO_FOLDER}", f"-I{well_known}", *out, "dodil/ignite/v1/build.proto"]):
    sys.exit("the contract does not compile")
sys.path.insert(0, stubs.name)

from dodil.ignite.v1 import build_pb2 as v1  # noqa: E402
from dodil.ignite.v1 import build_pb2_grpc as services  # noqa: E402

token = [("authorization", f"Bearer {os.environ['IGNITE_TOKEN']}")]
builds = services.BuildServiceStub(grpc.insecure_channel(ADDRESS))


def upload():
    size = os.path.getsize(ARCHIVE)
    metadata = v1.UploadBuildContextMetadata(name="by-python", expected_size_bytes=size)
    yield v1.UploadBuildContextRequest(metadata=metadata)
    with open(ARCHIVE, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield v1.UploadBuildContextRequest(chunk=chunk)


context = builds.UploadBuildContext(upload(), metadata=token)
request = v1.CreateBuildRequest(name="by-python", context_id=context.context_id, tags=["py"])
created = builds.CreateBuild(request, metadata=token)

log = b""
follow = v1.StreamBuildLogsRequest(build_id=created.build_id, from_start=True)
for chunk in builds.StreamBuildLogs(follow, metadata=token):
    assert chunk.offset == len(log), "a gap or an overlap in the log"
    log += chunk.data

build = builds.GetBuild(v1.GetBuildRequest(build_id=created.build_id), metadata=token).build
listed = builds.ListBuilds(v1.ListBuildsRequest(limit=5), metadata=token).builds
cancelled = builds.CancelBuild(v1.CancelBuildRequest(build_id=build.id), metadata=token).status
try:
    builds.GetBuild(v1.GetBuildRequest(build_id="bld_01HZX9ABCDEFGHJKMNPQRSTVWX"), metadata=token)
    absent = "OK"
except grpc.RpcError as error:
    absent = error.code().name

json.dump(
    {
        "build": MessageToDict(build, always_print_fields_with_no_presence=True),
        "log": log.decode(),
        "listed": [each.id for each in listed],
        "cancelled": v1.BuildStatus.Name(cancelled),
        "absent": absent,
    },
    sys.stdout,
)
