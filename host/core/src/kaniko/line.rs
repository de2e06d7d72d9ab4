//! One line of Kaniko's text log: `time="…" level=info msg="…"`.

/// A line as Kaniko's logger writes it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LogLine<'a> {
    /// Output of a step that did not end its line before the logger wrote to it.
    pub(super) before: &'a str,
    pub(super) level: &'a str,
    pub(super) message: String,
}

/// None for whatever the logger did not write.
pub(super) fn parse(line: &str) -> Option<LogLine<'_>> {
    // The last: a message never holds these characters, it has the quote escaped.
    let start = line.rfind("time=\"")?;
    let (before, rest) = line.split_at_checked(start)?;
    let (_, rest) = rest.strip_prefix("time=\"")?.split_once("\" level=")?;
    let (level, rest) = rest.split_once(" msg=")?;
    let message = match rest.strip_prefix('"') {
        Some(quoted) => unquote(quoted),
        None => rest.split(' ').next().unwrap_or_default().to_owned(),
    };
    Some(LogLine {
        before,
        level,
        message,
    })
}

/// Undoes Go's `%q` up to the closing quote, or to the end where the line was cut.
fn unquote(quoted: &str) -> String {
    let mut out = String::with_capacity(quoted.len());
    let mut chars = quoted.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => break,
            '\\' => match chars.next() {
                Some('n') => out.push('\n'),
                Some('t') => out.push('\t'),
                Some('r') => out.push('\r'),
                Some('x') => push_code(&mut out, &mut chars, 2),
                Some('u') => push_code(&mut out, &mut chars, 4),
                Some('U') => push_code(&mut out, &mut chars, 8),
                Some(other) => out.push(other),
                None => {}
            },
            other => out.push(other),
        }
    }
    out
}

fn push_code(out: &mut String, chars: &mut std::str::Chars<'_>, digits: usize) {
    let code: String = chars.take(digits).collect();
    let decoded = u32::from_str_radix(&code, 16).ok().and_then(char::from_u32);
    out.push(decoded.unwrap_or(char::REPLACEMENT_CHARACTER));
}

/// Whether a message is an instruction of a Dockerfile, as Kaniko logs each before it runs it.
pub(super) fn is_instruction(message: &str) -> bool {
    const KEYWORDS: [&str; 17] = [
        "ADD",
        "ARG",
        "CMD",
        "COPY",
        "ENTRYPOINT",
        "ENV",
        "EXPOSE",
        "HEALTHCHECK",
        "LABEL",
        "MAINTAINER",
        "ONBUILD",
        "RUN",
        "SHELL",
        "STOPSIGNAL",
        "USER",
        "VOLUME",
        "WORKDIR",
    ];
    let word = message.split([' ', '\t', '\n']).next().unwrap_or_default();
    word.len() < message.len() && KEYWORDS.iter().any(|keyword| word.eq_ignore_ascii_case(keyword))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn log_lines_are_told_from_output() {
        let line =
            parse(r#"time="2026-11-22T11:15:17Z" level=info msg="RUN [\"a\"]\n\ttwo\x01\u00fc""#).unwrap();
        assert_eq!((line.before, line.level), ("", "info"));
        assert_eq!(line.message, "RUN [\"a\"]\n\ttwo\u{1}ü");
        let line =
            parse(r#"no newline at endtime="2026-11-22T11:15:17Z" level=warning msg=Short x=1"#).unwrap();
        assert_eq!((line.before, line.level), ("no newline at end", "warning"));
        assert_eq!(line.message, "Short");
        for text in ["", "hello", "time=\"", "time=\"x\" level=", r#"time="x" msg="y""#] {
            assert_eq!(parse(text), None, "{text:?}");
        }
        assert_eq!(
            parse(r#"time="x" level=info msg="cut of"#).unwrap().message,
            "cut of"
        );
    }

    #[test]
    fn instructions_are_told_from_remarks() {
        for message in [
            "RUN x",
            "run x",
            "COPY --from=a b c",
            "RUN\\\n x".replace('\\', " ").as_str(),
            "ENV A=b",
        ] {
            assert!(is_instruction(message), "{message:?}");
        }
        for message in [
            "",
            "RUN",
            "Running: [x]",
            "Cmd: /bin/sh",
            "Args: [x]",
            "Adding exposed port: 80",
            "Cmd: USER",
        ] {
            assert!(!is_instruction(message), "{message:?}");
        }
    }
}
