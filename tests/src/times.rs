//! How long something took, time and again.

use std::{fmt, time::Duration};

/// In milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Times {
    pub median_ms: f64,
    least_ms: f64,
    most_ms: f64,
}

// === impl Times ===

impl Times {
    pub fn of(times: &[Duration]) -> Self {
        let mut ms: Vec<f64> = times.iter().map(|time| time.as_secs_f64() * 1000.0).collect();
        ms.sort_by(f64::total_cmp);
        let middle = ms.len() / 2;
        let median_ms = if ms.len().is_multiple_of(2) {
            f64::midpoint(ms[middle - 1], ms[middle])
        } else {
            ms[middle]
        };
        Self {
            median_ms,
            least_ms: ms[0],
            most_ms: ms[ms.len() - 1],
        }
    }
}

impl fmt::Display for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:.0} ms ({:.0} to {:.0})",
            self.median_ms, self.least_ms, self.most_ms
        )
    }
}
