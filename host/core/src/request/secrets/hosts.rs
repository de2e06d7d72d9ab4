//! Hosts that a login is for, in the one form in which they are looked up.

use url::Url;

const HOST_BYTES_MAX: usize = 255;
/// What Docker Hub's registry is called in Docker's configuration, and by its own servers.
const DOCKER_HUB: [&str; 6] = [
    "docker.io",
    "index.docker.io",
    "registry-1.docker.io",
    "index.docker.io/v1",
    "https://index.docker.io/v1",
    "https://index.docker.io",
];
/// As image references have it.
const DOCKER_HUB_NAME: &str = "docker.io";

/// `host` or `host:port` as it stands before the first slash of an image reference.
pub(super) fn registry(text: &str) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    if DOCKER_HUB.contains(&lower.trim_end_matches('/')) {
        return Ok(DOCKER_HUB_NAME.to_owned());
    }
    let host = host(text)?;
    // Anything else there would be taken for a repository of Docker Hub.
    if host.contains(['.', ':']) || host == "localhost" {
        Ok(host)
    } else {
        Err("must have a dot or a port, as registries in image references do".to_owned())
    }
}

/// `host` or `host:port`, in lower case.
pub(super) fn host(text: &str) -> Result<String, String> {
    let form = || "must be a host or host:port, without a scheme, a path or a login".to_owned();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    let lower = text.to_ascii_lowercase();
    if lower.is_empty() || lower.len() > HOST_BYTES_MAX || !lower.chars().all(plain) || lower.starts_with('-')
    {
        return Err(form());
    }
    let url = Url::parse(&format!("https://{lower}")).map_err(|_| form())?;
    let name = url.host_str().unwrap_or_default();
    let rest = lower.strip_prefix(name).ok_or_else(form)?;
    let port_is_fine = match rest.strip_prefix(':') {
        None => rest.is_empty(),
        Some(port) => port.parse::<u16>().is_ok_and(|port| port > 0) && !port.starts_with(['0', '+']),
    };
    if name.is_empty() || !port_is_fine {
        return Err(form());
    }
    Ok(lower)
}
