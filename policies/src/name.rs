//! Distinguished names in two text formats. Names are built attribute by attribute; nothing is parsed.

use std::fmt;

use serde::{Serialize, Serializer};

/// A distinguished name, with its parts in the order of the certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DistinguishedName(Vec<Vec<Attribute>>);

/// One attribute of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attribute {
    /// The short name of its type: `CN`; a dotted number where it has none.
    pub kind: String,
    /// The value, not escaped.
    pub value: String,
}

impl DistinguishedName {
    /// A name whose parts may have several attributes each.
    pub fn new(parts: Vec<Vec<Attribute>>) -> Self {
        Self(parts)
    }

    /// A name whose parts have one attribute each, as is usual.
    pub fn of_pairs<'p>(pairs: impl IntoIterator<Item = (&'p str, &'p str)>) -> Self {
        let part = |(kind, value): (&str, &str)| {
            vec![Attribute {
                kind: kind.to_owned(),
                value: value.to_owned(),
            }]
        };
        Self(pairs.into_iter().map(part).collect())
    }

    /// All attributes, in the order of the certificate.
    pub fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        self.0.iter().flatten()
    }

    /// RFC 4514 format, the last part first: `CN=ada,O=Example`.
    pub fn rfc4514(&self) -> String {
        let part = |part: &Vec<Attribute>| {
            let attributes: Vec<_> = part
                .iter()
                .map(|attribute| format!("{}={}", attribute.kind, escape(&attribute.value)))
                .collect();
            attributes.join("+")
        };
        self.0.iter().rev().map(part).collect::<Vec<_>>().join(",")
    }

    /// Slash format as used in grid computing: `/O=Example/CN=ada`. Nothing is escaped, as in other tools.
    pub fn slash(&self) -> String {
        let part = |part: &Vec<Attribute>| {
            let attributes: Vec<_> = part
                .iter()
                .map(|attribute| format!("{}={}", attribute.kind, attribute.value))
                .collect();
            format!("/{}", attributes.join("+"))
        };
        self.0.iter().map(part).collect()
    }
}

impl fmt::Display for DistinguishedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc4514())
    }
}

impl Serialize for DistinguishedName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.rfc4514())
    }
}

/// RFC 4514, section 2.4.
fn escape(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    let last = value.len().saturating_sub(1);
    for (at, letter) in value.char_indices() {
        match letter {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', letter]),
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            '\0' => escaped.push_str("\\00"),
            _ => escaped.push(letter),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_two_formats() {
        let name = DistinguishedName::of_pairs([("DC", "org"), ("O", "Example"), ("CN", "ada")]);
        assert_eq!(name.rfc4514(), "CN=ada,O=Example,DC=org");
        assert_eq!(name.slash(), "/DC=org/O=Example/CN=ada");
        assert_eq!(DistinguishedName::default().rfc4514(), "");
    }

    #[test]
    fn several_attributes_in_one_part_are_joined() {
        let attribute = |kind: &str, value: &str| Attribute {
            kind: kind.to_owned(),
            value: value.to_owned(),
        };
        let name = DistinguishedName::new(vec![vec![attribute("CN", "ada"), attribute("UID", "7")]]);
        assert_eq!(name.rfc4514(), "CN=ada+UID=7");
    }

    #[test]
    fn a_value_cannot_pose_as_another_attribute() {
        let check = |value: &str, written: &str| {
            assert_eq!(DistinguishedName::of_pairs([("CN", value)]).rfc4514(), written);
        };
        check("x,OU=admin", "CN=x\\,OU=admin");
        check("x+OU=admin", "CN=x\\+OU=admin");
        check(" a ", "CN=\\ a\\ ");
        check(" ", "CN=\\ ");
        check("#1\\", "CN=\\#1\\\\");
        check("nul\0", "CN=nul\\00");
        check("Grüße", "CN=Grüße");
    }
}
