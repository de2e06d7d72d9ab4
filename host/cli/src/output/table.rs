//! Columns as wide as they need to be, two spaces apart, without lines: easy on eyes and on `awk`.

use console::{Alignment, StyledObject, measure_text_width, pad_str};

/// Rows under a header. Cells may be coloured: widths are of what is seen.
pub(crate) fn columns<const N: usize>(header: [&str; N], rows: &[[String; N]]) -> String {
    let mut widths = header.map(measure_text_width);
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(measure_text_width(cell));
        }
    }
    let mut text = String::new();
    write_row(&mut text, &widths, header);
    for row in rows {
        write_row(&mut text, &widths, row.each_ref().map(String::as_str));
    }
    text
}

fn write_row<const N: usize>(text: &mut String, widths: &[usize; N], cells: [&str; N]) {
    let mut row = String::new();
    for (cell, width) in cells.iter().zip(widths) {
        row.push_str(&pad_str(cell, *width, Alignment::Left, None));
        row.push_str("  ");
    }
    text.push_str(row.trim_end());
    text.push('\n');
}

/// Names and values, one pair a line; a value of several lines is indented. Pairs without a value are left out.
pub(crate) fn record(pairs: &[(&str, String)]) -> String {
    let shown = || pairs.iter().filter(|(_, value)| !value.is_empty());
    let width = shown()
        .map(|(name, _)| measure_text_width(name))
        .max()
        .unwrap_or(0)
        + 2;
    let indent = format!("\n{}", " ".repeat(width));
    let mut text = String::new();
    for (name, value) in shown() {
        text.push_str(&pad_str(name, width, Alignment::Left, None));
        text.push_str(&value.trim_end().replace('\n', &indent));
        text.push('\n');
    }
    text
}

/// Which of the two streams a text is for: each has its own say on colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stream {
    Stdout,
    Stderr,
}

// === impl Stream ===

impl Stream {
    /// Coloured only where this stream is a terminal and NO_COLOR is not set.
    pub(crate) fn style<D>(self, text: D) -> StyledObject<D> {
        match self {
            Self::Stdout => console::style(text),
            Self::Stderr => console::style(text).for_stderr(),
        }
    }
}
