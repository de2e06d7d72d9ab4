//! Who is shown a login.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_core::secrets::SecretText;

use super::*;

const PASSWORD: &str = "correct-horse-battery-staple";

/// What a host answers to a request that has this authorization, if it has one.
type Answers = Arc<dyn Fn(&str, Option<&str>) -> Response + Send + Sync>;

/// A path and the authorization that came with it.
type Seen = (String, Option<String>);

/// One host: what it was asked, and with which authorization.
#[derive(Clone, Default)]
struct Host {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

// === impl Host ===

impl Host {
    async fn start(answers: impl FnOnce(&str) -> Answers) -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = Self {
            address: listener.local_addr().unwrap().to_string(),
            seen: Arc::default(),
        };
        let (seen, answers) = (Arc::clone(&host.seen), answers(&host.address));
        let router = Router::new().fallback(async move |request: axum::extract::Request| {
            let path = request.uri().path().to_owned();
            let shown = request.headers().get("authorization");
            let shown = shown.map(|value| value.to_str().unwrap().to_owned());
            let answer = answers(&path, shown.as_deref());
            seen.lock().unwrap().push((path, shown));
            answer
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        host
    }

    fn shown(&self) -> Vec<String> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter_map(|(_, shown)| shown.clone()).collect()
    }

    fn was_asked(&self) -> bool {
        !self.seen.lock().unwrap().is_empty()
    }
}

fn basic(user: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{PASSWORD}")))
}

fn challenge(text: &str) -> Response {
    (StatusCode::UNAUTHORIZED, [("www-authenticate", text.to_owned())]).into_response()
}

fn redirect(to: &str) -> Response {
    (StatusCode::TEMPORARY_REDIRECT, [("location", to.to_owned())]).into_response()
}

fn login(host: &str, user: &str) -> BTreeMap<String, RegistryLogin> {
    let login = RegistryLogin {
        username: user.to_owned(),
        password: SecretText::new(PASSWORD.to_owned()),
    };
    [(host.to_owned(), login)].into()
}

/// From the first of these hosts, which are all spoken to by plain http.
async fn import(hosts: &[&Host], digest: &str, logins: &BTreeMap<String, RegistryLogin>) -> Result<Vec<u8>> {
    let rules = ImportRules {
        insecure: hosts.iter().map(|host| host.address.clone()).collect(),
        component_bytes_max: 1000,
        ..anywhere()
    };
    let importer = Importer::new(rules, None, None).unwrap();
    let reference: WasmReference = format!("{}/acme/tags@{digest}", hosts[0].address).parse()?;
    let chunks: Vec<Bytes> = importer
        .component(&reference, logins)
        .await?
        .try_collect()
        .await?;
    Ok(chunks.concat())
}

/// Wants the user `acme`, and then serves the manifest itself and the layer as `layer` says.
fn guarded(
    digest: &str,
    objects: &BTreeMap<String, Vec<u8>>,
    layer: impl Fn() -> Response + Send + Sync + 'static,
) -> Answers {
    let (manifest, path) = (
        objects[digest].clone(),
        format!("/v2/acme/tags/manifests/{digest}"),
    );
    Arc::new(move |asked, shown| match shown {
        Some(shown) if shown == basic("acme") && asked == path => manifest.clone().into_response(),
        Some(shown) if shown == basic("acme") => layer(),
        Some(_) | None => challenge("Basic realm=\"r\""),
    })
}

#[tokio::test]
async fn the_organizations_login_is_shown_where_it_belongs_and_not_where_a_redirect_leads() {
    let (digest, objects) = artifact(b"component", |_| ());
    let elsewhere = Host::start(|_| Arc::new(|_, _| b"component".to_vec().into_response())).await;
    let target = format!("http://{}/layer", elsewhere.address);
    let registry = Host::start(|_| guarded(&digest, &objects, move || redirect(&target))).await;
    let hosts = [&registry, &elsewhere];
    let logins = login(&format!("https://{}/v2/", registry.address), "acme");
    assert_eq!(import(&hosts, &digest, &logins).await.unwrap(), b"component");
    assert!(elsewhere.was_asked());
    assert_eq!(elsewhere.shown(), Vec::<String>::new());

    // Another's login, a wrong one, and none.
    for logins in [
        login(&elsewhere.address, "acme"),
        login(&registry.address, "other"),
        BTreeMap::new(),
    ] {
        let refused = import(&hosts, &digest, &logins).await.unwrap_err();
        let Error::FailedPrecondition {
            reason: "REGISTRY_REFUSED",
            message,
        } = &refused
        else {
            panic!("{refused:?}");
        };
        assert!(message.contains("store a login for it"), "{message}");
        assert!(!format!("{refused:?}").contains(PASSWORD) && !message.contains(PASSWORD));
    }
    assert!(registry.shown().iter().all(|shown| *shown != basic("operator")));
}

#[tokio::test]
async fn who_a_redirect_leads_to_cannot_ask_for_the_login() {
    for scheme in [
        "Basic realm=\"r\"",
        "Bearer realm=\"http://{}/token\",service=\"s\"",
    ] {
        let (digest, objects) = artifact(b"component", |_| ());
        let thief = Host::start(|address| {
            let asks = scheme.replace("{}", address);
            Arc::new(move |_, _| challenge(&asks))
        })
        .await;
        let target = format!("http://{}/layer", thief.address);
        let registry = Host::start(|_| guarded(&digest, &objects, move || redirect(&target))).await;
        let logins = login(&registry.address, "acme");
        let refused = import(&[&registry, &thief], &digest, &logins).await.unwrap_err();
        assert!(matches!(refused, Error::FailedPrecondition { .. }), "{refused}");
        assert!(thief.was_asked());
        assert_eq!(thief.shown(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_login_service_that_redirects_does_not_hand_the_login_on() {
    let (digest, objects) = artifact(b"component", |_| ());
    let thief = Host::start(|_| Arc::new(|_, _| r#"{"token": "t"}"#.into_response())).await;
    let target = format!("http://{}/token", thief.address);
    let registry = Host::start(|address| {
        let (objects, asks) = (
            objects.clone(),
            format!("Bearer realm=\"http://{address}/token\""),
        );
        Arc::new(move |asked, shown| match (asked, shown) {
            ("/token", _) => redirect(&target),
            (_, Some("Bearer t")) => objects[asked.rsplit('/').next().unwrap()].clone().into_response(),
            _ => challenge(&asks),
        })
    })
    .await;
    let logins = login(&registry.address, "acme");
    assert_eq!(
        import(&[&registry, &thief], &digest, &logins).await.unwrap(),
        b"component"
    );
    assert!(
        registry.shown().contains(&basic("acme")),
        "the service itself is shown it"
    );
    assert!(thief.was_asked());
    assert_eq!(thief.shown(), Vec::<String>::new());
}

#[tokio::test]
async fn the_organizations_login_comes_before_the_operators() {
    let (digest, objects) = artifact(b"component", |_| ());
    let layer = objects[&digest_of(b"component")].clone();
    let registry = Host::start(|_| guarded(&digest, &objects, move || layer.clone().into_response())).await;
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("config.json");
    let auth = STANDARD.encode(format!("operator:{PASSWORD}"));
    std::fs::write(
        &config,
        format!(r#"{{"auths": {{"{}": {{"auth": "{auth}"}}}}}}"#, registry.address),
    )
    .unwrap();
    let rules = ImportRules {
        insecure: vec![registry.address.clone()],
        component_bytes_max: 1000,
        ..anywhere()
    };
    let importer = Importer::new(rules, Some(&config), None).unwrap();
    let reference: WasmReference = format!("{}/acme/tags@{digest}", registry.address)
        .parse()
        .unwrap();
    let logins = login(&registry.address, "acme");
    assert!(importer.component(&reference, &logins).await.is_ok());
    assert!(!registry.shown().contains(&basic("operator")));
    assert!(importer.component(&reference, &BTreeMap::new()).await.is_err());
    assert!(registry.shown().contains(&basic("operator")));
}
