use ignite_core::ids::{ContextId, RunId};
use ignite_proto::v1::{self, create_build_request::Source};
use sha2::{Digest as _, Sha256};

use super::*;
use crate::{
    clock,
    driver::tests::{Scene, acme, request},
    sources::contexts::grants::ContextGrant,
};

/// A run with a context, and a gateway that listens.
struct Serving {
    scene: Scene,
    server: Server,
    run: RunId,
    archive: Vec<u8>,
}

// === impl Serving ===

impl Serving {
    async fn start() -> Self {
        let scene = Scene::start(&[]).await;
        let archive = {
            use std::io::Write as _;
            let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
            zip.start_file("Dockerfile", zip::write::SimpleFileOptions::default())
                .unwrap();
            zip.write_all(b"FROM scratch").unwrap();
            zip.finish().unwrap().into_inner()
        };
        let build = scene
            .create_as(v1::CreateBuildRequest {
                source: Some(Source::ZippedCode(archive.clone().into())),
                ..request("web")
            })
            .await
            .unwrap();
        Self {
            run: scene.started(build, 1).await,
            server: listen(&scene).await,
            scene,
            archive,
        }
    }

    fn grant(&self) -> ContextGrant {
        self.grant_until(clock::now_ms() + 60_000)
    }

    fn grant_until(&self, expires_at_ms: i64) -> ContextGrant {
        let context = ContextId::from_sha256(Sha256::digest(&self.archive).into());
        let grants = &self.scene.service().grants;
        grants.grant(self.run, &acme().org, &context, expires_at_ms)
    }

    fn get(&self, grant: &ContextGrant) -> RequestBuilder {
        self.server
            .anonymous("GET", &grant.url_path)
            .bearer_auth(grant.token.reveal())
    }
}

async fn listen(scene: &Scene) -> Server {
    Server::serve(None, |authenticator, closing| {
        super::super::router(scene.service(), authenticator, closing)
    })
    .await
}

fn header<'a>(response: &'a reqwest::Response, name: &str) -> &'a str {
    response
        .headers()
        .get(name)
        .map_or("", |value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_run_gets_its_context_or_what_is_missing_of_it() {
    let serving = Serving::start().await;
    let (grant, archive) = (serving.grant(), &serving.archive);
    let length = archive.len();
    for other_ranges in [
        "",
        "bytes=0-9",
        "bytes=-5",
        "bytes=5-,7-",
        "lines=5-",
        "bytes=+5-",
        "bytes=x-",
    ] {
        let response = serving
            .get(&grant)
            .header("range", other_ranges)
            .send()
            .await
            .unwrap();
        assert_eq!(response.status(), 200, "{other_ranges:?}");
        assert_eq!(header(&response, "content-length"), length.to_string());
        assert_eq!(header(&response, "content-type"), "application/octet-stream");
        assert_eq!(header(&response, "accept-ranges"), "bytes");
        assert_eq!(header(&response, "cache-control"), "no-store");
        assert_eq!(response.bytes().await.unwrap(), archive);
    }
    for from in [0, 1, 50, length - 1] {
        let range = format!("bytes={from}-");
        let response = serving.get(&grant).header("range", range).send().await.unwrap();
        assert_eq!(response.status(), 206);
        assert_eq!(
            header(&response, "content-range"),
            format!("bytes {from}-{}/{length}", length - 1)
        );
        assert_eq!(header(&response, "content-length"), (length - from).to_string());
        assert_eq!(response.bytes().await.unwrap(), archive[from..]);
    }
    for from in [length as u64, u64::MAX] {
        let range = format!("bytes={from}-");
        let response = serving.get(&grant).header("range", range).send().await.unwrap();
        assert_eq!(response.status(), 416);
        assert_eq!(header(&response, "content-range"), format!("bytes */{length}"));
    }
}

#[tokio::test]
async fn whatever_is_wrong_with_a_token_the_answer_is_the_same() {
    let serving = Serving::start().await;
    let grant = serving.grant();
    let expired = serving.grant_until(clock::now_ms());
    let other = RunId {
        attempt: 2,
        ..serving.run
    };
    let other_path = grant
        .url_path
        .replace(&serving.run.to_string(), &other.to_string());
    let no_path = grant.url_path.replace(&serving.run.to_string(), "bld-x");
    let token = grant.token.reveal();
    let request = |path: &str| serving.server.anonymous("GET", path);
    let refused = [
        ("no token", request(&grant.url_path)),
        (
            "in the query",
            request(&format!("{}?token={token}", grant.url_path)),
        ),
        (
            "of an organization",
            request(&grant.url_path).bearer_auth(&serving.server.token),
        ),
        (
            "expired",
            request(&grant.url_path).bearer_auth(expired.token.reveal()),
        ),
        ("of another run", request(&other_path).bearer_auth(token)),
        ("of no run", request(&no_path).bearer_auth(token)),
        ("cut", request(&grant.url_path).bearer_auth(&token[1..])),
        (
            "as a password",
            request(&grant.url_path).basic_auth("", Some(token)),
        ),
    ];
    for (what, request) in refused {
        let (code, status) = refusal(request).await;
        assert_eq!(code, 401, "{what}");
        assert_eq!(status["message"], "this needs the token of the run", "{what}");
    }
    assert_eq!(serving.get(&grant).send().await.unwrap().status(), 200);
    let put = serving
        .server
        .anonymous("PUT", &grant.url_path)
        .bearer_auth(token);
    assert_eq!(refusal(put).await.0, 405);
    let calls = serving
        .server
        .anonymous("GET", "/v1/ignite/builds")
        .bearer_auth(token);
    assert_eq!(refusal(calls).await.0, 401, "it opens nothing else");
}

#[tokio::test]
async fn a_context_that_is_gone_and_a_run_that_is_over_are_not_found() {
    let serving = Serving::start().await;
    let grant = serving.grant();
    let contexts = &serving.scene.service().contexts;
    let id = ContextId::from_sha256(Sha256::digest(&serving.archive).into());
    let removal = contexts.begin_removal(&acme().org, &id).await;
    removal.delete_bytes().await.unwrap();
    assert_eq!(refusal(serving.get(&grant)).await.0, 404);

    let serving = Serving::start().await;
    let grant = serving.grant();
    serving.scene.cancel(serving.run.build).await;
    serving.scene.ended(serving.run.build).await;
    assert_eq!(refusal(serving.get(&grant)).await.0, 404);
}

#[tokio::test]
async fn a_token_outlives_the_gateway() {
    let serving = Serving::start().await;
    let grant = serving.grant();
    let Serving {
        mut scene, server, ..
    } = serving;
    server.stop().await;
    scene.restart().await;
    let serving = Serving {
        server: listen(&scene).await,
        scene,
        run: serving.run,
        archive: serving.archive,
    };
    let response = serving.get(&grant).send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(response.bytes().await.unwrap(), serving.archive);
}
