use super::*;

fn text<'a>(files: &'a [File], path: &str) -> &'a str {
    let found = files.iter().find(|file| file.path == path);
    &found.unwrap_or_else(|| panic!("no {path}")).text
}

#[test]
fn a_project_has_the_parts_of_its_hooks_and_no_others() {
    for language in [Language::Rust, Language::Javascript, Language::Python] {
        for hook in Hook::ALL {
            let files = project("my-plugin", language, &BTreeSet::from([hook]));
            for File { path, text } in &files {
                assert!(!text.contains("{{") && !text.contains("//@"), "{path}: {text}");
            }
            let cases: Vec<_> = files
                .iter()
                .filter(|file| file.path.starts_with("tests/"))
                .collect();
            assert!(!cases.is_empty());
            for case in cases {
                assert!(case.text.contains(&format!("hook = \"{hook}\"")), "{}", case.path);
            }
            let calls_out =
                |file: &File| ["src/http.rs", "src/http.js", "http_post.py"].contains(&file.path.as_str());
            assert_eq!(files.iter().any(calls_out), hook == Hook::Notify);
        }
    }
}

#[test]
fn a_project_brings_the_whole_contract() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let files = project("my-plugin", Language::Rust, &BTreeSet::from(Hook::ALL));
    for entry in walkdir::WalkDir::new(&folder) {
        let entry = entry.unwrap();
        if entry.file_type().is_file() {
            let path = Path::new("wit").join(entry.path().strip_prefix(&folder).unwrap());
            let expected = fs::read_to_string(entry.path()).unwrap();
            assert_eq!(text(&files, path.to_str().unwrap()), expected);
        }
    }
    let world = text(&files, "wit/plugin.wit");
    assert_eq!(world.matches("include ").count(), Hook::ALL.len(), "{world}");
}

/// Of what is not pinned the newest is taken: the same source would be another component, or none.
#[test]
fn a_project_in_javascript_is_built_with_what_the_samples_are_built_with() {
    let files = project(
        "my-plugin",
        Language::Javascript,
        &BTreeSet::from([Hook::Validate]),
    );
    let ours: serde_json::Value = serde_json::from_str(text(&files, "package.json")).unwrap();
    let tools = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/js-tools/package.json");
    let tools: serde_json::Value = serde_json::from_str(&fs::read_to_string(tools).unwrap()).unwrap();
    assert!(tools["overrides"].is_object(), "{tools}");
    assert_eq!(ours["devDependencies"], tools["dependencies"]);
    assert_eq!(ours["overrides"], tools["overrides"]);
}
