use super::*;

/// What is hidden of a text, as `kind: text`.
fn found(text: &str) -> Vec<String> {
    let shown = |one: Detection| format!("{}: {}", one.kind, &text[one.bytes]);
    detections(text.as_bytes()).into_iter().map(shown).collect()
}

#[track_caller]
fn hides(text: &str, kind: &str, hidden: &str) {
    assert_eq!(found(text), [format!("{kind}: {hidden}")]);
}

/// As long as asked, random to the eye.
fn some(length: usize) -> String {
    "a1Zq9Xw2Vb8Nm3Kj7Hg4Fd6Sp5Tr0Ye"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

fn hex(length: usize) -> String {
    "0f1e2d3c4b5a69788796a5b4c3d2e1f0"
        .chars()
        .cycle()
        .take(length)
        .collect()
}

#[test]
fn checksums_tell_tokens_from_what_looks_like_them() {
    let token = "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";
    hides(&format!("x{token}."), "github-token", token);
    assert!(found("ghp_zQWBuTSOoRi4A9spHcVY5ncnsDkxkJ0mLq18").is_empty());
    assert!(found(&format!("{token}0")).is_empty());
    hides(
        "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",
        "npm-token",
        "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",
    );
    let body = format!("glsa_{}", some(32));
    let token = format!("{body}_{:08x}", crc32fast::hash(body.as_bytes()));
    hides(&token, "service-token", &token);
    assert!(found(&format!("{body}_01234567")).is_empty());
}

#[test]
fn tokens_go_as_a_whole() {
    for (kind, token) in [
        ("gitlab-token", format!("glpat-{}", some(20))),
        ("github-token", format!("github_pat_{}_{}", some(22), some(59))),
        (
            "package-registry-token",
            format!("pypi-AgEIcHlwaS5vcmc{}", some(50)),
        ),
        ("package-registry-token", format!("dckr_pat_{}", some(27))),
        ("cloud-token", "AKIAIOSFODNN7ABCDEFG".to_owned()),
        ("cloud-token", format!("AIza{}", some(35))),
        ("cloud-token", format!("dop_v1_{}", hex(64))),
        (
            "slack-token",
            format!("xoxb-123456789012-1234567890123-{}", some(24)),
        ),
        ("service-token", format!("sk_live_{}", some(24))),
        ("service-token", format!("SG.{}.{}", some(22), some(43))),
        ("model-service-token", format!("sk-ant-api03-{}", some(95))),
        (
            "model-service-token",
            format!("sk-{}T3BlbkFJ{}", some(20), some(20)),
        ),
        (
            "model-service-token",
            format!("hf_{}", "abCdeFghijKlmnOpqrStuvwxYzabcdefgh"),
        ),
        (
            "age-key",
            format!(
                "AGE-SECRET-KEY-1{}",
                "QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L".repeat(2).split_at(58).0
            ),
        ),
    ] {
        hides(&format!("token={token} "), kind, &token);
        assert!(found(&token[..token.len() / 2]).is_empty(), "{token}");
    }
}

#[test]
fn a_web_token_has_a_header_that_names_an_algorithm() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U";
    hides(&format!("({token})"), "json-web-token", token);
    assert!(
        found("eyJhbGxpOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U").is_empty()
    );
}

#[test]
fn of_what_tells_that_something_is_a_secret_the_secret_goes() {
    hides(
        "Authorization: Bearer abc-def-0123456789",
        "authorization-header",
        "abc-def-0123456789",
    );
    hides(
        "-H 'authorization: BASIC dXNlcjpwYXNz'",
        "authorization-header",
        "dXNlcjpwYXNz",
    );
    hides(
        "\"Authorization\": \"token abcdef0123456789\"",
        "authorization-header",
        "abcdef0123456789",
    );
    hides("https://me:s3cr3t-x@git.example/a", "url-password", "s3cr3t-x");
    hides("postgres://:hunter2@db", "url-password", "hunter2");
    let key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzzzzzzzKEY";
    hides(&format!("AWS_SECRET_ACCESS_KEY={key} "), "aws-secret-key", key);
    hides(&format!("\"SecretAccessKey\": \"{key}\""), "aws-secret-key", key);
    hides(&format!("AccountKey={}==;", some(86)), "azure-key", &some(86));
    hides(
        "https://hooks.slack.com/services/T01234567/B01234567/a1Zq9Xw2Vb8Nm3Kj7Hg4Fd6S",
        "slack-hook",
        "T01234567/B01234567/a1Zq9Xw2Vb8Nm3Kj7Hg4Fd6S",
    );
}

#[test]
fn of_a_private_key_the_lines_between_its_marks_go() {
    let body = format!("\nProc-Type: 4,ENCRYPTED\n\n{}\n{}=\n", some(64), some(40));
    let key = |begin: &str| format!("-----BEGIN {begin}-----{body}-----END {begin}-----\n");
    hides(&key("RSA PRIVATE KEY"), "private-key", &body);
    hides(&key("PGP PRIVATE KEY BLOCK"), "private-key", &body);
    assert!(found(&key("CERTIFICATE")).is_empty());
    assert!(found("strings.Contains(x, \"-----BEGIN RSA PRIVATE KEY-----\")").is_empty());
    assert!(
        found(&format!(
            "-----BEGIN PRIVATE KEY----- {}",
            "is what such a file begins with ".repeat(9)
        ))
        .is_empty()
    );
}

#[test]
fn what_stands_for_a_secret_stays() {
    for text in [
        "https://deb.debian.org/debian",
        "https://user:password@host",
        "https://user:$PASSWORD@host",
        "https://user:<token>@host",
        "https://user:xxxxxx@host",
        "ssh://git@github.com:22/a@b",
        "http://[::1]:8080/a@b",
        "Authorization: Bearer <token-of-some-length>",
        "Authorization: Bearer $TOKEN_OF_SOME_LENGTH",
        "Authorization: Basic aGVsbG8=",
        "AKIAIOSFODNN7EXAMPLE",
        "glpat-xxxxxxxxxxxxxxxxxxxx",
    ] {
        assert!(found(text).is_empty(), "{:?}", found(text));
    }
}

#[test]
fn all_shapes_begin_with_a_text_and_no_more_than_can_be_searched_for() {
    assert!(Detectors::all().is_some());
    for shape in shapes::all() {
        assert!(shape.anchor().len() >= 3, "{}", shape.kind);
    }
}

#[test]
fn classes_hold_what_they_say() {
    let class = shape::Class::new("a-c_x-");
    let all: String = (0..=255_u8)
        .filter(|byte| class.has(*byte))
        .map(char::from)
        .collect();
    assert_eq!(all, "-_abcx");
}
