//! Over `wasi:http`.

use crate::{
    Failure,
    bindings::outgoing::wasi::{
        http::{
            outgoing_handler,
            types::{
                ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, RequestOptions,
                Scheme,
            },
        },
        io::streams::OutputStream,
    },
    http::Post,
};

/// What a stream takes at once, by the contract of `blocking-write-and-flush`.
const WRITE_BYTES_MAX: usize = 4096;
/// Of the answer, for the report.
const ANSWER_BYTES_MAX: u64 = 512;

/// The status, and the beginning of the answer.
pub(super) fn send(post: &Post) -> Result<(u16, String), Failure> {
    let request = request(post)?;
    let body = request.body().map_err(|()| never("the request has no body"))?;
    let coming = outgoing_handler::handle(request, Some(options(post)?)).map_err(|e| refused(&e))?;

    let stream = body
        .write()
        .map_err(|()| never("the request's body has no stream"))?;
    // A receiver that answers before it has read all closes the stream; its answer says why.
    let all = write(&stream, &post.body);
    drop(stream);
    if all {
        OutgoingBody::finish(body, None).map_err(|e| refused(&e))?;
    }

    coming.subscribe().block();
    let response = match coming.get() {
        Some(Ok(response)) => response.map_err(|e| refused(&e))?,
        Some(Err(())) | None => return Err(Failure::Again("no answer came".to_owned())),
    };
    Ok((response.status(), beginning(&response)))
}

fn request(post: &Post) -> Result<OutgoingRequest, Failure> {
    let fields = Fields::new();
    let json = ("content-type".to_owned(), "application/json".to_owned());
    for (name, value) in std::iter::once(&json).chain(&post.headers) {
        fields.append(name, value.as_bytes()).map_err(|_| {
            Failure::Never(format!(
                "the header {name} cannot be sent: choose another name or value"
            ))
        })?;
    }
    fields
        .append("content-length", post.body.len().to_string().as_bytes())
        .map_err(|_| never("the length of the body cannot be sent"))?;

    let request = OutgoingRequest::new(fields);
    let scheme = if post.url.tls() {
        Scheme::Https
    } else {
        Scheme::Http
    };
    request
        .set_method(&Method::Post)
        .map_err(|()| never("POST was refused"))?;
    request
        .set_scheme(Some(&scheme))
        .map_err(|()| never("the URL's scheme was refused"))?;
    request
        .set_authority(Some(post.url.authority()))
        .map_err(|()| never("the URL's host was refused"))?;
    request
        .set_path_with_query(Some(post.url.path_with_query()))
        .map_err(|()| never("the URL's path was refused"))?;
    Ok(request)
}

fn options(post: &Post) -> Result<RequestOptions, Failure> {
    let nanos = Some(u64::try_from(post.timeout.as_nanos()).unwrap_or(u64::MAX));
    let options = RequestOptions::new();
    options
        .set_connect_timeout(nanos)
        .and_then(|()| options.set_first_byte_timeout(nanos))
        .and_then(|()| options.set_between_bytes_timeout(nanos))
        .map_err(|()| never("the timeout was refused"))?;
    Ok(options)
}

/// Whether all of it was taken.
fn write(stream: &OutputStream, bytes: &[u8]) -> bool {
    bytes
        .chunks(WRITE_BYTES_MAX)
        .all(|chunk| stream.blocking_write_and_flush(chunk).is_ok())
}

fn beginning(response: &IncomingResponse) -> String {
    let read = || {
        let body = response.consume().ok()?;
        let stream = body.stream().ok()?;
        stream.blocking_read(ANSWER_BYTES_MAX).ok()
    };
    String::from_utf8_lossy(&read().unwrap_or_default()).into_owned()
}

/// What the host will not do it will not do next time; everything else is the network's, which mends.
fn refused(code: &ErrorCode) -> Failure {
    let message = format!("the call failed: {code:?}");
    match code {
        ErrorCode::HttpRequestDenied
        | ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_) => Failure::Never(message),
        _ => Failure::Again(message),
    }
}

fn never(message: &str) -> Failure {
    Failure::Never(message.to_owned())
}
