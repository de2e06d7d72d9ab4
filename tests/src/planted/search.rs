//! Looks for planted secrets, in every form at once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use aho_corasick::AhoCorasick;

use super::{forms, values};

/// Searches for all forms of some secrets.
#[derive(Debug)]
pub struct Search {
    as_printed: AhoCorasick,
    folded: AhoCorasick,
    names: Vec<String>,
}

/// Where something was found, and which forms.
pub type Findings = BTreeMap<String, BTreeSet<String>>;

// === impl Search ===

impl Search {
    /// For all planted secrets.
    pub fn new() -> Self {
        Self::of(values::all().iter().map(|(kind, value)| (*kind, value.as_str())))
    }

    /// For these secrets: what each is called, and its value.
    pub fn of<'a>(secrets: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let mut names = Vec::new();
        let mut needles = Vec::new();
        for (kind, value) in secrets {
            for form in forms::of(value) {
                for telling in form.telling {
                    names.push(format!("{kind}: {}", form.name));
                    needles.push(telling);
                }
            }
        }
        let folded = needles
            .iter()
            .map(|needle| forms::folded(needle).trim_ascii().to_vec());
        Self {
            folded: AhoCorasick::new(folded).unwrap(),
            as_printed: AhoCorasick::new(&needles).unwrap(),
            names,
        }
    }

    /// The forms that stand in these bytes, wrapped and coloured in whatever way.
    pub fn find(&self, bytes: &[u8]) -> BTreeSet<String> {
        let mut found = self.find_as_printed(bytes);
        let folded = forms::folded(bytes);
        found.extend(self.named(&self.folded, &folded));
        found
    }

    /// The forms that stand in these bytes as they were printed: for files that are no text.
    pub fn find_as_printed(&self, bytes: &[u8]) -> BTreeSet<String> {
        self.named(&self.as_printed, bytes).collect()
    }

    /// Reads every file below a folder, names included; leaves out those that `is_known` says may hold secrets.
    /// Nothing is compressed there but what was uploaded so.
    pub fn files(&self, folder: &Path, is_known: impl Fn(&Path) -> bool) -> Findings {
        let mut findings = Findings::new();
        let mut pending = vec![folder.to_owned()];
        while let Some(folder) = pending.pop() {
            // What goes away meanwhile is not there any more.
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path: PathBuf = entry.path();
                let mut found = self.find_as_printed(path.as_os_str().as_encoded_bytes());
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    pending.push(path.clone());
                } else if !is_known(&path) {
                    found.extend(self.find_as_printed(&fs::read(&path).unwrap_or_default()));
                }
                if !found.is_empty() {
                    findings.insert(path.display().to_string(), found);
                }
            }
        }
        findings
    }

    fn named<'a>(&'a self, automaton: &'a AhoCorasick, bytes: &'a [u8]) -> impl Iterator<Item = String> + 'a {
        let matches = automaton.find_overlapping_iter(bytes);
        matches.map(|found| self.names[found.pattern().as_usize()].clone())
    }
}

impl Default for Search {
    fn default() -> Self {
        Self::new()
    }
}
