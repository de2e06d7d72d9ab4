//! Each trick with tar, refused by both ends with the entry's name.

use super::*;

#[test]
fn a_name_with_parent_parts_is_refused() {
    assert_refused(
        &Tar::new().file("a/../../evil", b"x").end(),
        "a/../../evil",
        "\"..\"",
    );
    assert_refused(&Tar::new().file("ok", b"x").dir("..").end(), "..", "\"..\"");
}

#[test]
fn an_absolute_name_is_refused() {
    assert_refused(
        &Tar::new().file("/etc/passwd", b"x").end(),
        "/etc/passwd",
        "absolute",
    );
    assert_refused(
        &Tar::new().pax(&[("path", b"/etc/passwd")]).file("ok", b"x").end(),
        "/etc/passwd",
        "absolute",
    );
}

#[test]
fn a_name_with_nul_is_refused() {
    let archive = Tar::new().pax(&[("path", b"a\0b")]).file("ok", b"x").end();
    assert_refused(&archive, "a\0b", "NUL");
    let archive = Tar::new()
        .raw(EntryType::GNULongName, b"././@LongLink", b"", b"a\0b\0")
        .file("ok", b"x")
        .end();
    assert_refused(&archive, "a\0b", "NUL");
}

#[test]
fn a_name_that_is_not_utf8_is_refused() {
    let archive = Tar::new().raw(EntryType::Regular, b"caf\xe9", b"", b"x").end();
    assert_refused(&archive, "caf\u{fffd}", "not UTF-8");
}

#[test]
fn nothing_is_written_through_a_symlink() {
    let archive = Tar::new().symlink("link", "/tmp").file("link/evil", b"x").end();
    assert_refused(&archive, "link/evil", "through \"link\"");
    let archive = Tar::new()
        .dir("d")
        .symlink("d/l", "..")
        .file("d/./l//x/y", b"x")
        .end();
    assert_refused(&archive, "d/./l//x/y", "through \"d/l\"");
    let archive = Tar::new().symlink("link", "/tmp").file("link", b"x").end();
    assert_refused(&archive, "link", "second time");
    let archive = Tar::new().symlink("link", "/tmp").dir("link").end();
    assert_refused(&archive, "link", "second time");
}

#[test]
fn a_symlink_does_not_replace_a_directory() {
    let archive = Tar::new().dir("d").file("d/a", b"x").symlink("d", "/tmp").end();
    assert_refused(&archive, "d", "second time");
    let archive = Tar::new().file("d/a", b"x").symlink("d", "/tmp").end();
    assert_refused(&archive, "d", "second time");
}

#[test]
fn nothing_lies_below_a_file() {
    assert_refused(
        &Tar::new().file("f", b"x").file("f/g", b"x").end(),
        "f/g",
        "below \"f\"",
    );
}

#[test]
fn a_hard_link_reaches_only_earlier_files() {
    let out = "which is not an earlier regular file";
    assert_refused(
        &Tar::new().hard_link("l", "later").file("later", b"x").end(),
        "l",
        out,
    );
    assert_refused(&Tar::new().hard_link("l", "l").end(), "l", out);
    assert_refused(&Tar::new().dir("d").hard_link("l", "d").end(), "l", out);
    assert_refused(
        &Tar::new().symlink("s", "/etc/passwd").hard_link("l", "s").end(),
        "l",
        out,
    );
    assert_refused(&Tar::new().hard_link("l", "/etc/passwd").end(), "l", "absolute");
    assert_refused(&Tar::new().hard_link("l", "../x").end(), "l", "\"..\"");
    assert_refused(
        &Tar::new().symlink("d", "/etc").hard_link("l", "d/passwd").end(),
        "l",
        out,
    );
}

#[test]
fn sparse_files_are_refused() {
    assert_refused(
        &Tar::new().raw(EntryType::GNUSparse, b"s", b"", b"x").end(),
        "s",
        "sparse",
    );
    for key in [
        "GNU.sparse.major",
        "GNU.sparse.map",
        "GNU.sparse.name",
        "SCHILY.realsize",
    ] {
        let archive = Tar::new().pax(&[(key, b"1")]).file("s", b"x").end();
        assert_refused(&archive, "PaxHeaders/x", "sparse");
    }
}

#[test]
fn devices_and_pipes_are_refused() {
    for kind in [EntryType::Char, EntryType::Block, EntryType::Fifo] {
        assert_refused(
            &Tar::new().raw(kind, b"dev", b"", b"").end(),
            "dev",
            "may not contain",
        );
    }
    assert_refused(
        &Tar::new().raw(EntryType::new(b'V'), b"v", b"", b"").end(),
        "v",
        "'V'",
    );
}

#[test]
fn a_name_appears_once() {
    assert_refused(
        &Tar::new().file("a", b"x").file("./a", b"y").end(),
        "./a",
        "second time",
    );
    assert_refused(&Tar::new().dir("a").file("a", b"y").end(), "a", "second time");
    assert_refused(
        &Tar::new().file("b", b"").file("a", b"").hard_link("a", "b").end(),
        "a",
        "second time",
    );
    let twice = Tar::new().dir("a").dir("./a/").file("a/b", b"").dir("a").end();
    assert_eq!(unpacked(&twice).unwrap().0, ["a d755", "a/b f644 0 bytes x1"]);
}

#[test]
fn sizes_that_disagree_are_refused() {
    // CVE-2025-62518: a reader that believes the header's 0 takes the hidden archive in the content for entries.
    let hidden = Tar::new().file("evil", b"x").end();
    let size = hidden.len().to_string();
    let archive = Tar::new()
        .pax(&[("size", size.as_bytes())])
        .with(EntryType::Regular, b"outer", b"", &hidden, |header| {
            header.set_size(0);
        })
        .end();
    assert_refused(&archive, "outer", "size is 0 bytes in one header");
    let archive = Tar::new().pax(&[("size", b"1")]).file("outer", b"xx").end();
    assert_refused(&archive, "outer", "2 bytes in one header and 1 in another");
    let same = Tar::new().pax(&[("size", b"2")]).file("outer", b"xx").end();
    assert_eq!(unpacked(&same).unwrap().0, ["outer f644 2 bytes x1"]);
}

#[test]
fn links_and_directories_have_no_content() {
    for kind in [EntryType::Directory, EntryType::Symlink, EntryType::Link] {
        let archive = Tar::new().file("t", b"").raw(kind, b"l", b"t", &[1; 512]).end();
        assert_refused(&archive, "l", "has content");
    }
    assert_refused(&Tar::new().file("d/", b"content").end(), "d/", "slash");
}

#[test]
fn negative_and_huge_sizes_are_refused() {
    let sized = |size: [u8; 12]| {
        let set = |header: &mut Header| header.as_old_mut().size = size;
        Tar::new().with(EntryType::Regular, b"f", b"", b"", set).end()
    };
    assert_refused(&sized([0xff; 12]), "f", "negative or too large");
    assert_refused(
        &sized([0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]),
        "f",
        "negative or too large",
    );
    assert_refused(
        &sized([0x80, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
        "f",
        "more than",
    );
    assert_refused(&sized(*b"not a number"), "f", "no number");
    // Some writers leave the field of an empty entry blank.
    unpacked(&sized([0; 12])).unwrap();
}

#[test]
fn extension_headers_say_things_once_and_briefly() {
    let twice = Tar::new()
        .pax(&[("path", b"a"), ("path", b"b")])
        .file("c", b"")
        .end();
    assert_refused(&twice, "PaxHeaders/x", "appears twice");
    let both = Tar::new()
        .raw(EntryType::GNULongName, b"././@LongLink", b"", b"a\0")
        .pax(&[("path", b"b")])
        .file("c", b"")
        .end();
    assert_refused(&both, "b", "twice, differently");
    let row = Tar::new()
        .pax(&[("comment", b"")])
        .pax(&[("comment", b"")])
        .file("c", b"")
        .end();
    assert_refused(&row, "PaxHeaders/x", "two in a row");
    let long = Tar::new()
        .pax(&[("comment", &vec![b'x'; 1 << 20])])
        .file("c", b"")
        .end();
    assert_refused(&long, "PaxHeaders/x", "longer than 1048576 bytes");
    let claimed = Tar::new()
        .with(EntryType::XHeader, b"p", b"", b"", |header| {
            header.set_size(u64::MAX >> 2);
        })
        .end();
    assert_refused(&claimed, "p", "longer than 1048576 bytes");
    let malformed = Tar::new()
        .raw(EntryType::XHeader, b"p", b"", b"99 path=a\n")
        .file("c", b"")
        .end();
    assert_refused(&malformed, "p", "not of the form");
    let global = Tar::new()
        .raw(
            EntryType::XGlobalHeader,
            b"g",
            b"",
            &pax_records(&[("path", b"evil")]),
        )
        .file("c", b"")
        .end();
    assert_refused(&global, "g", "global header");
}

#[test]
fn long_and_deep_names_are_refused() {
    let deep = "d/".repeat(200);
    let archive = Tar::new().pax(&[("path", deep.as_bytes())]).dir("x").end();
    let message = refusal(&archive, &ArchiveLimits::default());
    assert!(message.contains("deeper than 128"), "{message}");
    let long = vec!["x".repeat(200); 20].join("/");
    let archive = Tar::new().pax(&[("path", long.as_bytes())]).dir("x").end();
    let message = refusal(&archive, &ArchiveLimits::default());
    assert!(
        message.contains("longer than 2048 bytes") && message.len() < 400,
        "{message}"
    );
    let part = "x".repeat(256);
    let archive = Tar::new().pax(&[("path", part.as_bytes())]).dir("x").end();
    let message = refusal(&archive, &ArchiveLimits::default());
    assert!(message.contains("255 bytes"), "{message}");
}

#[test]
fn symlink_targets_have_to_be_possible() {
    assert_refused(&Tar::new().symlink("l", "").end(), "l", "target is empty");
    let long = vec![b'x'; 5000];
    let archive = Tar::new().pax(&[("linkpath", &long)]).symlink("l", "").end();
    assert_refused(&archive, "l", "too long");
    let archive = Tar::new().raw(EntryType::Symlink, b"l", b"\xff", b"").end();
    assert_refused(&archive, "l", "not UTF-8");
}

#[test]
fn a_mode_is_a_number_or_left_out() {
    let moded = |mode: [u8; 8]| {
        let set = |header: &mut Header| header.as_old_mut().mode = mode;
        Tar::new().with(EntryType::Regular, b"f", b"", b"", set).end()
    };
    assert_refused(&moded(*b"rw-r--r-"), "f", "mode is no number");
    assert_eq!(unpacked(&moded([0; 8])).unwrap().0, ["f f644 0 bytes x1"]);
}

#[test]
fn a_damaged_header_is_refused() {
    let mut archive = Tar::new().file("first", b"x").file("second", b"x").end();
    archive[1024 + 100] ^= 1;
    assert_refused(&archive, "second", "wrong checksum");
}
