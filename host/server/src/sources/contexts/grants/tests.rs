use ignite_core::ids::BuildId;

use super::*;

const NOW_MS: i64 = 1_800_000_000_000;

fn run(attempt: u32) -> RunId {
    RunId {
        build: BuildId::new(1_748_390_400_000, 7),
        platform: 0,
        attempt,
    }
}

fn context() -> ContextId {
    ContextId::from_sha256([0xab; 32])
}

fn org(name: &str) -> OrgId {
    name.parse().unwrap()
}

fn grants() -> ContextGrants {
    ContextGrants::under([7; 32])
}

fn token(org_name: &str, expires_at_ms: i64) -> String {
    let grant = grants().grant(run(1), &org(org_name), &context(), expires_at_ms);
    assert_eq!(grant.url_path, format!("/internal/v1/runs/{}/context", run(1)));
    grant.token.reveal().to_owned()
}

#[test]
fn a_token_holds_for_its_run_until_it_expires() {
    let longest = "o".repeat(63);
    for name in ["acme", "a", &longest] {
        let token = token(name, NOW_MS);
        assert!(token.len() <= TOKEN_CHARS_MAX);
        let granted = Some((org(name), context()));
        assert_eq!(grants().check(run(1), &token, NOW_MS - 1), granted);
        assert_eq!(grants().check(run(1), &token, NOW_MS), None, "expired");
        assert_eq!(grants().check(run(2), &token, 0), None, "of another attempt");
        let other = RunId {
            build: BuildId::new(1_748_390_400_000, 8),
            ..run(1)
        };
        assert_eq!(grants().check(other, &token, 0), None, "of another build");
    }
}

#[test]
fn no_part_of_a_token_can_be_changed() {
    let token = token("acme", NOW_MS);
    let bytes = URL_SAFE_NO_PAD.decode(&token).unwrap();
    for at in 0..bytes.len() * 8 {
        let mut changed = bytes.clone();
        changed[at / 8] ^= 1 << (at % 8);
        let changed = URL_SAFE_NO_PAD.encode(changed);
        assert_eq!(grants().check(run(1), &changed, 0), None, "bit {at}");
    }
    for length in 0..token.len() {
        assert_eq!(
            grants().check(run(1), &token[..length], 0),
            None,
            "{length} characters"
        );
    }
    for text in [
        format!("{token}A"),
        format!("{token}="),
        format!(" {token}"),
        "A".repeat(100_000),
    ] {
        assert_eq!(grants().check(run(1), &text, 0), None);
    }
}

#[test]
fn another_gateways_key_makes_other_tokens() {
    let other = ContextGrants::under([8; 32]);
    let theirs = other.grant(run(1), &org("acme"), &context(), NOW_MS);
    assert_eq!(grants().check(run(1), theirs.token.reveal(), 0), None);
}

#[test]
fn neither_key_nor_token_is_shown() {
    let grant = grants().grant(run(1), &org("acme"), &context(), NOW_MS);
    assert_eq!(format!("{:?}", grants()), "ContextGrants");
    assert!(!format!("{grant:?}").contains(grant.token.reveal()));
}
