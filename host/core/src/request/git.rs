//! Git URLs and references. Both are handed to `git`, which would take some forms for options or local files.

use url::{Host, Url};

use super::{
    Rules, Violations, address,
    ssh::{SshAddress, is_ssh},
};

const FIELD: &str = "git_source.url";
const URL_BYTES_MAX: usize = 2048;
const REFERENCE_BYTES_MAX: usize = 255;
const REFERENCE_DEFAULT: &str = "main";

/// The URL in normal form: what was checked is what will be used.
pub(super) fn check_url(text: &str, rules: &Rules, found: &mut Violations) -> String {
    match parse_url(text, rules) {
        Ok(url) => url,
        Err(wrong) => {
            found.add(FIELD, wrong);
            String::new()
        }
    }
}

fn parse_url(text: &str, rules: &Rules) -> Result<String, String> {
    if text.is_empty() {
        return Err("is required".to_owned());
    }
    if text.len() > URL_BYTES_MAX {
        return Err(format!("must be at most {URL_BYTES_MAX} bytes"));
    }
    // The parser would strip or rewrite these in silence.
    if text
        .chars()
        .any(|c| c.is_control() || c.is_whitespace() || c == '\\')
    {
        return Err("must not hold spaces, control characters or backslashes".to_owned());
    }
    let form = if rules.git_http_allowed {
        "must be an https://, ssh:// or http:// URL"
    } else {
        "must be an https:// or ssh:// URL"
    };
    if is_ssh(text) {
        // Whether there is a key for it is known only when it is fetched.
        let address = SshAddress::parse(text)?;
        check_host(Some(&address.host), rules)?;
        return Ok(address.to_string());
    }
    let url = Url::parse(text).map_err(|wrong| format!("{form}: {wrong}"))?;
    match url.scheme() {
        "https" => {}
        "http" if rules.git_http_allowed => {}
        _ => return Err(form.to_owned()),
    }
    check_parts(&url)?;
    check_host(url.host().map(|host| host.to_owned()).as_ref(), rules)?;
    Ok(url.into())
}

fn check_parts(url: &Url) -> Result<(), String> {
    if !url.username().is_empty() || url.password().is_some() {
        return Err("must not hold credentials; store them instead".to_owned());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("must not have a query or a fragment".to_owned());
    }
    if url.path().trim_matches('/').is_empty() {
        return Err("must name a repository after the host".to_owned());
    }
    if url.port() == Some(0) {
        return Err("must not use port 0".to_owned());
    }
    // A decoded newline or NUL would reach credential helpers and other line-based protocols.
    if has_encoded_control(url.path()) {
        return Err("must not hold encoded control characters".to_owned());
    }
    Ok(())
}

pub(super) fn has_encoded_control(path: &str) -> bool {
    path.as_bytes().windows(3).any(|window| match window {
        [b'%', high, low] => {
            matches!(high, b'0' | b'1') || (*high == b'7' && low.eq_ignore_ascii_case(&b'f'))
        }
        _ => false,
    })
}

fn check_host(host: Option<&Host>, rules: &Rules) -> Result<(), String> {
    let public = match host {
        None => return Err("must name a host".to_owned()),
        Some(Host::Ipv4(v4)) => address::is_public((*v4).into()),
        Some(Host::Ipv6(v6)) => address::is_public((*v6).into()),
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            if name.is_empty() || name.starts_with('-') {
                return Err("must name a host".to_owned());
            }
            name != "localhost" && !name.ends_with(".localhost")
        }
    };
    if public || rules.private_addresses_allowed {
        Ok(())
    } else {
        Err("must not name a loopback, private or link-local address".to_owned())
    }
}

/// The reference, or the default where it is empty.
pub(super) fn check_reference(reference: String, found: &mut Violations) -> String {
    if reference.is_empty() {
        return REFERENCE_DEFAULT.to_owned();
    }
    if !is_reference(&reference) {
        found.add(
            "git_source.reference",
            format!("must be a branch, a tag or a commit: at most {REFERENCE_BYTES_MAX} bytes, by the rules of git check-ref-format"),
        );
    }
    reference
}

/// The rules of `git check-ref-format --allow-onelevel`; every commit id passes them too.
fn is_reference(reference: &str) -> bool {
    let forbidden = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    reference.len() <= REFERENCE_BYTES_MAX
        && reference != "@"
        && !reference.starts_with('-')
        && !reference.ends_with('.')
        && !reference.contains("..")
        && !reference.contains("@{")
        && !reference.contains(forbidden)
        && reference
            .split('/')
            .all(|part| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock"))
}
