//! PAX extended headers: records of the form `<length> <key>=<value>\n`, where length counts the whole record.

use super::{error::Fault, sink::Moment};

/// What an extended header says that changes how its entry is read; the rest (owners, attributes, comments) is not kept.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Extended {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size_bytes: Option<u64>,
    pub(super) modified: Option<Moment>,
}

/// Holds for all later entries. Git puts its commit id into one; nothing honest puts a name or a size there.
#[derive(Debug, Default)]
pub(super) struct GlobalExtended {
    pub(super) modified: Option<Moment>,
}

// === impl Extended ===

impl Extended {
    pub(super) fn parse(mut records: &[u8]) -> Result<Self, Fault> {
        let mut extended = Self::default();
        while !records.is_empty() {
            let (key, value) = next_record(&mut records)?;
            extended.set(key, value)?;
        }
        Ok(extended)
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Fault> {
        match key {
            b"path" => once(&mut self.path, value.to_vec()),
            b"linkpath" => once(&mut self.link, value.to_vec()),
            b"size" => {
                let size = number(value).ok_or(Fault::ExtendedHeader("its size is no number"))?;
                once(&mut self.size_bytes, size)
            }
            b"mtime" => {
                let modified = moment(value).ok_or(Fault::ExtendedHeader("its mtime is no time"))?;
                once(&mut self.modified, modified)
            }
            _ if key.starts_with(b"GNU.sparse.") || key == b"SCHILY.realsize" => Err(Fault::Sparse),
            _ => Ok(()),
        }
    }
}

// === impl GlobalExtended ===

impl GlobalExtended {
    pub(super) fn add(&mut self, records: &[u8]) -> Result<(), Fault> {
        let added = Extended::parse(records)?;
        if added.path.is_some() || added.link.is_some() || added.size_bytes.is_some() {
            return Err(Fault::ExtendedHeader("a global header with a name or a size"));
        }
        self.modified = added.modified.or(self.modified);
        Ok(())
    }
}

fn next_record<'a>(records: &mut &'a [u8]) -> Result<(&'a [u8], &'a [u8]), Fault> {
    let split = || {
        let space = records.iter().position(|byte| *byte == b' ')?;
        let length = usize::try_from(number(records.get(..space)?)?).ok()?;
        let body = records.get(space + 1..length)?.strip_suffix(b"\n")?;
        let equals = body.iter().position(|byte| *byte == b'=')?;
        Some((
            body.get(..equals)?,
            body.get(equals + 1..)?,
            records.get(length..)?,
        ))
    };
    let (key, value, rest) = split().ok_or(Fault::ExtendedHeader("a record that is not of the form"))?;
    *records = rest;
    Ok((key, value))
}

/// Tools differ on which of two counts.
fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), Fault> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(Fault::ExtendedHeader("a record that appears twice")),
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    let plain = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    plain.then(|| str::from_utf8(digits).ok()?.parse().ok()).flatten()
}

/// `-1.5` is half a second before -1: nanoseconds count up from the second below.
fn moment(text: &[u8]) -> Option<Moment> {
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (whole, fraction) = match text.iter().position(|byte| *byte == b'.') {
        Some(dot) => (text.get(..dot)?, text.get(dot + 1..)?),
        None => (text, &b""[..]),
    };
    let secs = i64::try_from(number(whole)?).ok()?;
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
    Some(match (negative, nanos) {
        (false, _) => Moment { secs, nanos },
        (true, 0) => Moment { secs: -secs, nanos },
        (true, _) => Moment {
            secs: -secs - 1,
            nanos: 1_000_000_000 - nanos,
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_are_read_and_unknown_ones_passed_over() {
        let extended = Extended::parse(b"12 path=a/b\n20 mtime=1.5\n").unwrap_err();
        assert_eq!(
            extended,
            Fault::ExtendedHeader("a record that is not of the form")
        );
        let extended = Extended::parse(b"12 path=a/b\n13 mtime=1.5\n11 uid=123\n").unwrap();
        assert_eq!(extended.path.as_deref(), Some(&b"a/b"[..]));
        assert_eq!(
            extended.modified,
            Some(Moment {
                secs: 1,
                nanos: 500_000_000
            })
        );
    }

    #[test]
    fn times_before_the_epoch_count_up() {
        let parsed = |text: &str| moment(text.as_bytes()).map(|m| (m.secs, m.nanos));
        assert_eq!(parsed("-1.25"), Some((-2, 750_000_000)));
        assert_eq!(parsed("-3"), Some((-3, 0)));
        assert_eq!(parsed("1.0000000019"), Some((1, 1)));
        assert_eq!(parsed("1,5"), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in "[0-9 =a\n]{0,40}") {
            let _ = Extended::parse(bytes.as_bytes());
        }
    }
}
