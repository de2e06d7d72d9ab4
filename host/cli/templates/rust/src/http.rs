//! One POST over `wasi:http`. The gateway lets it reach the hosts that the policy grants, and no other.

use crate::bindings::wasi::http::{
    outgoing_handler::handle,
    types::{Fields, Method, OutgoingBody, OutgoingRequest, RequestOptions, Scheme},
};

const TIMEOUT_NANOS: u64 = 5_000_000_000;
/// What a stream of the body takes at once.
const CHUNK_BYTES: usize = 4096;

/// The status of the answer, whose body nobody reads.
pub fn post(url: &str, body: &[u8]) -> Result<u16, String> {
    let (scheme, rest) = match url.split_once("://") {
        Some(("https", rest)) => (Scheme::Https, rest),
        Some(("http", rest)) => (Scheme::Http, rest),
        _ => return Err("must begin with http:// or https://".to_owned()),
    };
    let (authority, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/"),
    };
    let headers = Fields::new();
    headers
        .append("content-type", b"application/json")
        .map_err(|error| format!("{error:?}"))?;
    let request = OutgoingRequest::new(headers);
    let wrong = |()| "is not a URL that can be called".to_owned();
    request.set_method(&Method::Post).map_err(wrong)?;
    request.set_scheme(Some(&scheme)).map_err(wrong)?;
    request.set_authority(Some(authority)).map_err(wrong)?;
    request.set_path_with_query(Some(path)).map_err(wrong)?;
    let options = RequestOptions::new();
    // A gateway that sets its own limits may refuse ours; it then has the shorter ones.
    let _ = options.set_connect_timeout(Some(TIMEOUT_NANOS));
    let _ = options.set_first_byte_timeout(Some(TIMEOUT_NANOS));

    let outgoing = request.body().map_err(wrong)?;
    let response = handle(request, Some(options)).map_err(|error| error.to_string())?;
    let stream = outgoing.write().map_err(wrong)?;
    for chunk in body.chunks(CHUNK_BYTES) {
        stream
            .blocking_write_and_flush(chunk)
            .map_err(|error| format!("{error:?}"))?;
    }
    drop(stream);
    OutgoingBody::finish(outgoing, None).map_err(|error| error.to_string())?;

    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => Ok(response.status()),
        Some(Ok(Err(error))) => Err(error.to_string()),
        Some(Err(())) | None => Err("no answer".to_owned()),
    }
}
