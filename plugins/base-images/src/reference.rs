//! Image references in full, and patterns of them.

use ignite_plugin_sdk::text::glob;

/// With the registry and the folder that a short one leaves out, as Docker fills them in.
pub(crate) fn full(image: &str) -> String {
    match image.split_once('/') {
        // A first part is a registry if it could be no folder.
        Some((first, _)) if first.contains(['.', ':']) || first == "localhost" => image.to_owned(),
        Some(_) => format!("docker.io/{image}"),
        None => format!("docker.io/library/{image}"),
    }
}

/// Whether a full reference is one of those a pattern allows. A pattern without tag and digest allows all of them.
pub(crate) fn matches(pattern: &str, full: &str) -> bool {
    glob(pattern, full) || glob(pattern, repository(full))
}

/// Without tag and digest.
fn repository(full: &str) -> &str {
    let name = full.split('@').next().unwrap_or(full);
    match name.rsplit_once(':') {
        // Behind a port there is always a path.
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_references_are_filled_in_as_docker_does() {
        assert_eq!(full("debian:12"), "docker.io/library/debian:12");
        assert_eq!(full("grafana/grafana"), "docker.io/grafana/grafana");
        assert_eq!(full("localhost/a"), "localhost/a");
        assert_eq!(full("reg:5000/a:1"), "reg:5000/a:1");
    }

    #[test]
    fn a_pattern_without_a_tag_allows_all_tags_and_digests_and_no_longer_names() {
        assert!(matches(
            "docker.io/library/debian",
            "docker.io/library/debian:12@sha256:aa"
        ));
        assert!(matches("reg:5000/a", "reg:5000/a"));
        assert!(!matches(
            "docker.io/library/debian",
            "docker.io/library/debian-evil:12"
        ));
        assert!(!matches(
            "docker.io/library/debian:12",
            "docker.io/library/debian:13"
        ));
    }

    #[test]
    fn a_star_stands_for_any_text_and_only_there() {
        assert!(matches("reg.example/*/go:1.*", "reg.example/base/x/go:1.25"));
        assert!(!matches("reg.example/base/*", "evil.example/reg.example/base/x"));
        assert!(!matches("*.example/base/*:prod", "reg.example/base/x:test"));
    }
}
