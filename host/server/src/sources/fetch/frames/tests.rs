use ignite_core::run::FetchFailure;
use proptest::{collection::vec, option, prelude::*};

use super::*;

/// What the fetch step prints.
fn printed(texts: &[String], result: &Result<FetchReport, Failed>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut frames = FrameWriter::new(&mut bytes);
    for text in texts {
        frames.log(text).unwrap();
    }
    frames.finish(result).unwrap();
    bytes
}

fn failures() -> impl Strategy<Value = FetchFailure> {
    prop_oneof![
        Just(FetchFailure::Auth),
        Just(FetchFailure::Source),
        Just(FetchFailure::Dockerfile),
        Just(FetchFailure::Internal),
    ]
}

/// Any text, often with what could be taken for something of ours.
fn text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        any::<String>(),
        Just("\n".to_owned()),
        Just("\nR7 {\"context_size_bytes\":1}\n".to_owned()),
        Just("\r\nF7 {}".to_owned()),
        Just("\u{2028}!7".to_owned()),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn results() -> impl Strategy<Value = Result<FetchReport, Failed>> {
    let report = (option::of(text()), any::<u64>(), option::of(text()));
    prop_oneof![
        report.prop_map(
            |(resolved_commit, context_size_bytes, dockerfile)| Ok(FetchReport {
                resolved_commit,
                context_size_bytes,
                dockerfile,
            })
        ),
        (failures(), text()).prop_map(|(failure, message)| Err(Failed { failure, message })),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read_and_nothing_logged_passes_for_a_result(texts in vec(text(), 0..8), result in results()) {
        let bytes = printed(&texts, &result);
        let mut log = Vec::new();
        let mut read = None;
        for line in bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
            prop_assert!(read.is_none(), "a line behind the result");
            match Frame::parse(line).unwrap() {
                Frame::Text { at, text, has_newline } => {
                    prop_assert!(at == log.len() as u64 && has_newline);
                    log.extend_from_slice(text);
                    log.push(b'\n');
                }
                Frame::Report { at, report } => read = Some((at, Ok(report))),
                Frame::Failed { at, failed } => read = Some((at, Err(failed))),
                Frame::End { .. } => prop_assert!(false),
            }
        }
        prop_assert_eq!(read, Some((log.len() as u64, result)));
        let whole: String = texts.iter().map(|text| format!("{text}\n")).collect();
        prop_assert_eq!(String::from_utf8(log).unwrap(), whole);
    }

    #[test]
    fn any_line_can_be_read(line in vec(any::<u8>(), 0..200)) {
        let _frame_or_none = Frame::parse(&line);
    }
}

#[test]
fn lines_look_as_they_are_documented() {
    let failed = Err(Failed {
        failure: FetchFailure::Auth,
        message: "no\nentry".to_owned(),
    });
    assert_eq!(
        printed(&["a\nb".to_owned()], &failed),
        b".0 a\n.2 b\nF4 {\"failure\":\"auth\",\"message\":\"no\\nentry\"}\n"
    );
    assert_eq!(
        Frame::parse(b"R9 {\"resolved_commit\":null,\"context_size_bytes\":7,\"dockerfile\":null}"),
        Ok(Frame::Report {
            at: 9,
            report: FetchReport {
                context_size_bytes: 7,
                ..FetchReport::default()
            }
        })
    );
    let text = |at, text, has_newline| {
        Ok(Frame::Text {
            at,
            text,
            has_newline,
        })
    };
    assert_eq!(Frame::parse(b".12 "), text(12, b"", true));
    assert_eq!(Frame::parse(b"+12 a\xff"), text(12, b"a\xff", false));
    assert_eq!(Frame::parse(b"!12"), Ok(Frame::End { at: 12 }));
    for line in [
        "",
        ".",
        ".1",
        ". x",
        ".1x",
        ".-1 x",
        ".99999999999999999999 x",
        " .1 x",
        "!",
        "!1 ",
        "R{}",
        "R {}",
        "L x",
    ] {
        assert_eq!(
            Frame::parse(line.as_bytes()),
            Err(FrameError::NoFrame),
            "{line:?}"
        );
    }
    for line in [
        "R1 ",
        "R1 {}",
        "F1 {",
        "F1 {\"failure\":\"other\",\"message\":\"\"}",
    ] {
        assert_eq!(
            Frame::parse(line.as_bytes()),
            Err(FrameError::Damaged),
            "{line:?}"
        );
    }
}

#[test]
fn the_longest_report_fits() {
    let report = Ok(FetchReport {
        resolved_commit: Some("c".repeat(64)),
        context_size_bytes: u64::MAX,
        dockerfile: Some("\u{1}".repeat(1 << 20)),
    });
    let line = printed(&[], &report);
    assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
}
