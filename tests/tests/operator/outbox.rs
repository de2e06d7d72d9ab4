//! `ignited outbox` and `ignite notification`: announcements that nobody heard.

use std::{path::Path, process::Command, time::Duration};

use ignite_tests::{
    caller,
    command::{output, run},
    context::Context,
    gateway::{Gateway, PLATFORM},
    paths,
    wait::eventually,
};

const DEADLINE: Duration = Duration::from_secs(60);

fn outbox(arguments: &[&str], data_dir: &Path) -> Command {
    let mut ignited = Command::new(paths::binary("ignited"));
    ignited
        .arg("outbox")
        .args(arguments)
        .env("IGNITED_DATA_DIR", data_dir);
    ignited
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_is_seen_replayed_and_dropped_while_the_daemon_runs_or_not() {
    let mut gateway = Gateway::start();
    let cli = gateway.cli_of("platform", PLATFORM);
    cli.run(&["plugin", "push", &paths::plugin("hostile/puppet")]);
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.toml");
    let text = "[[plugin]]\nname = 'puppet'\nversion = '0.1.0'\nhooks = ['notify']\n\
                [plugin.config]\nnotify = {answer = {Never = 'the receiver is gone'}}\n";
    std::fs::write(&policy, text).unwrap();
    cli.run(&["policy", "put", policy.to_str().unwrap()]);
    let caller = gateway.caller();
    let request = caller::inline("announced", &Context::new("FRIM nothing\n"));
    let id = caller.create(request).await;
    caller.wait_terminal(&id).await;

    let given_up = async |caller: &caller::Caller, times: usize| {
        eventually("to be given up", DEADLINE, async || {
            let reports = caller.get(&id).await.hook_reports;
            let failed = reports
                .iter()
                .filter(|it| it.hook == "notify" && it.verdict == "failed");
            (failed.count() == times).then_some(())
        })
        .await;
    };
    given_up(&caller, 1).await;
    let listed = cli.json(&["notification", "list"]);
    let notification = &listed["notifications"][0];
    assert_eq!(notification["state"], "NOTIFICATION_STATE_DEAD", "{listed}");
    let name = notification["id"].as_str().unwrap().to_owned();
    cli.run(&["notification", "replay", &name]);
    given_up(&caller, 2).await;

    let data_dir = gateway.data_dir();
    let busy = output(&mut outbox(&["list"], &data_dir));
    assert_eq!(busy.status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&busy.stderr).contains("in use"),
        "{busy:?}"
    );
    gateway.terminate();
    let shown = run(&mut outbox(&["list", "--dead"], &data_dir));
    let line = shown.lines().next().unwrap();
    let columns: Vec<&str> = line.split('\t').collect();
    assert_eq!(columns[..3], ["acme", name.as_str(), "puppet"], "{shown}");
    assert!(columns[3].starts_with("dead since 2"), "{shown}");
    assert_eq!(columns[4..], ["1", "the receiver is gone"], "{shown}");
    let others = run(&mut outbox(&["list", "--organization", "other"], &data_dir));
    assert_eq!(others, "0 announcements\n");
    let missing = name.replace(".0", ".1");
    let refused = output(&mut outbox(&["drop", &missing, &name], &data_dir));
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert_eq!(output(&mut outbox(&["drop"], &data_dir)).status.code(), Some(2));
    run(&mut outbox(&["replay", "--dead"], &data_dir));
    assert!(run(&mut outbox(&["list"], &data_dir)).contains("pending until"));

    gateway.restart();
    let caller = caller.reconnected();
    given_up(&caller, 3).await;
    gateway.terminate();
    run(&mut outbox(&["drop", &name], &data_dir));
    assert_eq!(run(&mut outbox(&["list"], &data_dir)), "0 announcements\n");
    gateway.restart();
}
