//! Reads whether a certificate is a proxy certificate (RFC 3820), and which rights its owner delegates by it. OpenSSL
//! verifies the signatures and names of proxy certificates, and leaves their policy languages to the application.

use openssl::x509::X509Ref;

use super::der;

/// The extension `proxyCertInfo`, 1.3.6.1.5.5.7.1.14.
const PROXY_CERT_INFO: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 1, 14];
/// `id-ppl-inheritAll`, 1.3.6.1.5.5.7.21.1.
const INHERIT_ALL: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 1];
/// `id-ppl-independent`, 1.3.6.1.5.5.7.21.2.
const INDEPENDENT: &[u8] = &[0x2b, 6, 1, 5, 5, 7, 21, 2];
/// The limited proxy of the Globus Toolkit, 1.3.6.1.4.1.3536.1.1.1.9.
const LIMITED: &[u8] = &[0x2b, 6, 1, 4, 1, 0x9b, 0x50, 1, 1, 1, 9];

/// The policy language of a proxy certificate: which rights its owner delegates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PolicyLanguage {
    /// All of them.
    InheritAll,
    /// Fewer than all, and the relying party knows which.
    Limited,
    /// None of them.
    Independent,
    /// Those of a policy that this server does not understand.
    Other,
}

/// The certificate could not be parsed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct NotDer;

/// The policy language of a proxy certificate; `None` if the certificate is no proxy.
pub(super) fn policy_language(certificate: &X509Ref) -> Result<Option<PolicyLanguage>, NotDer> {
    let der = certificate.to_der().map_err(|_| NotDer)?;
    let extensions = extensions(&der).ok_or(NotDer)?;
    for extension in extensions {
        let (id, rest) = der::of(extension, der::OBJECT).ok_or(NotDer)?;
        if id == PROXY_CERT_INFO {
            return Ok(Some(language(rest).unwrap_or(PolicyLanguage::Other)));
        }
    }
    Ok(None)
}

/// The extensions of a certificate.
fn extensions(der: &[u8]) -> Option<Vec<&[u8]>> {
    let (certificate, _) = der::of(der, der::SEQUENCE)?;
    let (mut fields, _) = der::of(certificate, der::SEQUENCE)?;
    while !fields.is_empty() {
        let (tag, content, rest) = der::next(fields)?;
        if tag == der::EXTENSIONS {
            let (extensions, _) = der::of(content, der::SEQUENCE)?;
            return der::each(extensions, der::SEQUENCE);
        }
        fields = rest;
    }
    Some(Vec::new())
}

/// The language in the rest of the extension: whether it is critical, and its value.
fn language(rest: &[u8]) -> Option<PolicyLanguage> {
    let (tag, content, after) = der::next(rest)?;
    let value = match tag {
        der::BOOLEAN => der::of(after, der::OCTETS)?.0,
        der::OCTETS => content,
        _ => return None,
    };
    let (info, _) = der::of(value, der::SEQUENCE)?;
    // The number of further proxies that may follow is optional.
    let (tag, content, after) = der::next(info)?;
    let policy = match tag {
        der::INTEGER => der::of(after, der::SEQUENCE)?.0,
        der::SEQUENCE => content,
        _ => return None,
    };
    let (language, _) = der::of(policy, der::OBJECT)?;
    Some(match language {
        INHERIT_ALL => PolicyLanguage::InheritAll,
        LIMITED => PolicyLanguage::Limited,
        INDEPENDENT => PolicyLanguage::Independent,
        _ => PolicyLanguage::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An element of fewer than 128 bytes.
    fn element(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
        let content = parts.concat();
        let length = u8::try_from(content.len()).expect("it is short");
        [&[tag, length], content.as_slice()].concat()
    }

    fn extension(critical: bool, path_length: Option<u8>, language: &[u8]) -> Vec<u8> {
        let policy = element(der::SEQUENCE, &[&element(der::OBJECT, &[language])]);
        let length = path_length.map_or_else(Vec::new, |length| element(der::INTEGER, &[&[length]]));
        let info = element(der::SEQUENCE, &[&length, &policy]);
        let critical = if critical {
            element(der::BOOLEAN, &[&[0xff]])
        } else {
            Vec::new()
        };
        [critical, element(der::OCTETS, &[&info])].concat()
    }

    #[test]
    fn a_policy_language_is_read_with_and_without_the_optional_fields() {
        let languages = [
            (INHERIT_ALL, PolicyLanguage::InheritAll),
            (LIMITED, PolicyLanguage::Limited),
            (INDEPENDENT, PolicyLanguage::Independent),
            (&[0x2a, 3, 4][..], PolicyLanguage::Other),
        ];
        for (oid, expected) in languages {
            for critical in [true, false] {
                for path_length in [None, Some(0), Some(3)] {
                    let rest = extension(critical, path_length, oid);
                    assert_eq!(language(&rest), Some(expected));
                    for cut in 0..rest.len() {
                        assert_eq!(language(&rest[..cut]), None, "{cut} bytes");
                    }
                }
            }
        }
    }
}
