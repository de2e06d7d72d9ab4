//! Little-endian numbers out of a zip header, and its extra fields.

/// Reads numbers off the front; past the end it reads none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

/// Extra field: sizes and offset that do not fit 32 bits.
pub(super) const ZIP64: u16 = 0x0001;
/// Extra field: times in seconds since the epoch.
pub(super) const UNIX_TIMES: u16 = 0x5455;
/// Extra field: a second spelling of the name.
pub(super) const UNICODE_NAME: u16 = 0x7075;
/// What stands where the real number is in the ZIP64 field.
pub(super) const IN_ZIP64: u32 = u32::MAX;

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes(N)?.try_into().ok()
    }

    /// A number that stands in the ZIP64 field where the header has no room for it.
    pub(super) fn widen(&mut self, narrow: u32) -> Option<u64> {
        if narrow == IN_ZIP64 {
            self.u64()
        } else {
            Some(narrow.into())
        }
    }
}

/// The body of the extra field `id`. Err where there are two of it.
pub(super) fn extra(mut extras: Fields<'_>, id: u16) -> Result<Option<Fields<'_>>, ()> {
    let mut found = None;
    // Tools leave up to three stray bytes at the end.
    while let (Some(this), Some(length)) = (extras.u16(), extras.u16()) {
        let Some(body) = extras.bytes(length.into()) else {
            break;
        };
        if this == id && found.replace(Fields(body)).is_some() {
            return Err(());
        }
    }
    Ok(found)
}
