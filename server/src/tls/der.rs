//! Parses DER as far as names and extensions need it. It knows tags and lengths, and no meaning.

pub(super) const BOOLEAN: u8 = 0x01;
pub(super) const INTEGER: u8 = 0x02;
pub(super) const OCTETS: u8 = 0x04;
pub(super) const OBJECT: u8 = 0x06;
pub(super) const SEQUENCE: u8 = 0x30;
pub(super) const SET: u8 = 0x31;
/// The third context tag of a certificate's signed part.
pub(super) const EXTENSIONS: u8 = 0xa3;

/// The tag and content of the first element, and what follows it.
pub(super) fn next(der: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&tag, rest) = der.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81..=0x84 => {
            let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
            let length = bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
            (length, rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((tag, content, rest))
}

/// The content of the first element, if it has this tag, and what follows it.
pub(super) fn of(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, content, rest) = next(der)?;
    (found == tag).then_some((content, rest))
}

/// The contents of all elements, if all have this tag.
pub(super) fn each(mut der: &[u8], tag: u8) -> Option<Vec<&[u8]>> {
    let mut all = Vec::new();
    while !der.is_empty() {
        let (content, rest) = of(der, tag)?;
        all.push(content);
        der = rest;
    }
    Some(all)
}
