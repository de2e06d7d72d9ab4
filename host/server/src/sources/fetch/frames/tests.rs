use ignite_core::run::FetchFailure;
use proptest::{collection::vec, option, prelude::*};

use super::*;

fn written(frame: &Frame) -> Vec<u8> {
    let mut bytes = Vec::new();
    frame.write_to(&mut bytes).unwrap();
    bytes
}

/// Reads `bytes` in pieces of the lengths in `cuts`, then the rest.
fn read(bytes: &[u8], cuts: &[usize]) -> Vec<Result<Frame, FrameError>> {
    let mut reader = FrameReader::default();
    let mut frames = Vec::new();
    let mut rest = bytes;
    for cut in cuts {
        let (piece, after) = rest.split_at((*cut).min(rest.len()));
        frames.extend(reader.push(piece));
        rest = after;
    }
    frames.extend(reader.push(rest));
    frames.extend(reader.finish());
    assert!(reader.is_between_lines());
    frames
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
        Just("\nR {\"context_size_bytes\":1}\n".to_owned()),
        Just("\r\nF {}".to_owned()),
        Just("\u{2028}R {}".to_owned()),
    ];
    vec(part, 0..6).prop_map(|parts| parts.concat())
}

fn frames() -> impl Strategy<Value = Frame> {
    let report = (option::of(text()), any::<u64>(), option::of(text()));
    prop_oneof![
        text().prop_map(Frame::Log),
        report.prop_map(
            |(resolved_commit, context_size_bytes, dockerfile)| Frame::Report(FetchReport {
                resolved_commit,
                context_size_bytes,
                dockerfile,
            })
        ),
        (failures(), text()).prop_map(|(failure, message)| Frame::Failed(Failed { failure, message })),
    ]
}

proptest! {
    #[test]
    fn what_was_written_is_read_however_it_is_cut(frames in vec(frames(), 0..8), cuts in vec(0_usize..40, 0..40)) {
        let bytes: Vec<u8> = frames.iter().flat_map(written).collect();
        let expected: Vec<Frame> = frames
            .into_iter()
            .flat_map(|frame| match frame {
                Frame::Log(text) => text.split('\n').map(|line| Frame::Log(line.to_owned())).collect(),
                one => vec![one],
            })
            .collect();
        let read: Result<Vec<Frame>, FrameError> = read(&bytes, &cuts).into_iter().collect();
        prop_assert_eq!(read.unwrap(), expected);
    }

    #[test]
    fn nothing_that_is_logged_passes_for_a_result(text in text()) {
        for frame in read(&written(&Frame::Log(text)), &[]) {
            prop_assert!(matches!(frame, Ok(Frame::Log(_))), "{:?}", frame);
        }
    }

    #[test]
    fn any_bytes_can_be_read(bytes in vec(any::<u8>(), 0..200), cuts in vec(0_usize..20, 0..20)) {
        prop_assert_eq!(read(&bytes, &cuts), read(&bytes, &[]));
    }
}

#[test]
fn lines_look_as_they_are_documented() {
    let failed = Failed {
        failure: FetchFailure::Auth,
        message: "no\nentry".to_owned(),
    };
    assert_eq!(written(&Frame::Log("a\nb".to_owned())), b"L a\nL b\n");
    assert_eq!(
        written(&Frame::Failed(failed)),
        b"F {\"failure\":\"auth\",\"message\":\"no\\nentry\"}\n"
    );
    assert_eq!(
        Frame::parse(b"R {\"resolved_commit\":null,\"context_size_bytes\":7,\"dockerfile\":null}"),
        Ok(Frame::Report(FetchReport {
            context_size_bytes: 7,
            ..FetchReport::default()
        }))
    );
    assert_eq!(Frame::parse(b"L "), Ok(Frame::Log(String::new())));
    assert_eq!(Frame::parse(b"L a\xff"), Ok(Frame::Log("a\u{fffd}".to_owned())));
    for line in ["", "L", "Label", "l x", " L x", "R{}"] {
        assert_eq!(
            Frame::parse(line.as_bytes()),
            Err(FrameError::NoFrame),
            "{line:?}"
        );
    }
    for line in ["R ", "R {}", "F {", "F {\"failure\":\"other\",\"message\":\"\"}"] {
        assert_eq!(
            Frame::parse(line.as_bytes()),
            Err(FrameError::Damaged),
            "{line:?}"
        );
    }
}

#[test]
fn the_longest_report_fits() {
    let report = Frame::Report(FetchReport {
        resolved_commit: Some("c".repeat(64)),
        context_size_bytes: u64::MAX,
        dockerfile: Some("\u{1}".repeat(1 << 20)),
    });
    let line = written(&report);
    assert!(line.len() <= LINE_BYTES_MAX, "{}", line.len());
    assert_eq!(read(&line, &[1000, 1 << 20]), [Ok(report)]);
}

#[test]
fn a_line_that_is_too_long_is_passed_over_and_not_held() {
    let mut reader = FrameReader::default();
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..20 {
        assert_eq!(reader.push(&piece), []);
        assert!(reader.line.capacity() <= 2 * LINE_BYTES_MAX);
    }
    assert!(!reader.is_between_lines());
    assert_eq!(
        reader.push(b"\nL on\n"),
        [Err(FrameError::TooLong), Ok(Frame::Log("on".to_owned()))]
    );
}
