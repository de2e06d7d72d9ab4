"""One POST over `wasi:http`. The gateway lets it reach the hosts that the policy grants, and no other."""

from urllib.parse import urlsplit

from componentize_py_types import Err, Ok
from wit_world.imports import outgoing_handler
from wit_world.imports.wasi_http_types import (
    Fields,
    Method_Post,
    OutgoingBody,
    OutgoingRequest,
    RequestOptions,
    Scheme_Http,
    Scheme_Https,
)

TIMEOUT_NANOS = 5_000_000_000
CHUNK_BYTES = 4096
"""What a stream of the body takes at once."""


class Unreachable(Exception):
    pass


def post(url: str, body: bytes) -> int:
    """The status of the answer, whose body nobody reads."""
    try:
        return _post(url, body)
    except Err as error:
        raise Unreachable(type(error.value).__name__) from None


def _post(url: str, body: bytes) -> int:
    parts = urlsplit(url)
    request = OutgoingRequest(Fields.from_list([("content-type", b"application/json")]))
    request.set_method(Method_Post())
    request.set_scheme(Scheme_Https() if parts.scheme == "https" else Scheme_Http())
    request.set_authority(parts.netloc)
    request.set_path_with_query((parts.path or "/") + (f"?{parts.query}" if parts.query else ""))
    options = RequestOptions()
    options.set_connect_timeout(TIMEOUT_NANOS)
    options.set_first_byte_timeout(TIMEOUT_NANOS)

    outgoing = request.body()
    response = outgoing_handler.handle(request, options)
    with outgoing.write() as stream:
        for at in range(0, len(body), CHUNK_BYTES):
            stream.blocking_write_and_flush(body[at : at + CHUNK_BYTES])
    OutgoingBody.finish(outgoing, None)

    with response.subscribe() as ready:
        ready.block()
    answer = response.get()
    # Of having been asked once, of the call.
    if not isinstance(answer, Ok):
        raise Unreachable("no answer")
    if isinstance(answer.value, Err):
        raise Unreachable(type(answer.value.value).__name__)
    return answer.value.value.status()
