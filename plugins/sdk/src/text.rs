//! Small things that many plugins need of texts.

/// Whether a pattern fits the whole text: `*` stands for any characters, `?` for one. In time proportional to the product of
/// the lengths, whatever the pattern.
pub fn glob(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut p, mut t) = (0, 0);
    // The last star, and where the text that it stands for ends so far.
    let mut star: Option<(usize, usize)> = None;
    while let Some(wanted) = text.get(t) {
        match (pattern.get(p), star) {
            (Some('*'), _) => {
                star = Some((p, t));
                p += 1;
            }
            (Some(c), _) if *c == '?' || c == wanted => {
                p += 1;
                t += 1;
            }
            (_, Some((at, end))) => {
                star = Some((at, end + 1));
                p = at + 1;
                t = end + 1;
            }
            (_, None) => return false,
        }
    }
    pattern
        .get(p..)
        .is_some_and(|rest| rest.iter().all(|c| *c == '*'))
}

#[cfg(test)]
mod tests {
    use super::glob;

    #[test]
    fn a_pattern_fits_the_whole_text_or_not_at_all() {
        for (pattern, text) in [
            ("v*", "v"),
            ("*.*-rc?", "1.2-rc1"),
            ("*a*b", "xaybab"),
            ("ä?", "äö"),
            ("", ""),
            ("**", "x"),
        ] {
            assert!(glob(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("v*", "dev"),
            ("v?", "v"),
            ("latest", "latest1"),
            ("*a*b", "xayba"),
            ("", "x"),
        ] {
            assert!(!glob(pattern, text), "{pattern} {text}");
        }
    }
}
