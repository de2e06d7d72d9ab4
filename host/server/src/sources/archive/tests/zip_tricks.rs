//! Each trick with zip, refused by both ends with the entry's name.

use super::*;

/// The fields that the directory and an entry's own header share, and those that only the directory has.
#[derive(Clone)]
struct Fields {
    flags: u16,
    method: u16,
    crc: u32,
    packed: u32,
    size: u32,
    name: Vec<u8>,
    extra: Vec<u8>,
    attributes: u32,
    offset: u32,
    disk: u16,
}

#[derive(Default)]
struct Zip {
    body: Vec<u8>,
    directory: Vec<u8>,
    entries: u16,
}

const UNIX: u32 = 16;

// === impl Zip ===

impl Zip {
    fn file(self, name: &str, content: &[u8]) -> Self {
        self.with(name, content, |_, _| {})
    }

    fn symlink(self, name: &str, target: &str) -> Self {
        self.with(name, target.as_bytes(), |_, central| {
            central.attributes = 0o120_777 << UNIX;
        })
    }

    /// A stored entry; `change` gets its own header's fields, then the directory's.
    fn with(self, name: &str, content: &[u8], change: impl FnOnce(&mut Fields, &mut Fields)) -> Self {
        self.described(name, content, b"", change)
    }

    fn described(
        mut self,
        name: &str,
        content: &[u8],
        descriptor: &[u8],
        change: impl FnOnce(&mut Fields, &mut Fields),
    ) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        let mut local = Fields {
            flags: 0,
            method: 0,
            crc: crc.sum(),
            packed: content.len() as u32,
            size: content.len() as u32,
            name: name.as_bytes().to_vec(),
            extra: Vec::new(),
            attributes: 0o100_644 << UNIX,
            offset: self.body.len() as u32,
            disk: 0,
        };
        let mut central = local.clone();
        change(&mut local, &mut central);
        self.body.extend_from_slice(b"PK\x03\x04\x14\0");
        local.shared(&mut self.body);
        self.body.extend_from_slice(&local.name);
        self.body.extend_from_slice(&local.extra);
        self.body.extend_from_slice(content);
        self.body.extend_from_slice(descriptor);
        self.directory.extend_from_slice(b"PK\x01\x02\x14\x03\x14\0");
        central.shared(&mut self.directory);
        self.directory.extend_from_slice(&[0, 0]);
        self.directory.extend_from_slice(&central.disk.to_le_bytes());
        self.directory.extend_from_slice(&[0, 0]);
        self.directory
            .extend_from_slice(&central.attributes.to_le_bytes());
        self.directory.extend_from_slice(&central.offset.to_le_bytes());
        self.directory.extend_from_slice(&central.name);
        self.directory.extend_from_slice(&central.extra);
        self.entries += 1;
        self
    }

    fn end(self) -> Vec<u8> {
        let (start, size) = (self.body.len() as u32, self.directory.len() as u32);
        let mut zip = [self.body, self.directory, b"PK\x05\x06\0\0\0\0".to_vec()].concat();
        zip.extend_from_slice(&self.entries.to_le_bytes());
        zip.extend_from_slice(&self.entries.to_le_bytes());
        zip.extend_from_slice(&size.to_le_bytes());
        zip.extend_from_slice(&start.to_le_bytes());
        zip.extend_from_slice(&[0, 0]);
        zip
    }
}

impl Fields {
    fn shared(&self, to: &mut Vec<u8>) {
        to.extend_from_slice(&self.flags.to_le_bytes());
        to.extend_from_slice(&self.method.to_le_bytes());
        to.extend_from_slice(&[0, 0, 0x21, 0x58]);
        to.extend_from_slice(&self.crc.to_le_bytes());
        to.extend_from_slice(&self.packed.to_le_bytes());
        to.extend_from_slice(&self.size.to_le_bytes());
        to.extend_from_slice(&(self.name.len() as u16).to_le_bytes());
        to.extend_from_slice(&(self.extra.len() as u16).to_le_bytes());
    }
}

fn zip() -> Zip {
    Zip::default()
}

fn deflate(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

#[test]
fn the_crafted_archives_are_otherwise_good() {
    let good = zip()
        .file("d/a", b"hello")
        .symlink("l", "/etc")
        .with("e/", b"", |_, central| {
            central.attributes = 0o040_750 << UNIX;
        });
    assert_eq!(
        unpacked(&good.end()).unwrap().0,
        ["d d755", "d/a f644 5 bytes x1", "e d750", "l -> /etc"]
    );
}

#[test]
fn bad_names_are_refused() {
    for (name, why) in [
        ("../evil", "\"..\""),
        ("a/../../evil", "\"..\""),
        ("/etc/passwd", "absolute"),
        ("C:/evil", "drive"),
        ("c:evil", "drive"),
        ("..\\evil", "backslash"),
        ("\\evil", "backslash"),
        ("a\0b", "NUL"),
    ] {
        assert_refused(&zip().file(name, b"x").end(), name, why);
    }
    let latin = |local: &mut Fields, central: &mut Fields| {
        local.name = b"caf\xe9".to_vec();
        central.name = b"caf\xe9".to_vec();
    };
    assert_refused(&zip().with("x", b"x", latin).end(), "caf\u{fffd}", "not UTF-8");
}

#[test]
fn two_spellings_of_a_name_are_refused() {
    let other = |_: &mut Fields, central: &mut Fields| {
        central.extra = b"\x75\x70\x09\0\x01\0\0\0\0evil".to_vec();
    };
    assert_refused(
        &zip().with("name", b"x", other).end(),
        "name",
        "twice, differently",
    );
}

#[test]
fn nothing_is_written_through_a_symlink() {
    assert_refused(
        &zip().symlink("l", "/tmp").file("l/evil", b"x").end(),
        "l/evil",
        "through \"l\"",
    );
    assert_refused(
        &zip().symlink("l", "/tmp").file("l", b"x").end(),
        "l",
        "second time",
    );
    assert_refused(
        &zip().file("a", b"x").file("./a", b"x").end(),
        "./a",
        "second time",
    );
    assert_refused(&zip().symlink("l", &"x".repeat(5000)).end(), "l", "too long");
}

#[test]
fn devices_pipes_and_sockets_are_refused() {
    for kind in [0o020_000, 0o060_000, 0o010_000, 0o140_000, 0o150_000] {
        let archive = zip().with("dev", b"", |_, central| central.attributes = kind << UNIX);
        assert_refused(&archive.end(), "dev", "may not contain");
    }
    let link = zip().with("dir/", b"x", |_, central| central.attributes = 0o120_777 << UNIX);
    assert_refused(&link.end(), "dir/", "slash");
    assert_refused(
        &zip().with("dir/", b"x", |_, c| c.attributes = 0).end(),
        "dir/",
        "has content",
    );
}

#[test]
fn encryption_and_other_methods_are_refused() {
    for flag in [1, 1 << 6, 1 << 13] {
        let both = |local: &mut Fields, central: &mut Fields| (local.flags, central.flags) = (flag, flag);
        assert_refused(&zip().with("secret", b"x", both).end(), "secret", "encrypted");
    }
    for method in [1, 9, 12, 14, 93, 99] {
        let both =
            |local: &mut Fields, central: &mut Fields| (local.method, central.method) = (method, method);
        assert_refused(
            &zip().with("odd", b"x", both).end(),
            "odd",
            &format!("method {method}"),
        );
    }
}

#[test]
fn headers_that_disagree_are_refused() {
    type Change = fn(&mut Fields);
    let cases: [(Change, &str); 6] = [
        (|local| local.name = b"evil".to_vec(), "disagree on its name"),
        (|local| local.method = 8, "disagree on its compression method"),
        (|local| local.flags = 1 << 3, "disagree on its flags"),
        (|local| local.size = 9, "disagree on its size"),
        (|local| local.packed = 9, "disagree on its size"),
        (|local| local.crc ^= 1, "disagree on its checksum"),
    ];
    for (change, why) in cases {
        assert_refused(
            &zip().with("name", b"x", |local, _| change(local)).end(),
            "name",
            why,
        );
    }
    let nowhere = zip().with("name", b"x", |_, central| central.offset = 7);
    assert_refused(&nowhere.end(), "name", "disagree on its place");
}

#[test]
fn overlapping_entries_are_refused() {
    let kernel = zip().file("a", b"0123456789");
    let again = kernel.with("a", b"", |_, central| {
        (central.offset, central.packed, central.size) = (0, 10, 10);
        central.crc = crc(b"0123456789");
    });
    assert_refused(&again.end(), "a", "overlaps");
    // One entry that holds another whole, header and all.
    let inner = zip().file("b", b"x").body;
    let mut nested = zip().file("a", &inner);
    let at = nested.body.len() - inner.len();
    nested = nested.with("b", b"x", |_, central| central.offset = at as u32);
    assert_refused(&nested.end(), "b", "overlaps");
    // Into the directory.
    let beyond = zip().with("a", b"x", |local, central| {
        (local.packed, local.size) = (40, 40);
        (central.packed, central.size) = (40, 40);
    });
    assert_refused(&beyond.end(), "a", "overlaps");
}

#[test]
fn content_has_to_be_what_the_headers_say() {
    let wrong = |local: &mut Fields, central: &mut Fields| (local.crc, central.crc) = (1, 1);
    assert_refused(&zip().with("a", b"x", wrong).end(), "a", "checksum");
    assert_refused(
        &zip()
            .with("l", b"t", |local, central| {
                wrong(local, central);
                central.attributes = 0o120_777 << UNIX;
            })
            .end(),
        "l",
        "checksum",
    );
    let packed = deflate(&[7; 1000]);
    let sized = |size: u32| {
        move |local: &mut Fields, central: &mut Fields| {
            for fields in [local, central] {
                (fields.method, fields.size, fields.crc) = (8, size, crc(&[7; 1000]));
            }
        }
    };
    assert!(unpacked(&zip().with("a", &packed, sized(1000)).end()).is_ok());
    assert_refused(
        &zip().with("a", &packed, sized(999)).end(),
        "a",
        "content does not match its checksum",
    );
    assert_refused(
        &zip().with("a", &packed, sized(1001)).end(),
        "a",
        "ends in the middle",
    );
    let longer = [&packed[..], b"more"].concat();
    assert_refused(
        &zip().with("a", &longer, sized(1000)).end(),
        "a",
        "content does not match its size",
    );
    let damaged = vec![0xff; 20];
    assert_refused(&zip().with("a", &damaged, sized(1000)).end(), "a", "damaged");
    let stored = |local: &mut Fields, central: &mut Fields| (local.size, central.size) = (2, 2);
    assert_refused(
        &zip().with("a", b"xxx", stored).end(),
        "a",
        "content does not match its size",
    );
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let zeros = vec![0; 3 << 20];
    let packed = deflate(&zeros);
    let bomb = zip().with("zeros", &packed, |local, central| {
        for fields in [local, central] {
            (fields.method, fields.size, fields.crc) = (8, 3 << 20, crc(&zeros));
        }
    });
    let limits = ArchiveLimits {
        ratio_floor_bytes: 1 << 20,
        ..ArchiveLimits::default()
    };
    let message = refusal(&bomb.end(), &limits);
    assert!(
        message.contains("\"zeros\"") && message.contains("200 times"),
        "{message}"
    );
}

#[test]
fn data_descriptors_are_checked() {
    let late = |local: &mut Fields, central: &mut Fields| {
        (local.flags, central.flags) = (8, 8);
        (local.crc, local.packed, local.size) = (0, 0, 0);
    };
    let numbers = [
        crc(b"hello").to_le_bytes(),
        5_u32.to_le_bytes(),
        5_u32.to_le_bytes(),
    ]
    .concat();
    let wide = [
        &crc(b"hello").to_le_bytes()[..],
        &5_u64.to_le_bytes(),
        &5_u64.to_le_bytes(),
    ]
    .concat();
    for good in [numbers.clone(), wide] {
        let signed = [b"PK\x07\x08", &good[..]].concat();
        for descriptor in [good, signed] {
            let archive = zip()
                .described("a", b"hello", &descriptor, late)
                .file("b", b"")
                .end();
            assert_eq!(unpacked(&archive).unwrap().0[0], "a f644 5 bytes x1");
        }
    }
    let mut lie = numbers;
    lie[4] = 6;
    let archive = zip().described("a", b"hello", &lie, late).end();
    assert_refused(&archive, "a", "disagree on its data descriptor");
}

#[test]
fn the_directory_has_to_be_whole() {
    let refused = |archive: &[u8]| refusal(archive, &ArchiveLimits::default());
    let good = || zip().file("a", b"hello").end();
    assert!(refused(&[good(), b"x".to_vec()].concat()).contains("behind its end"));
    assert!(refused(&good()[..40]).contains("ends in the middle"));
    assert!(refused(&[b"PK\x03\x04".to_vec(), good()].concat()).contains("not where its end says"));
    let mut fewer = zip().file("a", b"").file("b", b"");
    fewer.entries = 1;
    assert!(refused(&fewer.end()).contains("longer than its entries"));
    let mut more = zip().file("a", b"");
    more.entries = 2;
    assert!(refused(&more.end()).contains("shorter than its entries"));
    let disk = zip().with("a", b"", |_, central| central.disk = 1).end();
    assert_refused(&disk, "a", "not complete");
    // A comment that pretends to be the end of another archive.
    let mut pretending = good();
    let at = pretending.len() - 2;
    pretending[at] = 30;
    pretending.extend_from_slice(&zip().end());
    pretending.extend_from_slice(&[0; 8]);
    assert!(refused(&pretending).contains("behind its end"));
}

#[test]
fn many_entries_are_refused_before_they_are_read() {
    let archive = zip().file("a", b"").file("b", b"").end();
    let limits = ArchiveLimits {
        entries_max: 1,
        ..ArchiveLimits::default()
    };
    assert_eq!(refusal(&archive, &limits), "the archive has more than 1 entries");
}
