//! Logins that do not open what they are for, or no longer: what git servers and registries say of them, and what is announced of
//! the builds that failed so.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{
    caller::{BUILD_DEADLINE, git, inline},
    context::Context,
    gateway::{Gateway, PLATFORM},
    git_server::GitServer,
    parrot::{Answer, Asked, Parrot},
    paths,
    planted::values,
    receiver::Receiver,
    registry::Registry,
    wait::eventually,
};

use super::scene::{Given, Scene, arg_lines, with_args};

/// Those of the planted secrets that somebody could have as a password.
fn passwords() -> Vec<String> {
    let is_one_line = |text: &str| !text.contains(char::is_control) && text.len() < 200;
    let all = values::all().into_iter().map(|(_, value)| value);
    let passwords: Vec<String> = all
        .filter(|value| is_one_line(value) && value.trim() == value)
        .collect();
    assert!(passwords.len() >= 20);
    passwords
}

async fn save(scene: &Scene, request: v1::SaveBuildSecretsRequest) {
    let keeper = scene.gateway.caller_of("acme", "secrets:write");
    keeper.grpc.clone().save_build_secrets(request).await.unwrap();
}

async fn save_git_login(scene: &Scene, password: &str) {
    let login = v1::GitCredentials {
        username: "svc".to_owned(),
        password: password.to_owned(),
        ..Default::default()
    };
    let request = v1::SaveBuildSecretsRequest {
        git_credentials: Some(login),
        ..Default::default()
    };
    save(scene, request).await;
}

/// A build that must fail by its login; how often something is masked in what is told of it.
async fn refused(scene: &mut Scene, id: &str, reason: FailureReason) -> usize {
    let build = scene.caller.wait_terminal(id).await;
    let log = scene.log(id).await;
    assert_eq!(
        (build.status(), build.failure_reason()),
        (BuildStatus::Failed, reason),
        "{build:#?}\n{log}"
    );
    format!("{}\n{log}", build.error).matches("***").count()
}

/// What it was told, in clear and as it came.
fn repeated(login: &str) -> String {
    let plain = String::from_utf8(STANDARD.decode(login).unwrap()).unwrap();
    format!("no such login: {plain} ({login})")
}

fn challenge() -> Answer {
    Answer {
        status: "401 Unauthorized",
        headers: "www-authenticate: Basic realm=\"r\"\r\n".to_owned(),
        body: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_git_login_that_was_refused_is_nowhere_whatever_the_server_says_of_it() {
    let server = GitServer::start();
    let repository = server.repository("private/app.git");
    repository.commit(&Context::scratch(""));
    let parrot = Parrot::hearing_logins(|asked: &Asked| {
        let Some(login) = &asked.login else {
            return challenge();
        };
        let line = format!("ERR {}", repeated(login));
        let body = format!("001e# service=git-upload-pack\n0000{:04x}{line}", line.len() + 4);
        Answer {
            status: "200 OK",
            headers: "content-type: application/x-git-upload-pack-advertisement\r\n".to_owned(),
            body: body.into_bytes(),
        }
    });
    // Nothing but the logins is stored: no build arg tells the gateway what to hide.
    let mut scene = Scene::start(Gateway::builder(), Given::AsArgs).await;
    let repeating = format!("http://{}/app.git", parrot.address());
    let mut masks = 0;
    for password in passwords() {
        save_git_login(&scene, &password).await;
        let wrong = scene.begin(git("wrong", repository.url(), "main", "")).await;
        let said = scene.begin(git("said", &repeating, "main", "")).await;
        refused(&mut scene, &wrong, FailureReason::SourceAuth).await;
        masks += refused(&mut scene, &said, FailureReason::SourceFetch).await;
    }
    println!("{masks} logins taken out of what git servers say");
    assert!(masks >= passwords().len(), "{masks}");
    scene.nothing_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_login_that_was_refused_is_nowhere_whatever_the_registry_says_of_it() {
    let real = Registry::guarded();
    // One for each password: all are stored at once.
    let parrots: Vec<Parrot> = passwords()
        .iter()
        .map(|_| {
            Parrot::hearing_logins(|asked: &Asked| {
                let Some(login) = &asked.login else {
                    return challenge();
                };
                if asked.path == "/v2/" {
                    return Answer {
                        status: "200 OK",
                        headers: String::new(),
                        body: b"{}".to_vec(),
                    };
                }
                let text = repeated(login);
                let body =
                    serde_json::json!({"errors": [{"code": "DENIED", "message": text, "detail": text}]});
                Answer {
                    status: "403 Forbidden",
                    headers: "content-type: application/json\r\n".to_owned(),
                    body: body.to_string().into_bytes(),
                }
            })
        })
        .collect();
    let mut scene = Scene::start(Gateway::builder().setting("builds_running_max", 3), Given::AsArgs).await;
    let mut logins = std::collections::BTreeMap::new();
    for (parrot, password) in parrots.iter().zip(passwords()) {
        logins.insert(parrot.address().to_owned(), format!("svc:{password}"));
    }
    let mut ids = Vec::new();
    for (parrot, password) in parrots.iter().zip(passwords()) {
        logins.insert(real.address().to_owned(), format!("pusher:{password}"));
        let request = v1::SaveBuildSecretsRequest {
            registry_credentials: logins.clone(),
            ..Default::default()
        };
        save(&scene, request).await;
        for address in [parrot.address(), real.address()] {
            let context = Context::new(&format!("FROM {address}/base/image:1\n"));
            ids.push(scene.begin(inline("pulling", &context)).await);
        }
        for id in &ids[ids.len() - 2..] {
            scene.caller.wait_terminal(id).await;
        }
    }
    let mut masks = 0;
    for id in ids {
        masks += refused(&mut scene, &id, FailureReason::BaseImagePull).await;
    }
    println!("{masks} logins taken out of what registries say");
    assert!(masks >= passwords().len(), "{masks}");
    assert!(parrots.iter().all(|parrot| parrot.asked() >= 2));
    scene.nothing_is_found().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_announced_of_builds_holds_no_secret() {
    let (webhook, slack) = (Receiver::start(1), Receiver::start(1));
    let builder = Gateway::builder().setting("plugin_private_addresses_allowed", true);
    let mut scene = Scene::start(builder, Given::AsArgs).await;
    let platform = scene.gateway.cli_of("platform", PLATFORM);
    let mut policy = String::new();
    for (plugin, receiver) in [("webhook", &webhook), ("slack", &slack)] {
        platform.run(&["plugin", "push", &paths::plugin(plugin)]);
        let address = receiver.address();
        policy.push_str(&format!(
            "[[plugin]]\nname = '{plugin}'\nversion = '0.1.0'\nhosts = ['http://{address}']\n\
             [plugin.config]\nurl = 'http://{address}/'\n"
        ));
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policy.toml");
    std::fs::write(&file, policy).unwrap();
    platform.run(&["policy", "put", file.to_str().unwrap()]);
    // The error of each has its secret in it.
    let short: Vec<usize> = (0..)
        .zip(values::all())
        .filter(|(_, (_, value))| value.len() < 60 && !value.contains([' ', '\n', '\t', '$', '"']))
        .map(|(index, _)| index)
        .collect();
    let mut failed = 0;
    for index in &short {
        let name = values::arg_name(*index);
        let dockerfile = format!("FROM scratch\n{}COPY ${{{name}}} /x\n", arg_lines());
        let id = scene
            .begin(with_args(inline(
                &format!("told-{index}"),
                &Context::new(&dockerfile),
            )))
            .await;
        let build = scene.caller.wait_terminal(&id).await;
        scene.log(&id).await;
        // A value with wildcards may match something.
        assert_eq!(
            build.status() == BuildStatus::Failed,
            build.error.contains("***"),
            "{build:?}"
        );
        failed += usize::from(build.status() == BuildStatus::Failed);
    }
    assert!(failed >= 8, "{failed}");
    for (what, receiver) in [("the webhook", &webhook), ("Slack", &slack)] {
        // Once more than there are builds: the first is refused.
        let bodies = eventually("all announcements", BUILD_DEADLINE, async || {
            let bodies = receiver.bodies();
            (bodies.len() > short.len()).then_some(bodies)
        })
        .await;
        let masked = bodies
            .iter()
            .filter(|body| body.to_string().contains("***"))
            .count();
        assert!(masked >= failed, "{what}: {masked} of {bodies:#?}");
        for body in &bodies {
            let text = body.to_string();
            scene.look_at(&format!("what {what} was told"), text.as_bytes());
            scene.look_at(&format!("the texts that {what} was told"), &texts(body));
        }
    }
    scene.nothing_is_found().await;
}

/// Each text as it is, not as JSON has it.
fn texts(value: &serde_json::Value) -> Vec<u8> {
    match value {
        serde_json::Value::String(text) => [text.as_bytes(), b"\0\0"].concat(),
        serde_json::Value::Array(items) => items.iter().flat_map(texts).collect(),
        serde_json::Value::Object(fields) => fields.values().flat_map(texts).collect(),
        _ => Vec::new(),
    }
}
