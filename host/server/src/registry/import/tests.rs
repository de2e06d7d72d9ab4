use std::sync::Mutex;

use axum::{
    Router,
    extract::{Path as UrlPath, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
    routing::get,
};

use super::*;

mod logins;

/// A registry of one repository, with a login service.
#[derive(Debug, Default)]
struct Fake {
    /// By the last part of the path.
    objects: BTreeMap<String, Vec<u8>>,
    /// Wanted as a bearer token.
    token: Option<&'static str>,
    realm: Mutex<String>,
}

async fn serve(fake: Fake) -> String {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let host = listener.local_addr().unwrap().to_string();
    if fake.realm.lock().unwrap().is_empty() {
        *fake.realm.lock().unwrap() = format!("http://{host}/token");
    }
    let router = Router::new()
        .route("/v2/acme/tags/{kind}/{name}", get(object))
        .route("/token", get(token))
        .with_state(Arc::new(fake));
    tokio::spawn(async move { axum::serve(listener, router).await });
    host
}

async fn object(
    State(fake): State<Arc<Fake>>,
    UrlPath((_, name)): UrlPath<(String, String)>,
    headers: HeaderMap,
) -> Response {
    if let Some(token) = fake.token
        && headers
            .get("authorization")
            .is_none_or(|given| given != &format!("Bearer {token}"))
    {
        let challenge = format!(r#"Bearer realm="{}",service="fake""#, fake.realm.lock().unwrap());
        return (StatusCode::UNAUTHORIZED, [("www-authenticate", challenge)]).into_response();
    }
    match fake.objects.get(&name) {
        Some(bytes) => bytes.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn token(State(fake): State<Arc<Fake>>) -> String {
    format!(r#"{{"access_token": "{}"}}"#, fake.token.unwrap_or_default())
}

/// A manifest and its layer, by their digests; the manifest's first.
fn artifact(
    component: &[u8],
    change: impl Fn(&mut serde_json::Value),
) -> (String, BTreeMap<String, Vec<u8>>) {
    let layer = digest_of(component);
    let mut manifest = serde_json::json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": {"mediaType": CONFIG_MEDIA_TYPE, "digest": digest_of(b"{}"), "size": 2},
        "layers": [{"mediaType": LAYER_MEDIA_TYPE, "digest": layer, "size": component.len()}],
    });
    change(&mut manifest);
    let manifest = manifest.to_string().into_bytes();
    let digest = digest_of(&manifest);
    let objects = [(digest.clone(), manifest), (layer, component.to_vec())];
    (digest, objects.into())
}

async fn import(host: &str, digest: &str, rules: ImportRules) -> Result<Vec<u8>> {
    let rules = ImportRules {
        insecure: vec![host.to_owned()],
        component_bytes_max: 1000,
        ..rules
    };
    let importer = Importer::new(rules, None, None).unwrap();
    let reference: WasmReference = format!("{host}/acme/tags@{digest}").parse()?;
    let chunks: Vec<Bytes> = importer
        .component(&reference, &BTreeMap::new())
        .await?
        .try_collect()
        .await?;
    Ok(chunks.concat())
}

fn anywhere() -> ImportRules {
    ImportRules {
        private_addresses_allowed: true,
        ..ImportRules::default()
    }
}

#[tokio::test]
async fn a_component_comes_by_its_digest_with_a_login_if_need_be() {
    for token in [None, Some("secret")] {
        let (digest, objects) = artifact(b"component", |_| ());
        let fake = Fake {
            objects,
            token,
            ..Fake::default()
        };
        let host = serve(fake).await;
        assert_eq!(import(&host, &digest, anywhere()).await.unwrap(), b"component");
        let own = ImportRules {
            own: vec![host.clone()],
            ..ImportRules::default()
        };
        assert_eq!(import(&host, &digest, own).await.unwrap(), b"component");
        let refused = import(&host, &digest, ImportRules::default()).await.unwrap_err();
        assert!(refused.to_string().contains("public address"), "{refused}");
        let missing = format!("sha256:{}", "0".repeat(64));
        let missing = import(&host, &missing, anywhere()).await.unwrap_err();
        assert!(matches!(missing, Error::NotFound { .. }), "{missing}");
    }
}

#[tokio::test]
async fn a_login_service_on_another_plain_host_is_not_spoken_to() {
    let (digest, objects) = artifact(b"component", |_| ());
    let host = serve(Fake {
        objects,
        token: Some("secret"),
        realm: Mutex::new("http://127.0.0.1:1/token".to_owned()),
    })
    .await;
    let refused = import(&host, &digest, anywhere()).await.unwrap_err();
    assert!(
        refused.to_string().contains("does not let the gateway read it"),
        "{refused}"
    );
}

#[tokio::test]
async fn what_is_no_component_of_an_allowed_size_is_refused_by_what_is_wrong() {
    type Change = fn(&mut serde_json::Value);
    let cases: [(Change, &str); 5] = [
        (
            |m| m["config"]["mediaType"] = "application/vnd.oci.image.config.v1+json".into(),
            CONFIG_MEDIA_TYPE,
        ),
        (
            |m| m["layers"][0]["mediaType"] = "application/octet-stream".into(),
            LAYER_MEDIA_TYPE,
        ),
        (|m| m["layers"][0]["size"] = 1001.into(), "larger than 1000 bytes"),
        (
            |m| m["layers"][0]["size"] = 3.into(),
            "more than the manifest says",
        ),
        (|m| m["layers"] = serde_json::json!([]), "one layer"),
    ];
    for (change, expected) in cases {
        let (digest, objects) = artifact(b"component", change);
        let host = serve(Fake {
            objects,
            ..Fake::default()
        })
        .await;
        let refused = import(&host, &digest, anywhere()).await.unwrap_err();
        assert!(refused.to_string().contains(expected), "{expected}: {refused}");
    }
}

#[tokio::test]
async fn bytes_that_are_not_the_digests_are_refused() {
    let (digest, mut objects) = artifact(b"component", |_| ());
    let other = artifact(b"another", |_| ()).1;
    let layer = digest_of(b"component");
    objects.insert(layer, b"c0mponent".to_vec());
    let host = serve(Fake {
        objects: objects.clone(),
        ..Fake::default()
    })
    .await;
    let refused = import(&host, &digest, anywhere()).await.unwrap_err();
    assert!(refused.to_string().contains("another component"), "{refused}");
    let manifest = other.values().find(|bytes| bytes.starts_with(b"{")).unwrap();
    objects.insert(digest.clone(), manifest.clone());
    let host = serve(Fake {
        objects,
        ..Fake::default()
    })
    .await;
    let refused = import(&host, &digest, anywhere()).await.unwrap_err();
    assert!(refused.to_string().contains("another manifest"), "{refused}");
}

#[test]
fn a_reference_has_a_digest() {
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, read) in [
        (
            format!("registry.example/a/b@{digest}"),
            Some(format!("registry.example/a/b@{digest}")),
        ),
        (
            format!("registry.example:5000/a:1.0@{digest}"),
            Some(format!("registry.example:5000/a@{digest}")),
        ),
        ("registry.example/a/b:1.0".to_owned(), None),
        ("registry.example/a/b".to_owned(), None),
        ("registry.example/a@sha256:abc".to_owned(), None),
        (format!("registry.example/a@sha512:{}", "a".repeat(128)), None),
        (String::new(), None),
    ] {
        let parsed = text.parse::<WasmReference>();
        assert_eq!(parsed.ok().map(|reference| reference.to_string()), read, "{text}");
    }
}
