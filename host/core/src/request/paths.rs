//! Paths inside a build context. The builder joins them to a directory without a look, so they are made harmless here.

use super::Violations;

const PATH_BYTES_MAX: usize = 1024;
const COMPONENT_BYTES_MAX: usize = 255;
const DOCKERFILE_DEFAULT: &str = "Dockerfile";

/// Normalized; the default where it is empty.
pub(super) fn check_dockerfile(path: &str, found: &mut Violations) -> String {
    if path.is_empty() {
        return DOCKERFILE_DEFAULT.to_owned();
    }
    match normalize(path) {
        Ok(normal) if normal.is_empty() || path.ends_with('/') => {
            found.add("dockerfile", "must name a file");
            normal
        }
        Ok(normal) => normal,
        Err(wrong) => {
            found.add("dockerfile", wrong);
            String::new()
        }
    }
}

/// Normalized; empty for the root.
pub(super) fn check_context_dir(path: &str, found: &mut Violations) -> String {
    normalize(path).unwrap_or_else(|wrong| {
        found.add("git_source.context_dir", wrong);
        String::new()
    })
}

/// Drops `.` and doubled slashes. Fails, with what would be right, on whatever could leave the directory or name something
/// else than a file in it.
fn normalize(path: &str) -> Result<String, String> {
    if path.len() > PATH_BYTES_MAX {
        return Err(format!("must be at most {PATH_BYTES_MAX} bytes"));
    }
    if path.starts_with('/') {
        return Err("must be relative to the context".to_owned());
    }
    if path.contains("://") {
        return Err("must be a path in the context, not a URL".to_owned());
    }
    if path.contains('\\') {
        return Err("must use '/' between its parts".to_owned());
    }
    if path.chars().any(char::is_control) {
        return Err("must not hold control characters".to_owned());
    }
    let parts: Vec<&str> = path
        .split('/')
        .filter(|part| !matches!(*part, "" | "."))
        .collect();
    if parts.contains(&"..") {
        return Err("must not leave the context: no '..'".to_owned());
    }
    if parts.iter().any(|part| part.len() > COMPONENT_BYTES_MAX) {
        return Err(format!("each part must be at most {COMPONENT_BYTES_MAX} bytes"));
    }
    Ok(parts.join("/"))
}
