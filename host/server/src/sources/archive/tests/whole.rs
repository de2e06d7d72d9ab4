//! What is wrong with an archive as a whole: its kind, its end, its size.

use super::*;

fn limits(change: impl FnOnce(&mut ArchiveLimits)) -> ArchiveLimits {
    let mut limits = ArchiveLimits::default();
    change(&mut limits);
    limits
}

#[test]
fn what_is_not_an_archive_is_called_so() {
    let refused = |bytes: &[u8]| refusal(bytes, &ArchiveLimits::default());
    assert!(refused(b"FROM scratch\n").contains("not a tar, tar.gz, tar.zst or zip archive"));
    assert!(refused(&[b'x'; 2048]).contains("not a tar"));
    assert!(refused(b"\xfd7zXZ\0 and so on").contains("xz"));
    assert!(refused(b"\x1f\x8bnonsense, really").contains("damaged"));
    assert!(refused(&gzip(b"not a tar archive")).contains("ends in the middle"));
    assert!(refused(&gzip(&[b'x'; 1024])).contains("checksum"));
}

#[test]
fn an_archive_without_entries_is_empty() {
    let empty_zip = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new().end();
    for archive in [
        &b""[..],
        &tar,
        &gzip(&tar),
        &zstd(&tar),
        &Tar::new().dir("./").end(),
        empty_zip,
    ] {
        assert_eq!(
            refusal(archive, &ArchiveLimits::default()),
            "the archive is empty"
        );
    }
}

#[test]
fn a_cut_archive_is_refused_wherever_it_is_cut() {
    let tar = Tar::new().dir("d").file("d/f", &[7; 700]).end();
    let content_end = tar.len() - 1024;
    for kind in [<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, gzip, zstd] {
        let archive = kind(&tar);
        let whole = if archive == tar {
            content_end
        } else {
            archive.len()
        };
        for cut in (1..whole)
            .step_by(37)
            .chain([whole - 1, whole.min(1536), whole.min(512)])
        {
            if cut < archive.len() {
                refusal(&archive[..cut], &ArchiveLimits::default());
            }
        }
    }
    let unfinished = Tar::new().dir("d").file("d/f", &[7; 700]).unfinished();
    assert!(refusal(&unfinished, &ArchiveLimits::default()).contains("ends in the middle"));
}

#[test]
fn an_extension_header_without_its_entry_is_refused() {
    let archive = Tar::new().file("a", b"").pax(&[("path", b"b")]).end();
    assert!(refusal(&archive, &ArchiveLimits::default()).contains("ends in the middle"));
}

#[test]
fn only_zeros_may_follow_the_end() {
    let tar = Tar::new().file("a", b"x").end();
    let behind = |bytes: &[u8]| [&tar[..], bytes].concat();
    assert!(unpacked(&behind(&[0; 9216])).is_ok());
    assert!(refusal(&behind(b"x"), &ArchiveLimits::default()).contains("behind its end"));
    let second = Tar::new().file("b", b"x").end();
    assert!(refusal(&behind(&second), &ArchiveLimits::default()).contains("behind its end"));
    assert!(refusal(&gzip(&behind(&second)), &ArchiveLimits::default()).contains("behind its end"));
    assert!(unpacked(&[gzip(&tar), vec![0; 512]].concat()).is_ok());
    assert!(
        refusal(&[gzip(&tar), b"x".to_vec()].concat(), &ArchiveLimits::default()).contains("behind the end")
    );
    refusal(
        &[zstd(&tar), b"xxxxxxxx".to_vec()].concat(),
        &ArchiveLimits::default(),
    );
}

#[test]
fn compression_may_come_in_several_parts() {
    let tar = Tar::new().file("a", &[1; 3000]).end();
    let (head, tail) = tar.split_at(1000);
    for kind in [gzip, zstd] {
        let archive = [kind(head), kind(tail)].concat();
        assert_eq!(unpacked(&archive).unwrap().0, ["a f644 3000 bytes x1"]);
    }
}

#[test]
fn damaged_compression_is_refused() {
    let noise: Vec<u8> = (0..40_000_u32)
        .map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0])
        .collect();
    let tar = Tar::new().file("noise", &noise).end();
    for kind in [gzip, zstd] {
        let mut archive = kind(&tar);
        let last = archive.len() - 6;
        archive[last] ^= 0x55;
        refusal(&archive, &ArchiveLimits::default());
    }
}

#[test]
fn a_bomb_is_refused_by_its_ratio() {
    let bomb = Tar::new().file("zeros", &vec![0; 3 << 20]).end();
    let limits = limits(|limits| (limits.ratio_floor_bytes, limits.ratio_max) = (1 << 20, 50));
    for archive in [gzip(&bomb), zstd(&bomb)] {
        let message = refusal(&archive, &limits);
        assert!(
            message.contains("\"zeros\"") && message.contains("50 times"),
            "{message}"
        );
        assert!(unpacked(&archive).is_ok(), "below the floor it is fine");
    }
    let padded = [Tar::new().file("a", b"").end(), vec![0; 3 << 20]].concat();
    assert!(refusal(&gzip(&padded), &limits).contains("50 times"));
}

#[test]
fn limits_on_size_and_number_hold() {
    let archive = Tar::new()
        .file("a", &[1; 600])
        .file("b", &[1; 600])
        .file("c/d/e", b"")
        .end();
    let message = refusal(&archive, &limits(|limits| limits.unpacked_bytes_max = 1199));
    assert_eq!(
        message,
        "entry \"b\": the archive unpacks to more than 1199 bytes"
    );
    let message = refusal(&archive, &limits(|limits| limits.entries_max = 4));
    assert_eq!(message, "entry \"c/d/e\": the archive has more than 4 entries");
    let message = refusal(&archive, &limits(|limits| limits.names_bytes_max = 6));
    assert_eq!(
        message,
        "entry \"c/d/e\": the archive's names are longer than 6 bytes together"
    );
    assert_eq!(unpacked(&archive).unwrap().1.entries, 5);
}

#[test]
fn a_wide_zstd_window_is_refused() {
    let tar = Tar::new().file("a", &vec![1; 20 << 20]).end();
    let mut encoder = zstd::stream::Encoder::new(Vec::new(), 1).unwrap();
    encoder.window_log(25).unwrap();
    encoder.write_all(&tar).unwrap();
    let message = refusal(&encoder.finish().unwrap(), &ArchiveLimits::default());
    assert!(message.contains("memory"), "{message}");
}

#[test]
fn unpacking_needs_an_empty_directory() {
    let dest = tempfile::tempdir().unwrap();
    fs::write(dest.path().join("mine"), "kept").unwrap();
    let archive = on_disk(&Tar::new().file("a", b"x").end());
    let error = unpack(&archive, dest.path(), &ArchiveLimits::default()).unwrap_err();
    assert!(error.is_internal());
    assert_eq!(tree(dest.path()), ["mine f644 4 bytes x1"]);
}
