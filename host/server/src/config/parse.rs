//! From text to values. An error says what would be right: it ends the sentence "… is not".

use std::{
    net::{IpAddr, SocketAddr},
    path::PathBuf,
    str::FromStr,
    time::Duration,
};

use bytesize::ByteSize;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::{ExecutorKind, LogFormat};

/// Timeouts are counted in seconds.
const PERIOD_MIN: Duration = Duration::from_secs(1);
/// A smaller log could not keep what one write brings.
const LOG_BYTES_MIN: u64 = 256 << 10;

pub(super) fn path(text: &str) -> Result<PathBuf, String> {
    if text.is_empty() {
        Err("a path".to_owned())
    } else {
        Ok(PathBuf::from(text))
    }
}

pub(super) fn address(text: &str) -> Result<SocketAddr, String> {
    text.parse()
        .map_err(|_| "an address such as 127.0.0.1:8080 or [::]:8080".to_owned())
}

pub(super) fn boolean(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| "true or false".to_owned())
}

pub(super) fn number<T: FromStr>(text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| "a whole number of a sensible size".to_owned())
}

/// A limit: with none at all nothing would ever be built.
pub(super) fn count<T: FromStr + PartialOrd + From<u8>>(text: &str) -> Result<T, String> {
    number(text)
        .ok()
        .filter(|count| *count >= T::from(1))
        .ok_or_else(|| "a whole number, 1 or more".to_owned())
}

pub(super) fn period(text: &str) -> Result<Duration, String> {
    match duration(text)? {
        period if period >= PERIOD_MIN => Ok(period),
        _ => Err("a duration of at least 1s".to_owned()),
    }
}

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "a duration such as 30s, 5m or 2h".to_owned())
}

pub(super) fn size(text: &str) -> Result<u64, String> {
    match text.parse::<ByteSize>() {
        Ok(size) if size.as_u64() > 0 => Ok(size.as_u64()),
        Ok(_) | Err(_) => Err("a size such as 512MiB or 20GiB".to_owned()),
    }
}

pub(super) fn log_size(text: &str) -> Result<u64, String> {
    size(text).and_then(|bytes| match bytes >= LOG_BYTES_MIN {
        true => Ok(bytes),
        false => Err("a size of at least 256KiB".to_owned()),
    })
}

/// Names in Kubernetes.
pub(super) fn lease(text: &str) -> Result<String, String> {
    let is_name = |name: &str| {
        let inside =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        let ends = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
        let bytes = name.as_bytes();
        bytes.len() <= 253
            && bytes.iter().all(|byte| inside(*byte))
            && ends(bytes.first())
            && ends(bytes.last())
    };
    let (namespace, name) = text.split_once('/').unwrap_or(("default", text));
    if is_name(namespace) && is_name(name) {
        Ok(text.to_owned())
    } else {
        Err("must be the name of a Lease, or namespace/name, in lower case".to_owned())
    }
}

pub(super) fn registry(text: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    if !text.is_empty() && text.chars().all(plain) {
        Ok(text.to_owned())
    } else {
        Err("the host[:port] of a registry, without a scheme or a path".to_owned())
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err("text or json".to_owned()),
    }
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    match EnvFilter::try_new(text) {
        Ok(_) if !text.is_empty() => Ok(text.to_owned()),
        Ok(_) | Err(_) => Err("a level, or directives such as info,ignite_server=debug".to_owned()),
    }
}

pub(super) fn executor(text: &str) -> Result<ExecutorKind, String> {
    match text {
        "local" => Ok(ExecutorKind::Local),
        "kubernetes" => Ok(ExecutorKind::Kubernetes),
        _ => Err("local or kubernetes".to_owned()),
    }
}

/// A DNS label that leaves room for an organization's name behind it.
pub(super) fn namespace(text: &str) -> Result<String, String> {
    const BYTES_MAX: usize = 40;
    let alnum = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let bytes = text.as_bytes();
    let ends_well = bytes.first().is_some_and(alnum) && bytes.last().is_some_and(alnum);
    if ends_well && bytes.len() <= BYTES_MAX && bytes.iter().all(|byte| alnum(byte) || *byte == b'-') {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "a namespace's name: at most {BYTES_MAX} lower-case letters, digits and dashes"
        ))
    }
}

pub(super) fn text(text: &str) -> Result<String, String> {
    match text.trim() {
        "" => Err("a name".to_owned()),
        text => Ok(text.to_owned()),
    }
}

pub(super) fn http_url(text: &str) -> Result<Url, String> {
    let is_plain = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    };
    text.parse()
        .ok()
        .filter(is_plain)
        .ok_or_else(|| "an http or https URL such as http://ignite.ignite.svc:8080".to_owned())
}

pub(super) fn address_range(text: &str) -> Result<String, String> {
    let is_range = || {
        let (address, bits) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        Some(bits.parse::<u8>().ok()? <= most)
    };
    match is_range() {
        Some(true) => Ok(text.to_owned()),
        Some(false) | None => Err("an address range such as 10.1.2.0/24".to_owned()),
    }
}
