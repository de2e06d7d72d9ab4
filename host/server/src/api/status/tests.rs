use serde_json::json;
use tonic_types::StatusExt as _;

use super::*;
use ignite_core::{hook, request::FieldViolation as Violation};

fn every_error() -> Vec<Error> {
    vec![
        Error::InvalidArgument(vec![
            Violation {
                field: "name".into(),
                description: "is required".into(),
            },
            Violation {
                field: "tags[1]".into(),
                description: "must be a tag".into(),
            },
        ]),
        Error::FailedPrecondition {
            reason: "CONTEXT_EXPIRED",
            message: "the context expired: upload it again".into(),
        },
        Error::NotFound {
            kind: "build",
            name: "bld_01HZX9ABCDEFGHJKMNPQRSTVWX".into(),
        },
        Error::AlreadyExists {
            reason: "IDEMPOTENCY_KEY_REUSED",
            message: "the key was used for another request".into(),
        },
        Error::Aborted {
            reason: "POLICY_CHANGED",
            message: "another policy is in force by now".into(),
        },
        Error::Unauthenticated {
            message: "a token is needed".into(),
        },
        Error::PermissionDenied {
            scope: "builds:write",
        },
        Error::Forbidden {
            reason: "SELF_APPROVAL",
            message: "a build must be approved by somebody else".into(),
        },
        Error::PolicyDenied {
            plugin: "tag-rules".into(),
            violations: vec![
                hook::Violation {
                    field: "tags[0]".into(),
                    message: "must be a semantic version".into(),
                },
                hook::Violation {
                    field: String::new(),
                    message: "no builds on Sundays".into(),
                },
            ],
        },
        Error::ResourceExhausted {
            reason: "QUEUE_FULL",
            subject: "organizations/acme".into(),
            message: "1000 builds are queued already".into(),
            retry_after: Some(Duration::from_millis(1500)),
        },
        Error::ResourceExhausted {
            reason: "DISK_FULL",
            subject: "contexts".into(),
            message: "no space is left".into(),
            retry_after: None,
        },
        Error::Unavailable {
            message: "the gateway is shutting down".into(),
            retry_after: Duration::from_secs(2),
        },
        Error::Unimplemented { what: "ApproveBuild" },
        Error::internal("the disk is on fire: /secret/path"),
    ]
}

#[test]
fn the_wire_form_of_every_error() {
    let wires: Vec<_> = every_error()
        .iter()
        .map(|error| {
            let wire = decide(error, "req_1");
            json!({"http": wire.http.as_u16(), "body": wire.to_json()})
        })
        .collect();
    insta::assert_json_snapshot!("every_error", wires);
}

#[test]
fn both_encodings_say_the_same() {
    for error in every_error() {
        let wire = decide(&error, "req_1");
        let text = wire.to_json();
        let status = wire.clone().into_grpc();
        assert_eq!(text["code"], i32::from(status.code()));
        assert_eq!(text["message"], status.message());
        let read = status.get_error_details();
        assert_eq!(json::status(status.code(), status.message(), &read), text);
        let info = read.error_info().unwrap();
        assert_eq!(info.domain, ERROR_DOMAIN);
        assert!(
            info.reason.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'),
            "{}",
            info.reason
        );
    }
}

#[test]
fn a_policys_refusal_fits_headers_however_much_plugins_say() {
    let violations = (0..64)
        .map(|n| hook::Violation {
            field: format!("tags[{n}]"),
            message: "é".repeat(512),
        })
        .collect();
    let refusal = Error::PolicyDenied {
        plugin: "tag-rules".into(),
        violations,
    };
    let status = decide(&refusal, "req_1").into_grpc();
    assert!(status.details().len() + status.message().len() < 8 << 10);
    let details = status.get_error_details();
    assert!(!details.bad_request().unwrap().field_violations.is_empty());
    assert_eq!(details.error_info().unwrap().metadata["plugin"], "tag-rules");
}

#[test]
fn an_internal_error_tells_the_caller_its_request_id_and_nothing_else() {
    let error = Error::internal("the disk is on fire: /secret/path");
    let text = decide(&error, "req_1").to_json().to_string();
    assert!(text.contains("req_1") && !text.contains("secret"), "{text}");
}

#[test]
fn http_headers_say_when_and_how_to_try_again() {
    let unavailable = Error::Unavailable {
        message: String::new(),
        retry_after: Duration::from_millis(1500),
    };
    let response = decide(&unavailable, "req_1").into_http();
    assert_eq!(response.headers()[header::RETRY_AFTER], "2");
    let unauthenticated = Error::Unauthenticated {
        message: String::new(),
    };
    let response = decide(&unauthenticated, "req_1").into_http();
    assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer");
}
