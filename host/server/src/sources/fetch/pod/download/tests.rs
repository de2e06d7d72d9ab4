//! Against a server that answers each request with what a test wants, word for word.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    net::TcpListener,
    thread,
};

use ignite_core::{run::FetchFailure, secrets::SecretText};

use super::*;

const WHOLE: &str = "0123456789";

/// What came of it, the file, the log, and the ranges that were asked for.
type Outcome = (Result<(), Failed>, String, Vec<String>, Vec<String>);

fn get(answers: &[String]) -> Outcome {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/path", listener.local_addr().unwrap());
    let answers = answers.to_vec();
    let server = thread::spawn(move || {
        let mut ranges = Vec::new();
        for answer in answers {
            let (stream, _) = listener.accept().unwrap();
            let mut range = String::new();
            for line in BufReader::new(&stream).lines().map(Result::unwrap) {
                if line.is_empty() {
                    break;
                }
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("range: ") {
                    range = value.to_owned();
                }
            }
            ranges.push(range);
            (&stream).write_all(answer.as_bytes()).unwrap();
        }
        ranges
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("context");
    fs::write(&file, "of an earlier try, and longer than what comes").unwrap();
    let context = PodContext {
        url,
        token: SecretText::new("token".to_owned()),
    };
    let mut log = Vec::new();
    let deadline = Instant::now() + Duration::from_secs(20);
    let done = download(&context, &file, deadline, &mut |line| log.push(line.to_owned()));
    (
        done,
        fs::read_to_string(file).unwrap(),
        log,
        server.join().unwrap(),
    )
}

/// An answer with a part of its body.
fn answer(status: &str, headers: &str, length: usize, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
}

fn whole(body: &str) -> String {
    answer("200 OK", "", WHOLE.len(), body)
}

fn part(from: usize, body: &str) -> String {
    let range = format!("content-range: bytes {from}-9/10\r\n");
    answer("206 Partial Content", &range, WHOLE.len() - from, body)
}

#[test]
fn what_was_cut_off_is_gone_on_with() {
    let (done, file, log, ranges) = get(&[whole("012"), part(3, "34"), part(5, "56789")]);
    assert_eq!(done, Ok(()));
    assert_eq!(file, WHOLE);
    assert_eq!(ranges, ["", "bytes=3-", "bytes=5-"]);
    assert_eq!(log.len(), 3, "{log:?}");
}

#[test]
fn a_server_that_knows_no_ranges_sends_it_anew() {
    let (done, file, _, ranges) = get(&[whole("012345678"), whole(WHOLE)]);
    assert_eq!((done, file.as_str()), (Ok(()), WHOLE));
    assert_eq!(ranges, ["", "bytes=9-"]);
}

#[test]
fn parts_that_do_not_fit_are_thrown_away() {
    let none = answer("416 Range Not Satisfiable", "content-range: bytes */2\r\n", 0, "");
    for wrong in [
        part(2, "23456789"),
        none,
        answer("206 Partial Content", "", 7, "3456789"),
    ] {
        let (done, file, _, ranges) = get(&[whole("012"), wrong, whole(WHOLE)]);
        assert_eq!((done, file.as_str()), (Ok(()), WHOLE));
        assert_eq!(ranges, ["", "bytes=3-", ""]);
    }
}

#[test]
fn what_may_pass_is_tried_again_and_told_once() {
    let answers = [
        answer("503 Service Unavailable", "", 0, ""),
        answer("429 Too Many Requests", "", 0, ""),
        String::new(),
        whole(WHOLE),
    ];
    let (done, file, log, _) = get(&answers);
    assert_eq!((done, file.as_str()), (Ok(()), WHOLE));
    assert_eq!(
        log,
        [
            "Downloading the context",
            "[ignite] the context does not come (the gateway answers 503 Service Unavailable): trying again"
        ]
    );
}

#[test]
fn what_lasts_ends_it() {
    let elsewhere = "location: http://127.0.0.1:1/\r\n";
    for (status, headers) in [
        ("401 Unauthorized", ""),
        ("404 Not Found", ""),
        ("410 Gone", ""),
        ("302 Found", elsewhere),
        ("204 No Content", ""),
    ] {
        let (done, _, _, ranges) = get(&[answer(status, headers, 0, "")]);
        let failed = done.unwrap_err();
        assert_eq!(failed.failure, FetchFailure::Internal);
        assert_eq!(
            failed.message,
            format!("downloading the context: the gateway answers {status}")
        );
        assert_eq!(ranges.len(), 1);
    }
}
