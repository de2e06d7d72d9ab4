//! Git logins that do not open what they are for: what servers say of them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use ignite_proto::v1::{self, BuildStatus, FailureReason};
use ignite_tests::{
    caller::git,
    context::Context,
    gateway::Gateway,
    git_server::GitServer,
    parrot::{Answer, Asked, Parrot},
    planted::values,
};

use super::scene::{Given, Scene};

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
