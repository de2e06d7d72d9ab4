//! Small pieces of text: what the server sent made safe, sizes, times.

use std::time::Duration;

pub(crate) use ignite_core::text::{is_unsafe, line, lines};

/// `512 B`, `34.1 MiB`.
#[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
pub(crate) fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64;
    let mut shown = "";
    for unit in UNITS {
        value /= 1024.0;
        shown = unit;
        if value < 1023.95 {
            break;
        }
    }
    format!("{value:.1} {shown}")
}

/// How long something took: `0.4s`, `42.1s`, `3m07s`, `2h05m`.
pub(crate) fn took(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{:.1}s", duration.as_secs_f64().min(59.9)),
        60..3600 => format!("{}m{:02}s", secs / 60, secs % 60),
        _ => format!("{}h{:02}m", secs / 3600, secs / 60 % 60),
    }
}

/// How long ago something was, in its largest unit: `12s`, `3m`, `5h`, `9d`.
pub(crate) fn age(duration: Duration) -> String {
    let secs = duration.as_secs();
    match secs {
        0..60 => format!("{secs}s"),
        60..3600 => format!("{}m", secs / 60),
        3600..86_400 => format!("{}h", secs / 3600),
        _ => format!("{}d", secs / 86_400),
    }
}

/// Between two times in ms since the epoch; nothing if either has not been yet.
pub(crate) fn between(from_ms: i64, to_ms: i64) -> Option<Duration> {
    if from_ms <= 0 || to_ms <= 0 {
        return None;
    }
    Some(Duration::from_millis(
        u64::try_from(to_ms.saturating_sub(from_ms)).unwrap_or(0),
    ))
}

/// `2026-05-28T08:00:00Z`; nothing if it has not been yet.
pub(crate) fn timestamp(at_ms: i64) -> Option<String> {
    const YEAR_9999_MS: u64 = 253_402_300_799_000;
    let at_ms = u64::try_from(at_ms)
        .ok()
        .filter(|ms| (1..YEAR_9999_MS).contains(ms))?;
    let at = std::time::UNIX_EPOCH + Duration::from_millis(at_ms);
    Some(humantime::format_rfc3339_seconds(at).to_string())
}

/// Now, in ms since the epoch.
pub(crate) fn now_ms() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_millis()).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_times_are_short() {
        for (count, shown) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (35_755_000, "34.1 MiB"),
            (u64::MAX, "16384.0 PiB"),
        ] {
            assert_eq!(bytes(count), shown);
        }
        for (ms, shown) in [
            (0, "0.0s"),
            (59_990, "59.9s"),
            (60_000, "1m00s"),
            (7_500_000, "2h05m"),
        ] {
            assert_eq!(took(Duration::from_millis(ms)), shown);
        }
        assert_eq!(
            timestamp(1_748_390_400_000).as_deref(),
            Some("2025-05-28T00:00:00Z")
        );
        assert_eq!(timestamp(0), None);
        assert_eq!(timestamp(i64::MAX), None);
    }
}
