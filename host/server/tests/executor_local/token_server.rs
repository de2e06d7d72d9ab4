//! A login service for registries, as Docker's token specification has it: it signs what a registry then takes.

use std::{
    collections::HashMap,
    path::Path,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use axum::{
    Json, Router,
    extract::{Query, State},
    http::{HeaderMap, StatusCode},
    routing::get,
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rcgen::{CertifiedKey, KeyPair, SigningKey as _};
use serde_json::{Value, json};

/// May push and pull everything.
pub(crate) const LOGIN: (&str, &str) = ("builder", "only-for-token-tests");
/// Is given tokens that have expired, as one whose clock is off would be.
pub(crate) const EXPIRED: (&str, &str) = ("builder", "long-gone-password");

const SERVICE: &str = "registry-of-the-test";

struct Signer {
    key: KeyPair,
    /// Of the key, base64 of DER.
    certificate: String,
}

/// Starts one; gives what a registry's configuration says of it.
pub(crate) async fn start(folder: &Path) -> String {
    let CertifiedKey { cert, signing_key } =
        rcgen::generate_simple_self_signed(["issuer".to_owned()]).unwrap();
    let bundle = folder.join("issuer.pem");
    std::fs::write(&bundle, cert.pem()).unwrap();
    let signer = Signer {
        key: signing_key,
        certificate: STANDARD.encode(cert.der()),
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    // By name: the client in Kaniko refuses addresses of the machine itself.
    let realm = format!("http://localhost:{}/token", listener.local_addr().unwrap().port());
    let router = Router::new()
        .route("/token", get(token))
        .with_state(Arc::new(signer));
    tokio::spawn(async move { axum::serve(listener, router).await });
    format!(
        "auth: {{token: {{realm: \"{realm}\", service: {SERVICE}, issuer: the-issuer, rootcertbundle: {}}}}}\n",
        bundle.display()
    )
}

async fn token(
    State(signer): State<Arc<Signer>>,
    Query(query): Query<HashMap<String, String>>,
    headers: HeaderMap,
) -> Result<Json<Value>, StatusCode> {
    let basic =
        |login: (&str, &str)| format!("Basic {}", STANDARD.encode(format!("{}:{}", login.0, login.1)));
    let shown = headers
        .get("authorization")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let issued = match shown {
        right if right == basic(LOGIN) => now - 10,
        expired if expired == basic(EXPIRED) => now - 7200,
        _ => return Err(StatusCode::UNAUTHORIZED),
    };
    // repository:<name>:<actions>
    let scopes = query.get("scope").map(String::as_str).unwrap_or_default();
    let access: Vec<Value> = scopes
        .split(' ')
        .filter_map(|scope| {
            let (kind, rest) = scope.split_once(':')?;
            let (name, actions) = rest.rsplit_once(':')?;
            let actions: Vec<&str> = actions.split(',').collect();
            Some(json!({"type": kind, "name": name, "actions": actions}))
        })
        .collect();
    let header = json!({"typ": "JWT", "alg": "ES256", "x5c": [signer.certificate]});
    let claims = json!({
        "iss": "the-issuer", "sub": LOGIN.0, "aud": SERVICE, "jti": "1",
        "iat": issued, "nbf": issued, "exp": issued + 3600, "access": access,
    });
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(&claims));
    let signature = raw_signature(&signer.key.sign(signed.as_bytes()).unwrap());
    let token = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature));
    Ok(Json(json!({"token": token, "expires_in": 3600})))
}

/// The two numbers of a signature in DER, one behind the other at full length.
fn raw_signature(der: &[u8]) -> Vec<u8> {
    const NUMBER_BYTES: usize = 32;
    let mut raw = Vec::new();
    let mut rest = &der[2..];
    for _ in 0..2 {
        let length = usize::from(rest[1]);
        let number = &rest[2..2 + length];
        let number = &number[length.saturating_sub(NUMBER_BYTES)..];
        raw.extend(vec![0; NUMBER_BYTES - number.len()]);
        raw.extend(number);
        rest = &rest[2 + length..];
    }
    raw
}
