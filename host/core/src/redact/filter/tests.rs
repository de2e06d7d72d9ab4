use proptest::prelude::*;

use super::*;
use crate::redact::fold::Fold;

/// Where needles begin in the folded text, and in the text itself, said plainly.
fn begins(needles: &[(Vec<u8>, Group)], bytes: &[u8], fold: &Fold) -> Vec<Candidate> {
    let in_gap = |at: usize| fold.gaps.iter().any(|gap| (gap.start..gap.end).contains(&at));
    let kept: Vec<usize> = (0..bytes.len()).filter(|at| !in_gap(*at)).collect();
    let folded: Vec<u8> = kept.iter().map(|at| bytes[*at]).collect();
    let mut found = Vec::new();
    for (needle, group) in needles {
        match group {
            Group::Folded => {
                let at = (0..folded.len()).filter(|at| folded[*at..].starts_with(needle));
                found.extend(at.map(|at| Candidate {
                    at: kept[at],
                    group: *group,
                }));
            }
            Group::Raw => {
                let at = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(needle));
                found.extend(at.map(|at| Candidate { at, group: *group }));
            }
        }
    }
    found
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn no_place_is_missed_where_a_needle_begins(
        folded in prop::collection::vec("[ab]{4,14}|[abc]{20,50}|[a-z]{6,16}", 0..3),
        raw in prop::collection::vec("[ab\n]{4,14}", 0..3),
        pieces in prop::collection::vec((any::<prop::sample::Index>(), "[abc]{0,5}|\n|\n  |\x1b\\[1m|[ab]\n[ab]\n[ab]\n"), 0..12),
        from in 0..5_usize,
    ) {
        let folded = folded.into_iter().map(|needle| (needle.into_bytes(), Group::Folded));
        let raw = raw.into_iter().map(|needle| (needle.into_bytes(), Group::Raw));
        let needles: Vec<(Vec<u8>, Group)> = folded.chain(raw).collect();
        prop_assume!(!needles.is_empty());
        let mut bytes = Vec::new();
        for (which, gap) in pieces {
            let needle = &which.get(needles.as_slice()).0;
            let cut = which.index(needle.len());
            bytes.extend_from_slice(&needle[..cut]);
            bytes.extend_from_slice(gap.as_bytes());
            bytes.extend_from_slice(&needle[cut..]);
        }
        let mut fold = Fold::default();
        fold.advance(&bytes, true);
        let from = from.min(bytes.len());

        let given: Vec<(&[u8], Group)> = needles.iter().map(|(needle, group)| (needle.as_slice(), *group)).collect();
        let mut found = Vec::new();
        Filter::new(&given).unwrap().search(&bytes, from, &fold.gaps, &mut found);
        for wanted in begins(&needles, &bytes, &fold).into_iter().filter(|one| one.at >= from) {
            prop_assert!(found.contains(&wanted), "{wanted:?} of {found:?} in {:?}", bytes.escape_ascii().to_string());
        }
    }
}

#[test]
fn needles_that_are_too_short_have_no_filter() {
    assert!(Filter::new(&[(b"abc", Group::Folded)]).is_none());
    assert!(Filter::new(&[]).is_none());
}

#[test]
fn windows_are_where_needles_are_rarest() {
    assert!((8..=10).contains(&rarest(b"https://X7#kQ!9Z@example.com/", 7)));
    assert_eq!(rarest(b"short", 5), 0);
}
