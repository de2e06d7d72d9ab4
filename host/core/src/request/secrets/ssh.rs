//! Private keys and known hosts of ssh: their form, and that no passphrase is needed. What a key is worth only a server can tell.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pem_rfc7468::Decoder;
use zeroize::Zeroizing;

use crate::secrets::SecretText;

const KEY_BYTES_MAX: usize = 16 * 1024;
const KNOWN_HOSTS_BYTES_MAX: usize = 64 * 1024;
const OPENSSH_LABEL: &str = "OPENSSH PRIVATE KEY";
/// PKCS#8, PKCS#1 and SEC1: all of them without encryption, which has labels or headers of its own.
const PEM_LABELS: [&str; 3] = ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"];
const OPENSSH_MAGIC: &[u8] = b"openssh-key-v1\0";
/// The name of the cipher where there is none.
const NO_CIPHER: &[u8] = b"none";
const MARKERS: [&str; 2] = ["@cert-authority", "@revoked"];

/// The key with the line ends that `ssh` wants.
pub(super) fn private_key(text: &str) -> Result<SecretText, &'static str> {
    if text.is_empty() {
        return Err("goes with ssh_known_hosts");
    }
    if text.len() > KEY_BYTES_MAX {
        return Err("must be at most 16 KiB");
    }
    let form = "must be a private key in OpenSSH's or PEM's text form";
    let mut lines = Zeroizing::new(String::with_capacity(text.len() + 1));
    for line in text.trim().lines() {
        lines.push_str(line.trim_end());
        lines.push('\n');
    }
    // Encryption of old stands in headers, which this form does not have.
    if lines.contains("Proc-Type:") || lines.contains("ENCRYPTED") {
        return Err("must be a key without a passphrase: nobody is there to type it");
    }
    let mut decoder = Decoder::new_detect_wrap(lines.as_bytes()).map_err(|_| form)?;
    let label = decoder.type_label();
    let mut content = Zeroizing::new(vec![0; decoder.remaining_len()]);
    decoder.decode(&mut content).map_err(|_| form)?;
    if label == OPENSSH_LABEL {
        let rest = content.strip_prefix(OPENSSH_MAGIC).ok_or(form)?;
        if string(rest).ok_or(form)? != NO_CIPHER {
            return Err("must be a key without a passphrase: nobody is there to type it");
        }
    } else if !PEM_LABELS.contains(&label) {
        return Err(form);
    }
    Ok(SecretText::new(std::mem::take(&mut *lines)))
}

/// At least one entry, each in the form of `known_hosts`.
pub(super) fn check_known_hosts(text: &str) -> Result<(), String> {
    if text.len() > KNOWN_HOSTS_BYTES_MAX {
        return Err(format!("must be at most {KNOWN_HOSTS_BYTES_MAX} bytes"));
    }
    let mut entries = 0_usize;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if !is_known_host(line) {
            return Err(format!(
                "line {} must be hosts, a key type and a key in base64, as ssh-keyscan prints them",
                index.saturating_add(1)
            ));
        }
        entries += 1;
    }
    match entries {
        0 => {
            Err("is required with a key, and must have at least one line: other hosts are refused".to_owned())
        }
        _ => Ok(()),
    }
}

fn is_known_host(line: &str) -> bool {
    let mut fields = line.split_ascii_whitespace().peekable();
    if fields
        .next_if(|field| field.starts_with('@'))
        .is_some_and(|marker| !MARKERS.contains(&marker))
    {
        return false;
    }
    let (Some(_hosts), Some(kind), Some(key)) = (fields.next(), fields.next(), fields.next()) else {
        return false;
    };
    // The key says its type once more.
    let decoded = STANDARD.decode(key).unwrap_or_default();
    !line.contains(|c: char| c.is_control() && c != '\t') && string(&decoded) == Some(kind.as_bytes())
}

/// A string of ssh's own format: its length, then its bytes.
fn string(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::try_from(u32::from_be_bytes(*len)).ok()?)
}
