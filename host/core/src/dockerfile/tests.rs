use std::{collections::BTreeMap, fs, path::Path, time::Instant};

use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn parse_with(text: &str, args: &[(&str, &str)]) -> Result<Dockerfile, ParseError> {
    let args = args.iter().map(|(name, value)| {
        let secret = name.contains("TOKEN");
        ((*name).to_owned(), ArgValue::new((*value).to_owned(), secret))
    });
    parse(text, &args.collect())
}

/// The bases, as text.
fn bases(text: &str, args: &[(&str, &str)]) -> Vec<String> {
    let parsed = parse_with(text, args).unwrap();
    parsed.stages.iter().map(|stage| shown(&stage.base)).collect()
}

fn shown(base: &Base) -> String {
    match base {
        Base::Scratch => "scratch".to_owned(),
        Base::Stage(index) => format!("stage {index}"),
        Base::Image(image) => format!("image {image}"),
        Base::Unresolved(text) => format!("unresolved {text}"),
    }
}

/// `(keyword, flags, heredocs, line)` of an instruction in a fixture, and its arguments if they are known.
fn expected_instruction(value: &Value) -> (Instruction, bool) {
    let texts = |key: &str| -> Vec<String> {
        let values = value[key].as_array().into_iter().flatten();
        values.map(|one| one.as_str().unwrap().to_owned()).collect()
    };
    let instruction = Instruction {
        keyword: value["keyword"].as_str().unwrap().to_owned(),
        flags: texts("flags"),
        arguments: value["arguments"].as_str().unwrap_or_default().to_owned(),
        heredocs: texts("heredocs"),
        line: u32::try_from(value["line"].as_u64().unwrap()).unwrap(),
    };
    (instruction, value["arguments"].is_string())
}

fn check_instructions(name: &str, text: &str, expected: &Value) {
    // Where the builder fails, what it fails on may be unknown here too.
    let Ok((read, _)) = lines::read(text) else {
        assert_ne!(expected["error"], "", "{name} must be read");
        return;
    };
    let Some(wanted) = expected["instructions"].as_array() else {
        return;
    };
    assert_eq!(read.len(), wanted.len(), "{name}: {read:?}");
    for (mut read, wanted) in read.into_iter().zip(wanted) {
        let (wanted, arguments_known) = expected_instruction(wanted);
        if !arguments_known || matches!(wanted.keyword.as_str(), "ARG" | "FROM") {
            read.arguments.clone_from(&wanted.arguments);
        }
        assert_eq!(read, wanted, "{name}");
    }
}

#[test]
fn the_corpus_is_read_as_the_builder_reads_it() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/dockerfile/corpus");
    let mut count = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "Dockerfile") {
            continue;
        }
        count += 1;
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let expected = fs::read_to_string(path.with_extension("ast.json")).unwrap();
        let expected: Value = serde_json::from_str(&expected).unwrap();
        check_instructions(&name, &text, &expected);

        let args: BTreeMap<String, ArgValue> = text
            .lines()
            .filter_map(|line| line.strip_prefix("#arg ")?.split_once('='))
            .map(|(name, value)| (name.to_owned(), ArgValue::new(value.to_owned(), false)))
            .collect();
        let parsed = match parse(&text, &args) {
            Ok(parsed) if expected["error"] == "" => parsed,
            Ok(_) | Err(_) => {
                assert_ne!(expected["error"], "", "{name}");
                continue;
            }
        };
        let wanted = expected["stages"].as_array().unwrap();
        assert_eq!(parsed.stages.len(), wanted.len(), "{name}");
        for (stage, wanted) in parsed.stages.iter().zip(wanted) {
            let place = format!("{name}:{}", stage.line);
            assert_eq!(u64::from(stage.line), wanted["line"].as_u64().unwrap(), "{place}");
            assert_eq!(
                words::lower(stage.name.as_deref().unwrap_or_default()),
                wanted["name"],
                "{place}"
            );
            assert_eq!(
                stage.platform.as_deref().unwrap_or_default(),
                wanted["platform"],
                "{place}"
            );
            match &stage.base {
                // Never wrong; but nothing that is plain may be left open.
                Base::Unresolved(text) => {
                    let odd = text.contains('$') || text == "scratch" || wanted["base"] == "";
                    assert!(odd, "{place}: {text} should be {}", wanted["base"]);
                }
                base => assert_eq!(shown(base), wanted["base"], "{place}"),
            }
        }
    }
    assert!(count >= 70, "{count}");
}

#[test]
fn stages_hold_their_instructions_and_what_is_before_them() {
    let parsed = parse_with(
        "ARG A=1\nFROM x AS Y\nRUN --network=none a \\\n b\nFROM y\nUSER c",
        &[],
    )
    .unwrap();
    assert_eq!(parsed.global_args.len(), 1);
    assert_eq!(parsed.stages[0].name.as_deref(), Some("Y"));
    let run = &parsed.stages[0].instructions[0];
    assert_eq!(
        (run.keyword.as_str(), run.arguments.as_str(), run.line),
        ("RUN", "a  b", 3)
    );
    assert_eq!(run.flags, ["--network=none"]);
    assert_eq!(parsed.stages[1].base, Base::Stage(0));
    assert_eq!(parsed.stages[1].instructions[0].arguments, "c");
}

#[test]
fn variables_take_the_values_that_the_builder_gives_them() {
    let text = "ARG A=debian\nARG B=$A:12\nFROM $B\nFROM ${C:-x}\nFROM ${A:+y}\nFROM 'q$A'";
    assert_eq!(
        bases(text, &[]),
        ["image debian:12", "image x", "image y", "image q$A"].map(|base| match base {
            // Quotes keep it the first time, and are gone the second.
            "image q$A" => "image qdebian".to_owned(),
            other => other.to_owned(),
        })
    );
    assert_eq!(bases(text, &[("A", "alpine")])[0], "image alpine:12");
    assert_eq!(bases("FROM $A", &[("A", "a=b")]), ["image a"]);
}

#[test]
fn what_a_rewritten_reference_means_is_seen_through_both_expansions() {
    let text = "ARG X=evil\nARG Y='\\$X'\nFROM good$Y";
    assert_eq!(bases(text, &[]), ["image goodevil"]);
}

#[test]
fn secrets_and_what_is_not_known_stay_unresolved() {
    for text in [
        "FROM $NO",
        "FROM a$NO",
        "FROM debian-$TARGETARCH",
        "ARG A=b\nFROM ${A#b}",
        "ARG A=b\nFROM ${A/b/c}",
        "FROM ${NO:?}",
        "ARG A=$NO\nFROM $A",
        "FROM debian AS scratch\nFROM scratch",
    ] {
        let base = bases(text, &[]).pop().unwrap();
        assert!(base.starts_with("unresolved "), "{text}: {base}");
    }
    for text in [
        "FROM $TOKEN",
        "FROM ${TOKEN:-x}",
        "FROM ${TOKEN:+x}",
        "ARG A=${TOKEN}\nFROM $A",
        "ARG TOKEN=x\nFROM $TOKEN",
    ] {
        let base = bases(text, &[("TOKEN", "hunter2")]).pop().unwrap();
        assert!(
            base.starts_with("unresolved ") && !base.contains("hunter2"),
            "{text}: {base}"
        );
    }
}

#[test]
fn what_the_builder_refuses_is_refused_with_its_line() {
    for (text, line) in [
        ("", 1),
        ("FROM a\nFETCH b", 2),
        ("RUN a\nFROM b", 1),
        ("FROM a\nRUN <<E\nb", 2),
        ("FROM a b", 1),
        ("FROM a AS 1", 1),
        ("#escape=`\n#escape=`\nFROM a", 2),
        ("\nARG A='b\nFROM a", 2),
    ] {
        assert_eq!(parse_with(text, &[]).unwrap_err().line, line, "{text}");
    }
}

#[test]
fn hostile_texts_take_bounded_time() {
    let started = Instant::now();
    let doubling: String = (0..60).map(|n| format!("ARG A{}=$A{n}$A{n}\n", n + 1)).collect();
    let mebibyte = |part: &str| part.repeat((1 << 20) / part.len());
    for text in [
        format!("ARG A0=aaaaaaaa\n{doubling}FROM $A60\n"),
        format!("ARG A={}\n{}", "a".repeat(10_000), mebibyte("FROM $A\n")),
        mebibyte("FROM a\n"),
        mebibyte("FROM a AS b\n"),
        format!("FROM a\nRUN <<A {}", mebibyte("${a:-")),
        format!("FROM a\nRUN {}\n", mebibyte("<<A ")),
        format!("FROM a\nRUN {}\n{}", "<<A ".repeat(1000), mebibyte("A\n")),
        format!("FROM {}", mebibyte("${a:-")),
        format!("FROM a\nRUN \\\n{}", mebibyte("\\\n")),
        format!("FROM a\nRUN [{}", mebibyte("\"\\u0000\",")),
        mebibyte("<"),
        mebibyte("#\n"),
    ] {
        let _ = parse_with(&text, &[]);
    }
    assert!(started.elapsed().as_secs() < 60, "{:?}", started.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn no_text_panics_and_lines_are_lines_of_the_text(
        text in "(FROM |RUN |ARG |COPY |ONBUILD |<<-?|EOF|\n|\n|\\\\|`|#|escape=|'|\"|\\$|\\{|\\}|:|-|=| |a|A|AS |\u{a0}|ä|\t|\r|\\[|\\]|,){0,60}",
        value in "[a$\\\\\"'{}=]{0,6}",
    ) {
        if let Ok(parsed) = parse_with(&text, &[("A", &value)]) {
            let count = u32::try_from(text.split('\n').count()).unwrap();
            let mut last = 0;
            for stage in &parsed.stages {
                prop_assert!(stage.line > last && stage.line <= count);
                last = stage.line;
                for instruction in &stage.instructions {
                    prop_assert!(instruction.line > last && instruction.line <= count);
                    last = instruction.line;
                    let first = text.split('\n').nth(instruction.line as usize - 1).unwrap();
                    prop_assert!(!first.trim().is_empty());
                }
            }
        } else {
            prop_assert!(parse_with(&text, &[("A", &value)]).unwrap_err().line >= 1);
        }
    }

    #[test]
    fn no_arbitrary_text_panics(text in ".{0,80}") {
        let _ = parse_with(&text, &[]);
        let _ = parse_with(&format!("ARG A={text}\nFROM {text}\nRUN <<E {text}\nE"), &[("A", &text)]);
    }
}
