//! What the daemon's own log may show: whatever is logged goes through a redactor before it is written.
//!
//! Errors carry words of plugins, git servers, registries and clusters. Where it is known which build they are about, the secrets of
//! that build are looked for, else tokens of well-known shapes only.

use std::{
    future::Future,
    io::{self, Write},
    sync::{Arc, LazyLock, PoisonError, RwLock},
};

use ignite_core::redact::Redactor;
use serde_json::Value;
use tracing_subscriber::fmt::MakeWriter;

tokio::task_local! {
    static HIDDEN: Arc<Hidden>;
}

/// What lines that a task logs must not show: known from some point on, and then added to.
type Hidden = RwLock<Option<Redactor>>;

/// From here on no line that `work` logs, from this task, shows what it says to [`hide`].
pub async fn of_one_build<T>(work: impl Future<Output = T>) -> T {
    HIDDEN.scope(Arc::new(Hidden::default()), work).await
}

/// Within [`of_one_build`]: what the redactor looks for, in place of what was said before. Does nothing outside.
pub fn hide(redactor: &Redactor) {
    let _outside = HIDDEN.try_with(|hidden| {
        let mut known = hidden.write().unwrap_or_else(PoisonError::into_inner);
        *known = Some(redactor.restarted());
    });
}

/// No line that `work` logs, from this task, shows what the redactor looks for.
pub async fn without<T>(redactor: &Redactor, work: impl Future<Output = T>) -> T {
    of_one_build(async {
        hide(redactor);
        work.await
    })
    .await
}

/// Writes redacted lines.
#[derive(Debug, Clone)]
pub(crate) struct Redacting<W> {
    inner: W,
    json: bool,
}

// === impl Redacting ===

impl<W> Redacting<W> {
    /// `json`: each line is an object, and stays one.
    pub(crate) fn new(inner: W, json: bool) -> Self {
        Self { inner, json }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for Redacting<W> {
    type Writer = Redacting<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        Redacting {
            inner: self.inner.make_writer(),
            json: self.json,
        }
    }
}

impl<W: Write> Write for Redacting<W> {
    /// Events come whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let shown = shown(&text, self.json);
        self.inner.write_all(shown.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

fn shown(line: &str, json: bool) -> String {
    with_redactor(|redactor| {
        if !json {
            return redactor.redact_text(line);
        }
        // Its strings as they are, without their escapes; and what is taken out never reaches over their quotes.
        match serde_json::from_str::<Value>(line) {
            Ok(object) => {
                let shown = strings_without(redactor, object.clone());
                match shown == object {
                    true => line.to_owned(),
                    false => format!("{shown}\n"),
                }
            }
            Err(_) => redactor.redact_text(line),
        }
    })
}

/// All strings of it.
fn strings_without(redactor: &Redactor, value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(redactor.redact_text(&text)),
        Value::Array(items) => items
            .into_iter()
            .map(|item| strings_without(redactor, item))
            .collect(),
        Value::Object(fields) => {
            let shown = |(name, value)| (name, strings_without(redactor, value));
            Value::Object(fields.into_iter().map(shown).collect())
        }
        other @ (Value::Null | Value::Bool(_) | Value::Number(_)) => other,
    }
}

fn with_redactor<T>(work: impl Fn(&Redactor) -> T) -> T {
    static TOKENS_ONLY: LazyLock<Redactor> = LazyLock::new(|| Redactor::new([]));
    let inside = HIDDEN.try_with(|hidden| {
        let known = hidden.read().unwrap_or_else(PoisonError::into_inner);
        // At the very beginning of a build's task nothing is known.
        known.as_ref().map_or_else(|| work(&TOKENS_ONLY), &work)
    });
    inside.unwrap_or_else(|_outside| work(&TOKENS_ONLY))
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tracing_subscriber::fmt;

    use super::*;

    const SECRET: &str = "correct-horse \"battery\" staple";

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What stands in the log after `work`.
    fn logged(json: bool, work: impl Future<Output = ()>) -> String {
        let lines = Lines::default();
        let kept = lines.clone();
        let writer = Redacting::new(move || kept.clone(), json);
        let subscriber = fmt().with_writer(writer).with_ansi(false);
        let log = || {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(work);
        };
        match json {
            true => tracing::subscriber::with_default(subscriber.json().flatten_event(true).finish(), log),
            false => tracing::subscriber::with_default(subscriber.finish(), log),
        }
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    #[test]
    fn a_task_of_a_build_logs_none_of_its_secrets_and_others_no_tokens() {
        for json in [false, true] {
            let token = format!("{}-{}", "glpat", "0123456789abcdefghij");
            let log = logged(json, async {
                tracing::info!(error = SECRET, "before");
                of_one_build(async {
                    tracing::info!(token, "unknown yet");
                    hide(&Redactor::new([SECRET]));
                    tracing::info!(error = %format!("it said: {SECRET}."), "known");
                    tracing::info!(output = ?SECRET, token, "quoted");
                })
                .await;
                hide(&Redactor::new(["after"]));
                tracing::info!(token, "after");
            });
            let lines: Vec<&str> = log.lines().collect();
            assert_eq!(lines.len(), 5, "{log}");
            let staple = |line: &&str| line.contains("staple");
            assert!(staple(&lines[0]) && !lines[1..].iter().any(staple), "{log}");
            assert!(!log.contains(&token), "{log}");
            assert!(lines[2].contains("it said: ***."), "{log}");
            if json {
                for line in lines {
                    let line: Value = serde_json::from_str(line).unwrap();
                    assert!(
                        line["timestamp"].is_string() && line["message"].is_string(),
                        "{line}"
                    );
                }
            }
        }
    }

    #[test]
    fn a_key_of_several_lines_is_gone_and_an_object_stays_one() {
        let line = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQDF7hx2Kp9sYw3L";
        let key = format!(
            "-----BEGIN {0}-----\n{line}\n{line}\n-----END {0}-----\n",
            "PRIVATE KEY"
        );
        for json in [false, true] {
            let log = logged(json, async { tracing::info!(error = %key, other = 1, "said") });
            assert!(!log.contains(line), "{log}");
            if json {
                let line: Value = serde_json::from_str(&log).unwrap();
                assert_eq!((&line["other"], &line["message"]), (&1.into(), &"said".into()));
            }
        }
    }
}
