use super::*;

#[tokio::test]
async fn a_log_is_read_from_its_start_from_any_byte_or_from_now_on() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    scene.executor.print(run, "first\n");
    scene.logged(id, 6).await;

    let behind = scene.follow(id, false, 7).await.err().unwrap();
    assert!(matches!(behind, Error::InvalidArgument(_)), "{behind:?}");
    let whole = tokio::spawn(joined(scene.follow(id, true, 0).await.unwrap(), 0));
    let part = tokio::spawn(joined(scene.follow(id, false, 2).await.unwrap(), 2));
    let tail = tokio::spawn(joined(scene.follow(id, false, 0).await.unwrap(), 6));
    let end = tokio::spawn(joined(scene.follow(id, true, 6).await.unwrap(), 6));
    scene.executor.print(run, "second\n");
    scene.executor.end(run, EndCause::Exited { code: 1 });
    assert_eq!(whole.await.unwrap(), "first\nsecond\n");
    assert_eq!(part.await.unwrap(), "rst\nsecond\n");
    assert_eq!(tail.await.unwrap(), "second\n");
    assert_eq!(end.await.unwrap(), "second\n");

    let build = scene.ended(id).await;
    assert_eq!(build.log_bytes, 13);
    assert_eq!(
        joined(scene.follow(id, false, 7).await.unwrap(), 7).await,
        "econd\n"
    );
    assert_eq!(joined(scene.follow(id, false, 13).await.unwrap(), 13).await, "");
    assert_eq!(joined(scene.follow(id, false, 0).await.unwrap(), 13).await, "");
    assert!(matches!(
        scene.follow(id, false, 14).await.err().unwrap(),
        Error::InvalidArgument(_)
    ));
}

/// A stream ends with the build and no sooner: who then asks for the record finds the end in it.
#[tokio::test(flavor = "multi_thread")]
async fn when_a_log_ends_the_record_says_so() {
    let scene = Scene::start(&[]).await;
    for n in 0..30 {
        let id = scene.create().await;
        let run = scene.started(id, 1).await;
        let followers = (0..4).map(|_| scene.follow(id, true, 0));
        let followers = join_all(followers).await.into_iter().map(Result::unwrap);
        scene.executor.print(run, "all\n");
        match n % 2 {
            0 => scene.executor.end(run, EndCause::Exited { code: 1 }),
            _ => scene.executor.end(run, EndCause::TimedOut),
        }
        let checks = followers.map(|chunks| async {
            let log = joined(chunks, 0).await;
            (log, scene.get(id).await)
        });
        for (log, build) in join_all(checks).await {
            assert_eq!(log, "all\n");
            assert_eq!((build.status(), build.log_bytes), (BuildStatus::Failed, 4));
        }
    }
}

#[tokio::test]
async fn a_secret_is_nowhere_however_it_is_cut() {
    let secret = "s3cr3t-value";
    let mut scene = Scene::start(&[]).await;
    let build_args = [("DB_PASSWORD".to_owned(), secret.to_owned())].into();
    let id = scene
        .create_as(v1::CreateBuildRequest {
            build_args,
            ..request("web")
        })
        .await
        .unwrap();
    let run = scene.started(id, 1).await;
    let live = scene.follow(id, true, 0).await.unwrap();
    for cut in 0..=secret.len() {
        let (head, tail) = secret.split_at(cut);
        scene.executor.print(run, &format!("<{head}"));
        // Long enough for the driver to take what there is.
        tokio::time::sleep(Duration::from_millis(15)).await;
        scene.executor.print(run, &format!("{tail}>\n"));
    }
    let step = format!("time=\"x\" level=info msg=\"Building stage '{secret}' [idx: '0']\"\n");
    scene.executor.print(run, &step);
    scene.executor.end(run, EndCause::Exited { code: 1 });
    let build = scene.ended(id).await;
    let expected = "<***>\n".repeat(secret.len() + 1) + &step.replace(secret, "***");
    assert_eq!(joined(live, 0).await, expected);
    assert_eq!(scene.log(id).await, expected);
    assert!(!format!("{build:?}").contains(secret));
    assert_eq!(build.steps[0].name, "FROM ***");

    // Nor is it in any file.
    scene.stop().await;
    for entry in walk(scene.directory()) {
        let content = std::fs::read(&entry).unwrap();
        let found = content
            .windows(secret.len())
            .any(|window| window == secret.as_bytes());
        assert!(!found, "{} holds the secret", entry.display());
    }
}

fn walk(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(walk(&path));
        } else {
            files.push(path);
        }
    }
    files
}

#[tokio::test]
async fn what_the_fetch_step_found_is_in_the_record() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let report = FetchReport {
        resolved_commit: Some("c0ffee".to_owned()),
        context_size_bytes: 42,
        dockerfile: None,
    };
    scene.executor.fetched(run, report);
    let build = scene.until(id, |build| !build.resolved_commit.is_empty()).await;
    assert_eq!(build.metrics.unwrap().context_size_bytes, 42);
}

#[tokio::test]
async fn a_follower_that_reads_late_gets_the_same() {
    let scene = Scene::start(&[]).await;
    let id = scene.create().await;
    let run = scene.started(id, 1).await;
    let mut late = scene.follow(id, true, 0).await.unwrap();
    let mut expected = String::new();
    // More than is kept in memory.
    for n in 0..400 {
        let text = format!("{n} {}\n", "x".repeat(5000));
        scene.executor.print(run, &text);
        expected.push_str(&text);
    }
    scene.executor.end(run, EndCause::Exited { code: 1 });
    scene.ended(id).await;
    let first = late.try_next().await.unwrap().unwrap();
    let rest = joined(late, first.data.len() as u64).await;
    assert!(String::from_utf8(first.data.to_vec()).unwrap() + &rest == expected);
}
