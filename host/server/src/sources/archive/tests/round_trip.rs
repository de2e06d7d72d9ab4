//! Whatever the `tar` and `zip` crates write of an honest tree comes back as it was.

use std::{collections::BTreeMap, io::Cursor};

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Node {
    File { content: Vec<u8>, mode: u32 },
    Dir { mode: u32 },
    Symlink { target: String },
}

type Tree = BTreeMap<String, Node>;

/// Trees in which no file or link has anything below it.
fn trees() -> impl Strategy<Value = Tree> {
    let node = prop_oneof![
        (prop::collection::vec(any::<u8>(), 0..2000), 0_u32..0o10000)
            .prop_map(|(content, mode)| Node::File { content, mode }),
        // Such that a test without privileges can look into it.
        (0_u32..0o10000).prop_map(|mode| Node::Dir { mode: mode | 0o700 }),
        "(\\.\\./)?[a-z]{1,20}(/[a-z]{1,30}){0,6}".prop_map(|target| Node::Symlink { target }),
    ];
    let path = prop::collection::vec("[a-cż ]{1,3}|[xy]{90,110}", 1..4).prop_map(|parts| parts.join("/"));
    prop::collection::btree_map(path, node, 1..12).prop_map(|tree| {
        let mut kept = Tree::new();
        for (path, node) in tree {
            let below_other = kept.iter().any(|(above, node)| {
                path.starts_with(&format!("{above}/")) && !matches!(node, Node::Dir { .. })
            });
            if !below_other {
                kept.insert(path, node);
            }
        }
        kept
    })
}

fn expected(tree: &Tree) -> Vec<String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    for (path, node) in tree {
        for (at, _) in path.match_indices('/') {
            all.entry(path[..at].to_owned())
                .or_insert_with(|| "d755".to_owned());
        }
        let shown = match node {
            Node::File { content, mode } => format!("f{mode:o} {} bytes x1", content.len()),
            Node::Dir { mode } => format!("d{mode:o}"),
            Node::Symlink { target } => format!("-> {target}"),
        };
        all.insert(path.clone(), shown);
    }
    all.into_iter()
        .map(|(path, shown)| format!("{path} {shown}"))
        .collect()
}

fn tar_of(tree: &Tree) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (path, node) in tree {
        let mut header = Header::new_gnu();
        header.set_mtime(1_234_567);
        header.set_size(0);
        match node {
            Node::File { content, mode } => {
                header.set_mode(*mode);
                header.set_size(content.len() as u64);
                builder.append_data(&mut header, path, &content[..]).unwrap();
            }
            Node::Dir { mode } => {
                header.set_entry_type(EntryType::Directory);
                header.set_mode(*mode);
                builder.append_data(&mut header, path, &[][..]).unwrap();
            }
            Node::Symlink { target } => {
                header.set_entry_type(EntryType::Symlink);
                header.set_mode(0o777);
                builder.append_link(&mut header, path, target).unwrap();
            }
        }
    }
    builder.into_inner().unwrap()
}

fn zip_of(tree: &Tree) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    let options = zip::write::SimpleFileOptions::default();
    for (path, node) in tree {
        match node {
            Node::File { content, mode } => {
                let options = options.unix_permissions(*mode);
                writer.start_file(path.as_str(), options).unwrap();
                writer.write_all(content).unwrap();
            }
            Node::Dir { mode } => writer
                .add_directory(path.as_str(), options.unix_permissions(*mode))
                .unwrap(),
            Node::Symlink { target } => writer
                .add_symlink(path.as_str(), target.as_str(), options)
                .unwrap(),
        }
    }
    writer.finish().unwrap().into_inner()
}

/// The `zip` crate keeps the nine permission bits only.
fn with_plain_modes(tree: &Tree) -> Tree {
    let mut plain = tree.clone();
    for node in plain.values_mut() {
        match node {
            Node::File { mode, .. } | Node::Dir { mode } => *mode &= 0o777,
            Node::Symlink { .. } => {}
        }
    }
    plain
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    lines.sort();
    lines
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_tree_comes_back(tree in trees()) {
        let tar = tar_of(&tree);
        for archive in [gzip(&tar), zstd(&tar), tar] {
            prop_assert_eq!(sorted(unpacked(&archive).unwrap().0), sorted(expected(&tree)));
        }
        let plain = with_plain_modes(&tree);
        prop_assert_eq!(sorted(unpacked(&zip_of(&plain)).unwrap().0), sorted(expected(&plain)));
    }

    #[test]
    fn a_damaged_archive_is_refused_or_read_the_same_by_both_ends(
        tree in trees(),
        at in any::<prop::sample::Index>(),
        to in any::<u8>(),
        kind in 0..4_usize,
    ) {
        let tar = tar_of(&tree);
        let mut archive = match kind {
            0 => gzip(&tar),
            1 => zstd(&tar),
            2 => zip_of(&with_plain_modes(&tree)),
            _ => tar,
        };
        let at = at.index(archive.len());
        archive[at] = to;
        let file = on_disk(&archive);
        let dest = tempfile::tempdir().unwrap();
        let limits = ArchiveLimits::default();
        match (inspect(&file, &limits), unpack(&file, dest.path(), &limits)) {
            (Ok(inspected), Ok(unpacked)) => prop_assert_eq!(inspected, unpacked),
            (Err(inspected), Err(unpacked)) => {
                prop_assert_eq!(inspected.to_string(), unpacked.to_string());
                prop_assert!(tree_is_empty(dest.path()));
            }
            (inspected, unpacked) => prop_assert!(false, "{:?} but {:?}", inspected, unpacked),
        }
    }
}

fn tree_is_empty(dir: &Path) -> bool {
    tree(dir).is_empty()
}
