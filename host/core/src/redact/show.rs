//! What stands in the place of what is hidden.

/// Each stretch of `hidden` between line ends becomes one `replacement`; the line ends, `\n` and `\r`, stay.
pub(super) fn replaced(hidden: &[u8], replacement: &str, out: &mut Vec<u8>) {
    for line in hidden.split_inclusive(|byte| matches!(byte, b'\n' | b'\r')) {
        let (text, end) = match line {
            [text @ .., end @ (b'\n' | b'\r')] => (text, Some(*end)),
            text => (text, None),
        };
        if !text.is_empty() {
            out.extend_from_slice(replacement.as_bytes());
        }
        out.extend(end);
    }
}
