use super::*;

#[track_caller]
fn folds(text: &str, expected: &str) {
    let folded_text = folded(text.as_bytes());
    assert_eq!(String::from_utf8_lossy(&folded_text), expected);
    // Byte by byte, nothing else comes of it.
    let mut fold = Fold::default();
    for end in 0..=text.len() {
        fold.advance(&text.as_bytes()[..end], false);
    }
    fold.advance(text.as_bytes(), true);
    let mut at_once = Fold::default();
    at_once.advance(text.as_bytes(), true);
    assert_eq!(fold.gaps, at_once.gaps);
}

#[test]
fn line_ends_indentation_and_colours_are_dropped_and_nothing_else() {
    folds("a b\tc", "a b\tc");
    folds("a\nb\r\nc\rd\n\ne", "abcde");
    folds("a \n\t  b  c", "a b  c");
    folds("  a", "  a");
    folds("\x1b[31ma\x1b[0;1mb\x1b[Kc\x1b[?25ld", "abcd");
    folds("a\n\x1b[1m  \x1b[0m b", "ab");
    folds("\x1b", "\x1b");
    folds("\x1b[31", "\x1b[31");
    folds("\x1b(Ba", "\x1b(Ba");
    folds("\x1b[3\x1b[0mb", "\x1b[3b");
    folds("\x1b[3\nb", "\x1b[3b");
    folds(&format!("\x1b[{}mb", "1".repeat(32)), "b");
    let long = format!("\x1b[{}mb", "1".repeat(33));
    folds(&long, &long);
}

#[test]
fn control_characters_are_seen_wherever_they_stand() {
    for byte in 0..=u8::MAX {
        for at in 0..20 {
            let mut text = vec![0xff; 20];
            text[at] = byte;
            assert_eq!(
                text_length(&text),
                if byte < 0x20 { at } else { 20 },
                "{byte} at {at}"
            );
            text[19] = b'\n';
            text[18] = b' ';
            assert_eq!(
                text_length(&text),
                if byte < 0x20 && at < 18 { at } else { 19 },
                "{byte} at {at}"
            );
        }
    }
}

#[test]
fn positions_are_found_again_behind_gaps() {
    let mut fold = Fold::default();
    fold.advance(b"ab\n  cd\x1b[0me", true);
    assert_eq!(fold.gaps, [Gap { start: 2, end: 5 }, Gap { start: 7, end: 11 }]);
    let found: Vec<usize> = (0..7).map(|count| back(&fold.gaps, 12, count)).collect();
    assert_eq!(found, [12, 11, 6, 5, 1, 0, 0]);
    fold.rebase(6);
    assert_eq!(fold.gaps, [Gap { start: 1, end: 5 }]);
    assert_eq!(fold.to, 6);
}
