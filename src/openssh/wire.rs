//! Reader for the encodings of RFC 4251, section 5.

/// Reader over the bytes which are left. A method returns `None` if too few bytes are left; the
/// reader must not be used after that.
#[derive(Debug, Clone, Copy)]
pub(super) struct WireReader<'a>(&'a [u8]);

impl<'a> WireReader<'a> {
    /// Creates a reader over all of the bytes.
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// Returns true if no bytes are left.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the bytes read since this reader was in the state `earlier`.
    pub(super) fn since(&self, earlier: Self) -> &'a [u8] {
        earlier
            .0
            .get(..earlier.0.len().saturating_sub(self.0.len()))
            .unwrap_or_default()
    }

    /// Reads a byte.
    pub(super) fn u8(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Reads a `uint32`.
    pub(super) fn u32(&mut self) -> Option<u32> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u32::from_be_bytes(*bytes))
    }

    /// Reads a `uint64`.
    pub(super) fn u64(&mut self) -> Option<u64> {
        let (bytes, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_be_bytes(*bytes))
    }

    /// Reads a `string`, which may also be a name list or an `mpint`.
    pub(super) fn string(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.u32()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Reads all strings up to the end. The result may be empty.
    pub(super) fn strings(mut self) -> Option<Vec<&'a [u8]>> {
        let mut strings = Vec::new();
        while !self.is_empty() {
            strings.push(self.string()?);
        }
        Some(strings)
    }
}

/// Encodes bytes as a `string`.
pub(super) fn string(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_strings_are_read_in_order() {
        let bytes = [
            &[7][..],
            &[0, 0, 0, 1],
            &[0, 0, 0, 0, 0, 0, 0, 2],
            &string(b"ab"),
            &string(b""),
        ]
        .concat();

        let mut reader = WireReader::new(&bytes);
        let start = reader;
        assert_eq!(
            (reader.u8(), reader.u32(), reader.u64()),
            (Some(7), Some(1), Some(2))
        );

        assert_eq!(reader.since(start), &bytes[..13]);
        assert_eq!(reader.strings(), Some(vec![&b"ab"[..], b""]));
        assert_eq!(
            (reader.string(), reader.string(), reader.string()),
            (Some(&b"ab"[..]), Some(&b""[..]), None)
        );
    }

    #[test]
    fn what_is_cut_is_not_read() {
        for bytes in [
            &[][..],
            &[0, 0, 0],
            &[0, 0, 0, 1],
            &[0xff, 0xff, 0xff, 0xff, 1],
        ] {
            assert_eq!(WireReader::new(bytes).string(), None, "{bytes:?}");
            assert_eq!(WireReader::new(bytes).u64(), None, "{bytes:?}");
        }

        assert_eq!(WireReader::new(&[0, 0, 0, 0, 0]).strings(), None);
        assert_eq!(WireReader::new(&[]).u8(), None);
    }
}
