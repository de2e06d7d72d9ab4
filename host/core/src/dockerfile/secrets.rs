//! Where a Dockerfile uses secrets: what its steps mount, and which instructions write the value of a secret build arg into
//! the image.
//!
//! An ARG alone leaves no trace: Kaniko's history holds instructions as they are written, not as they are expanded. What is
//! expanded and kept is the image's configuration, and the paths that files are copied to.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Base, Dockerfile, Instruction, Stage,
    lex::{self, Lookup, Mode},
    lines, words,
};

/// Which secrets the steps of a Dockerfile mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretMounts {
    /// Perhaps any: a name depends on a variable, or on an instruction that is not read here.
    All,
    Named(BTreeSet<String>),
}

/// An instruction that writes a secret build arg's value into the image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretUse {
    /// Of the instruction, from 1.
    pub line: u32,
    /// Upper case.
    pub keyword: String,
    /// The secret build arg.
    pub arg: String,
}

/// Names of variables that hold, or are made from, a secret; and that secret's name.
type Tainted = BTreeMap<String, String>;

/// What Kaniko takes for an ARG that every stage has.
const PROXIES: [&str; 5] = ["HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY"];
/// Stands for a secret value; in no text.
const MARK: char = '\u{1}';
const EXPANDED_CHARS_MAX: usize = 1 << 20;

// === impl SecretMounts ===

impl SecretMounts {
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(names) => names.contains(name),
        }
    }
}

// === impl SecretUse ===

impl SecretUse {
    /// What becomes of the value, after "puts the secret".
    pub fn place(&self) -> &'static str {
        match self.keyword.as_str() {
            "COPY" | "ADD" => "into the name of a file of the image",
            _ => "into the image's configuration",
        }
    }
}

// === impl Dockerfile ===

impl Dockerfile {
    /// The secrets that steps mount. Base images can bring steps of their own (ONBUILD), which are not known here.
    pub fn secret_mounts(&self) -> SecretMounts {
        let mut names = BTreeSet::new();
        for instruction in self.stages.iter().flat_map(|stage| &stage.instructions) {
            match instruction.keyword.as_str() {
                "RUN" => {
                    for flag in &instruction.flags {
                        match flag.strip_prefix("--mount=").map(mounted) {
                            None | Some(Mounted::Nothing) => {}
                            Some(Mounted::Secret(name)) => {
                                names.insert(name);
                            }
                            Some(Mounted::Unknown) => return SecretMounts::All,
                        }
                    }
                }
                "ONBUILD" if instruction.arguments.to_ascii_lowercase().contains("secret") => {
                    return SecretMounts::All;
                }
                _ => {}
            }
        }
        SecretMounts::Named(names)
    }

    /// Instructions of the image's own stages that write the value of a secret build arg into it. `build_args` are the names of
    /// those that are given, and whether each is a secret. A step that writes a secret to a file is not seen.
    pub fn secret_uses(&self, build_args: &BTreeMap<String, bool>) -> Vec<SecretUse> {
        let Ok((_, escape)) = lines::read(&self.text) else {
            return Vec::new();
        };
        let mut follow = Follow {
            build_args,
            escape,
            uses: Vec::new(),
        };
        let mut globals = Tainted::new();
        for arg in &self.global_args {
            follow.arg(arg, &Tainted::new(), &mut globals);
        }
        let mut ends: Vec<(Tainted, Vec<SecretUse>)> = Vec::new();
        for stage in &self.stages {
            let (mut tainted, uses) = match &stage.base {
                Base::Stage(index) => usize::try_from(*index)
                    .ok()
                    .and_then(|index| ends.get(index).cloned())
                    .unwrap_or_default(),
                Base::Scratch | Base::Image(_) | Base::Unresolved(_) => (follow.proxies(), Vec::new()),
            };
            follow.uses = uses;
            follow.stage(stage, &globals, &mut tainted);
            ends.push((tainted, std::mem::take(&mut follow.uses)));
        }
        ends.pop().map(|(_, uses)| uses).unwrap_or_default()
    }
}

enum Mounted {
    Nothing,
    Secret(String),
    Unknown,
}

/// Reads the value of a `--mount`.
fn mounted(value: &str) -> Mounted {
    let fields: BTreeMap<String, &str> = value
        .split(',')
        .filter_map(|field| field.split_once('='))
        .map(|(key, value)| (key.to_ascii_lowercase(), value))
        .collect();
    if value.contains(['$', '"']) {
        return match fields.get("type") {
            Some(kind) if ["bind", "cache", "tmpfs", "ssh"].contains(kind) => Mounted::Nothing,
            Some(_) | None => Mounted::Unknown,
        };
    }
    if fields
        .get("type")
        .is_none_or(|kind| !kind.eq_ignore_ascii_case("secret"))
    {
        return Mounted::Nothing;
    }
    let target = ["target", "dst", "destination"]
        .iter()
        .find_map(|key| fields.get(*key));
    let of_target = || target.and_then(|path| path.trim_end_matches('/').rsplit('/').next());
    match fields.get("id").copied().or_else(of_target) {
        Some(name) => Mounted::Secret(name.to_owned()),
        None => Mounted::Unknown,
    }
}

/// Follows secrets through the instructions of a stage.
struct Follow<'a> {
    build_args: &'a BTreeMap<String, bool>,
    escape: char,
    uses: Vec<SecretUse>,
}

// === impl Follow ===

impl Follow<'_> {
    fn proxies(&self) -> Tainted {
        let is_proxy = |name: &str| PROXIES.iter().any(|proxy| name.eq_ignore_ascii_case(proxy));
        self.build_args
            .iter()
            .filter(|(name, is_secret)| **is_secret && is_proxy(name))
            .map(|(name, _)| (name.clone(), name.clone()))
            .collect()
    }

    fn stage(&mut self, stage: &Stage, globals: &Tainted, tainted: &mut Tainted) {
        for instruction in &stage.instructions {
            match instruction.keyword.as_str() {
                "ARG" => self.arg(instruction, globals, tainted),
                "ENV" => self.env(instruction, tainted),
                "LABEL" | "EXPOSE" | "USER" | "WORKDIR" | "VOLUME" | "STOPSIGNAL" => {
                    if let Some(arg) = uses(&instruction.arguments, tainted) {
                        self.note(instruction, arg);
                    }
                }
                "COPY" | "ADD" => {
                    let destination = instruction.arguments.split_whitespace().next_back();
                    if let Some(arg) = destination.and_then(|path| uses(path, tainted)) {
                        self.note(instruction, arg);
                    }
                }
                _ => {}
            }
        }
    }

    fn arg(&self, instruction: &Instruction, globals: &Tainted, tainted: &mut Tainted) {
        for word in words::quoted_words(&instruction.arguments, self.escape) {
            let (name, default) = match word.split_once('=') {
                Some((name, default)) => (name.to_owned(), Some(default)),
                None => (word.clone(), None),
            };
            let secret = match (self.build_args.get(&name), default) {
                (Some(true), _) => Some(name.clone()),
                (Some(false), _) => None,
                (None, Some(default)) => uses(default, tainted),
                (None, None) => globals.get(&name).cloned(),
            };
            set(tainted, name, secret);
        }
    }

    /// `ENV name=value …` or `ENV name value`
    fn env(&mut self, instruction: &Instruction, tainted: &mut Tainted) {
        let words = words::quoted_words(&instruction.arguments, self.escape);
        let pairs: Vec<(String, String)> = match words.first().map(|word| word.split_once('=')) {
            Some(Some(_)) => words
                .iter()
                .filter_map(|word| word.split_once('='))
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            Some(None) => instruction
                .arguments
                .split_once(char::is_whitespace)
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into_iter()
                .collect(),
            None => Vec::new(),
        };
        // All of one instruction are expanded before any of them is set.
        let found: Vec<_> = pairs
            .into_iter()
            .map(|(name, value)| (name, uses(&value, tainted)))
            .collect();
        for (name, secret) in found {
            if let Some(arg) = &secret {
                self.note(instruction, arg.clone());
            }
            set(tainted, name, secret);
        }
    }

    fn note(&mut self, instruction: &Instruction, arg: String) {
        let found = SecretUse {
            line: instruction.line,
            keyword: instruction.keyword.clone(),
            arg,
        };
        if !self.uses.contains(&found) {
            self.uses.push(found);
        }
    }
}

fn set(tainted: &mut Tainted, name: String, secret: Option<String>) {
    match secret {
        Some(secret) => tainted.insert(name, secret),
        None => tainted.remove(&name),
    };
}

/// The secret that `text`, expanded, would hold. Other variables may be set or not, so both are tried.
fn uses(text: &str, tainted: &Tainted) -> Option<String> {
    if !text.contains('$') {
        return None;
    }
    let marks: Vec<(&String, String)> = tainted
        .iter()
        .enumerate()
        .map(|(index, (name, _))| (name, format!("{MARK}{index}{MARK}")))
        .collect();
    ["", "x"].iter().find_map(|others| {
        let lookup = |name: &str| {
            let mark = marks.iter().find(|(marked, _)| *marked == name);
            Lookup::Value(mark.map_or_else(|| (*others).to_owned(), |(_, mark)| mark.clone()))
        };
        let mut budget = EXPANDED_CHARS_MAX;
        let found = match lex::process(text, Mode::default(), &lookup, &mut budget) {
            Ok((value, _)) => marks.iter().find(|(_, mark)| value.contains(mark.as_str())),
            // A substitution that is not done here: what it names counts.
            Err(_) => marks.iter().find(|(name, _)| names(text, name)),
        };
        found.and_then(|(name, _)| tainted.get(*name).cloned())
    })
}

/// Whether `$name` or `${name…` stands in the text.
fn names(text: &str, name: &str) -> bool {
    let is_inner = |c: char| c.is_alphanumeric() || c == '_';
    text.split('$').skip(1).any(|rest| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.strip_prefix(name)
            .is_some_and(|behind| !behind.starts_with(is_inner))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;

    fn parsed(text: &str) -> Dockerfile {
        parse(text, &BTreeMap::new()).unwrap()
    }

    fn mounts(text: &str) -> SecretMounts {
        parsed(&format!("FROM scratch\n{text}\n")).secret_mounts()
    }

    fn named(names: &[&str]) -> SecretMounts {
        SecretMounts::Named(names.iter().map(|name| (*name).to_owned()).collect())
    }

    /// `line KEYWORD arg` of each, where TOKEN is a secret and PLAIN is not.
    fn found(text: &str) -> Vec<String> {
        let args = [("TOKEN", true), ("PLAIN", false), ("https_proxy", true)];
        let args = args.map(|(name, secret)| (name.to_owned(), secret)).into();
        let uses = parsed(text).secret_uses(&args);
        uses.iter()
            .map(|found| format!("{} {} {}", found.line, found.keyword, found.arg))
            .collect()
    }

    #[test]
    fn steps_name_the_secrets_they_mount() {
        assert_eq!(mounts("RUN make"), named(&[]));
        assert_eq!(
            mounts(
                "RUN --mount=type=secret,id=a --mount=required,type=Secret,target=/etc/b.conf make\n\
                 RUN --mount=type=cache,id=c,target=/x --mount=type=secret,ID=d,env=D <<EOF\nEOF"
            ),
            named(&["a", "b.conf", "d"])
        );
        assert_eq!(mounts("RUN --mount=type=secret,id=$NAME make"), SecretMounts::All);
        assert_eq!(mounts("RUN --mount=type=$KIND,id=a make"), SecretMounts::All);
        assert_eq!(mounts("RUN --mount=type=cache,target=/$X make"), named(&[]));
        assert_eq!(mounts("RUN --mount=type=secret make"), SecretMounts::All);
        assert_eq!(
            mounts("ONBUILD RUN --mount=type=secret,id=a make"),
            SecretMounts::All
        );
    }

    #[test]
    fn what_is_expanded_into_the_configuration_is_found() {
        assert_eq!(
            found(
                "FROM scratch\nARG TOKEN\nARG PLAIN\nRUN use $TOKEN\nENV A=$PLAIN B=\"x ${TOKEN}\"\n\
                 LABEL by=$TOKEN\nENV C '$TOKEN'\nWORKDIR /${TOKEN:-none}\nCOPY file /$TOKEN/\nCOPY $TOKEN /file\n\
                 CMD [\"$TOKEN\"]\nENV D ${TOKEN:+set}\nENV E ${TOKEN#pre}\nUSER $TOKENS\nLABEL b=$B"
            ),
            [
                "5 ENV TOKEN",
                "6 LABEL TOKEN",
                "8 WORKDIR TOKEN",
                "9 COPY TOKEN",
                "13 ENV TOKEN",
                "15 LABEL TOKEN"
            ]
        );
    }

    #[test]
    fn an_arg_is_a_secret_where_it_is_declared_and_what_is_made_from_it_is_one_too() {
        assert!(found("FROM scratch\nENV A=$TOKEN\n").is_empty());
        assert!(found("ARG TOKEN\nFROM scratch\nENV A=$TOKEN\n").is_empty());
        assert_eq!(
            found("FROM scratch\nARG TOKEN\nARG URL=https://$TOKEN@host\nENV A=$URL\n"),
            ["4 ENV TOKEN"]
        );
        assert_eq!(
            found("ARG TOKEN\nARG URL=https://$TOKEN@host\nFROM scratch\nARG URL\nENV A=$URL\n"),
            ["5 ENV TOKEN"]
        );
        // Given, so its default counts for nothing.
        assert!(found("FROM scratch\nARG TOKEN\nARG PLAIN=$TOKEN\nENV A=$PLAIN\n").is_empty());
        assert!(found("FROM scratch\nARG TOKEN\nENV TOKEN=other\nLABEL a=$TOKEN\n").is_empty());
        assert_eq!(found("FROM scratch\nENV A=$https_proxy\n"), ["2 ENV https_proxy"]);
    }

    #[test]
    fn only_the_stages_that_make_the_image_count() {
        let builder = "FROM scratch AS builder\nARG TOKEN\nENV A=$TOKEN\n";
        assert!(found(&format!("{builder}FROM scratch\nCOPY --from=builder /a /a\n")).is_empty());
        assert!(found(&format!("{builder}FROM scratch\nENV B=$TOKEN\n")).is_empty());
        assert_eq!(
            found(&format!("{builder}FROM builder\nENV B=$TOKEN\nENV C=$A\n")),
            ["3 ENV TOKEN", "5 ENV TOKEN", "6 ENV TOKEN"]
        );
    }
}
