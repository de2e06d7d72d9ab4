use super::*;
use crate::{
    outbox::{Outbox, OutboxSettings, tests::Receiver},
    store::OutboxState,
};

#[tokio::test]
async fn the_end_of_a_build_is_stored_with_its_announcements_and_survives_a_kill_before_they_are_made() {
    let mut scene = Scene::start(&[("builds_running_max", "1")]).await;
    let running = scene.create().await;
    scene.started(running, 1).await;
    let waiting = scene.create().await;
    let receiver = Arc::new(Receiver::of(2));
    let store = Arc::clone(&scene.app().store);
    let outbox = Outbox::new(OutboxSettings::default(), Arc::clone(&store), receiver.clone());
    let retry = scene.app().driver.settings.retry;
    for id in [running, waiting] {
        let live = scene.live(id);
        live.apply(&store, &outbox, Event::CancelRequested, clock::now_ms(), &retry)
            .await
            .unwrap();
    }
    let org = acme().org;
    let page = store.list_notifications(&org, None, 10).await.unwrap();
    let builds: Vec<_> = page.entries.iter().map(|(key, _)| key.id.build).collect();
    assert_eq!(builds, [waiting; 2], "the other has not ended yet");
    assert!(
        page.entries
            .iter()
            .all(|(_, row)| row.state == OutboxState::Pending && row.attempts == 0)
    );
    drop((outbox, store));

    // The daemon is gone before anyone was told.
    scene.restart().await;
    let store = Arc::clone(&scene.app().store);
    let outbox = Arc::new(Outbox::new(OutboxSettings::default(), store, receiver.clone()));
    let announcing = tokio::spawn(outbox.run(tokio_util::sync::CancellationToken::new()));
    eventually("both to be told", async || {
        (receiver.told().len() == 2).then_some(())
    })
    .await;
    announcing.abort();
    let mut keys: Vec<_> = receiver.told().into_iter().map(|(_, key, _)| key).collect();
    keys.sort();
    assert_eq!(keys, [format!("{waiting}.0"), format!("{waiting}.1")]);
}
