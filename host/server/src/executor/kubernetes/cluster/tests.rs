//! Against an API server of one function: for what a real one does rarely, or never.

use std::{
    io,
    sync::{Arc, Mutex},
};

use axum::http::{Request as Http, Response};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use tracing_subscriber::fmt::MakeWriter;

use super::*;
use crate::executor::kubernetes::{samples, secret::Payload};

fn client(answer: impl Fn(&Http<Body>) -> (u16, String) + Clone + Send + 'static) -> Client {
    let service = tower::service_fn(move |request: Http<Body>| {
        let (code, text) = answer(&request);
        async move {
            let response = Response::builder()
                .status(code)
                .body(Body::from(text.into_bytes()));
            response.map_err(io::Error::other)
        }
    });
    Client::new(service, "default")
}

fn status(code: u16, reason: &str, message: &str) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "reason": reason, "message": message })
        .to_string()
}

/// All that is logged while it lives, at any level, by anyone in this thread.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl Logged {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(self.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap()).into_owned()
    }
}

impl io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Logged {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

#[tokio::test(start_paused = true)]
async fn whatever_a_server_answers_nothing_of_a_secret_is_logged_or_told() {
    let (plan, config) = samples::full();
    let payload = Payload::new(&plan, &config).unwrap();
    let object = || payload.object(&plan, "ignite", "builds", "uid").unwrap();
    let echo = String::from_utf8(object().to_vec()).unwrap();
    let quoting = format!("admission webhook: {}", samples::SECRETS.join(" "));
    let answers = [
        (201, echo.clone()),
        (201, format!("not JSON: {echo}")),
        (422, status(422, "Invalid", &quoting)),
        (500, echo),
        (502, quoting),
    ];
    for (code, text) in answers {
        let logged = Logged::default();
        let listening = logged.listen();
        let client = client(move |request| {
            assert_eq!(request.headers()[ACCEPT], METADATA_ONLY);
            (code, text.clone())
        });
        let calls = Calls {
            client: &client,
            namespace: "builds",
        };
        let told = calls.create_secret(&object()).await;
        tracing::debug!("done");
        drop(listening);
        assert!(logged.text().contains("done"));
        assert_eq!(told.is_ok(), code < 300);
        let told = format!("{told:?} {}", logged.text());
        for secret in samples::SECRETS {
            assert!(
                !told.contains(secret) && !told.contains(&STANDARD.encode(secret)),
                "{code}: {told}"
            );
        }
    }
}

#[tokio::test]
async fn refusals_are_told_apart() {
    for (code, reason, expected) in [
        (409, "AlreadyExists", "AlreadyExists"),
        (409, "Conflict", "Conflict"),
        (404, "NotFound", "NotFound"),
        (403, "Forbidden", "Refused"),
    ] {
        let client = client(move |_| (code, status(code, reason, "why")));
        let calls = Calls {
            client: &client,
            namespace: "builds",
        };
        let error = calls.get_pod("a").await.unwrap_err();
        assert!(format!("{error:?}").starts_with(expected), "{error:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_away_is_asked_again_for_a_while() {
    let asked = Arc::new(Mutex::new(0));
    let counted = Arc::clone(&asked);
    let client = client(move |_| {
        *counted.lock().unwrap() += 1;
        match *counted.lock().unwrap() {
            1..4 => (503, status(503, "ServiceUnavailable", "not now")),
            _ => (200, json!({ "metadata": { "name": "a" } }).to_string()),
        }
    });
    let calls = Calls {
        client: &client,
        namespace: "builds",
    };
    assert_eq!(
        calls.get_pod("a").await.unwrap().metadata.name.as_deref(),
        Some("a")
    );
    assert_eq!(*asked.lock().unwrap(), 4);
    let away = self::client(|_| (503, status(503, "ServiceUnavailable", "not now")));
    let calls = Calls {
        client: &away,
        namespace: "builds",
    };
    assert!(matches!(calls.get_pod("a").await, Err(CallError::Away(_))));
}
