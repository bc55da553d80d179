//! Verifies client certificates: the chain, the owner behind proxy certificates, and until when the result holds.
//! `identity` caches the results; the handshake verifies by itself with the same store.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::stack::Stack;
use openssl::x509::store::X509Store;
use openssl::x509::{X509, X509Ref, X509StoreContext, X509VerifyResult};
use watchpost_policies::ProxyKind;

use super::material::{Material, TlsError, seconds};
use super::proxy::{PolicyLanguage, policy_language};
use super::rejection::{RejectReason, of_verify_result};

/// Which proxy certificates are accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptedProxies {
    /// Whether proxies with all rights of their owners are accepted.
    pub full: bool,
    /// Whether limited proxies are accepted too.
    pub limited: bool,
}

/// A verified client certificate.
pub(super) struct Verified {
    /// The certificate that identifies the client: the first of the chain that is no proxy.
    pub(super) owner: X509,
    /// The most limited proxy certificate between the client and the owner.
    pub(super) proxy: Option<ProxyKind>,
    /// Whether the chain ends at the server's own development authority.
    pub(super) is_development: bool,
}

/// Why a client certificate is rejected.
#[derive(Debug, thiserror::Error)]
pub enum ClientRefused {
    /// Verification failed.
    #[error("the certificate is not accepted: {}", .0.explanation())]
    Verdict(RejectReason),
    /// The owner's own certificate, without the proxy certificates that the owner signed, failed verification.
    #[error("the owner of the proxy certificate is not accepted: {}", .0.explanation())]
    Owner(RejectReason),
    /// The proxy certificate delegates fewer rights than all.
    #[error(
        "the proxy certificate is not accepted: its policy language is not id-ppl-inheritAll; create one that delegates \
         all rights, as `voms-proxy-init -rfc` does"
    )]
    PolicyLanguage,
    /// The proxy certificate is a limited one.
    #[error(
        "limited proxy certificates are not accepted; create one without `-limited`, or let the operator set \
         tls.limited_proxies"
    )]
    LimitedProxy,
    /// A certificate of the chain cannot be parsed.
    #[error("a certificate of the chain is not encoded as DER")]
    Encoding,
    /// OpenSSL failed.
    #[error("the certificate could not be checked")]
    Failed(#[from] ErrorStack),
}

/// Verifies client certificates under one set of authorities and revocation lists.
pub(super) struct Verifier {
    /// For the certificates that clients send.
    store: X509Store,
    /// For the owners of proxy certificates: the same, without proxies.
    owners: X509Store,
    accepted: AcceptedProxies,
    development_ca: Option<Vec<u8>>,
    boundaries: Vec<i64>,
}

impl Verifier {
    pub(super) fn new(material: &Material, accepted: AcceptedProxies) -> Result<Self, TlsError> {
        let development_ca = material.development_ca().map(fingerprint).transpose()?;
        Ok(Self {
            store: material.trusted(accepted.full)?,
            owners: material.trusted(false)?,
            accepted,
            development_ca,
            boundaries: material.boundaries()?,
        })
    }

    /// Verifies a certificate at the current time. `chain` is the rest of what the client sent.
    pub(super) fn verify(&self, certificate: &X509Ref, chain: &[X509]) -> Result<Verified, ClientRefused> {
        let verified = verified_chain(&self.store, certificate, chain, ClientRefused::Verdict)?;
        let mut proxy = None;
        let mut owner = None;
        for (at, link) in verified.iter().enumerate() {
            match policy_language(link).map_err(|_| ClientRefused::Encoding)? {
                None => {
                    owner = Some(at);
                    break;
                }
                Some(PolicyLanguage::InheritAll) => proxy = proxy.or(Some(ProxyKind::Full)),
                Some(PolicyLanguage::Limited) if self.accepted.limited => proxy = Some(ProxyKind::Limited),
                Some(PolicyLanguage::Limited) => return Err(ClientRefused::LimitedProxy),
                Some(PolicyLanguage::Independent | PolicyLanguage::Other) => return Err(ClientRefused::PolicyLanguage),
            }
        }
        let owner = owner.ok_or(ClientRefused::Encoding)?;
        // If not every authority has a revocation list, OpenSSL looks up the first certificate only, and no proxy is in
        // a list: without this, a revoked client would be accepted with a proxy that it signs for itself.
        let verified = match proxy {
            None => verified,
            Some(_) => verified_chain(
                &self.owners,
                &verified[owner],
                &verified[owner + 1..],
                ClientRefused::Owner,
            )?,
        };
        let [first, ..] = verified.as_slice() else {
            return Err(ClientRefused::Encoding);
        };
        let anchor = verified.last().map(fingerprint).transpose()?;
        Ok(Verified {
            owner: first.clone(),
            proxy,
            is_development: self.development_ca.is_some() && anchor == self.development_ca,
        })
    }

    /// The period around this time in which the same certificates have the same result, as far as time decides it.
    /// `own` are the boundaries of the certificates that the client sent.
    pub(super) fn period(&self, now: i64, own: &[i64]) -> Period {
        Period::around(now, self.boundaries.iter().chain(own).copied())
    }
}

/// A period in seconds since 1970 (UTC): `since` belongs to it, `until` does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    pub(super) since: i64,
    pub(super) until: i64,
}

impl Period {
    /// The period between two boundaries. OpenSSL reads the time from a clock that may be a few milliseconds behind the
    /// one that `now` is from. So the second after a boundary is a period of its own: a result of the time before cannot
    /// last for longer.
    fn around(now: i64, boundaries: impl Iterator<Item = i64>) -> Self {
        let mut period = Self {
            since: i64::MIN,
            until: i64::MAX,
        };
        for time in boundaries.flat_map(|time| [time, time.saturating_add(1)]) {
            if time <= now {
                period.since = period.since.max(time);
            } else {
                period.until = period.until.min(time);
            }
        }
        period
    }

    pub(super) fn contains(&self, time: i64) -> bool {
        self.since <= time && time < self.until
    }
}

/// The times at which the validity of certificates begins or ends.
pub(super) fn boundaries<'c>(certificates: impl IntoIterator<Item = &'c X509Ref>) -> Result<Vec<i64>, ErrorStack> {
    let mut times = Vec::new();
    for certificate in certificates {
        times.extend([seconds(certificate.not_before())?, seconds(certificate.not_after())?]);
    }
    Ok(times)
}

fn fingerprint(certificate: impl AsRef<X509Ref>) -> Result<Vec<u8>, ErrorStack> {
    Ok(certificate.as_ref().digest(MessageDigest::sha256())?.to_vec())
}

/// The chain from the certificate to an authority of the store.
fn verified_chain(
    store: &X509Store,
    certificate: &X509Ref,
    chain: &[X509],
    refused: impl FnOnce(RejectReason) -> ClientRefused,
) -> Result<Vec<X509>, ClientRefused> {
    let mut untrusted = Stack::new()?;
    for link in chain {
        untrusted.push(link.clone())?;
    }
    let mut context = X509StoreContext::new()?;
    let verified = context.init(store, certificate, &untrusted, |context| {
        context.verify_cert()?;
        let chain = context.chain().into_iter().flatten();
        Ok((context.error(), chain.map(ToOwned::to_owned).collect::<Vec<X509>>()))
    });
    // A failed verification leaves errors in the queue of the thread, and OpenSSL would take them for errors of the next
    // connection that this thread reads from.
    let _ = ErrorStack::get();
    let (result, chain) = verified?;
    match result {
        X509VerifyResult::OK => Ok(chain),
        failed => Err(refused(of_verify_result(failed.as_raw()))),
    }
}

#[cfg(test)]
mod tests {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::store::X509StoreBuilder;
    use openssl::x509::{X509Builder, X509NameBuilder};

    use super::*;

    /// A certificate that signs itself, in DER, and the position of the first byte of its public key's point.
    fn self_signed() -> Result<(Vec<u8>, usize), ErrorStack> {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1)?;
        let key = PKey::from_ec_key(EcKey::generate(&group)?)?;
        let mut name = X509NameBuilder::new()?;
        name.append_entry_by_text("CN", "ada")?;
        let name = name.build();
        let mut builder = X509Builder::new()?;
        builder.set_version(2)?;
        builder.set_subject_name(&name)?;
        builder.set_issuer_name(&name)?;
        builder.set_pubkey(&key)?;
        builder.set_not_before(Asn1Time::days_from_now(0)?.as_ref())?;
        builder.set_not_after(Asn1Time::days_from_now(1)?.as_ref())?;
        builder.sign(&key, MessageDigest::sha256())?;
        let der = builder.build().to_der()?;
        let public = key.public_key_to_der()?;
        let point = &public[public.len() - 65..];
        let at = der.windows(point.len()).position(|window| window == point);
        Ok((der, at.expect("the certificate has its key")))
    }

    #[test]
    fn a_failed_verification_leaves_no_error_for_the_connections_of_the_thread() {
        let (mut der, point) = self_signed().expect("a certificate");
        // No form of a point begins with this byte.
        der[point] = 5;
        let certificate = X509::from_der(&der).expect("the key is decoded later");
        let store = X509StoreBuilder::new().expect("a store").build();
        let refused = verified_chain(&store, &certificate, &[], ClientRefused::Verdict);
        assert!(matches!(refused, Err(ClientRefused::Verdict(_))));
        assert_eq!(ErrorStack::get().errors().len(), 0);
    }

    #[test]
    fn a_period_lies_between_two_boundaries_and_the_second_after_each_is_one_of_its_own() {
        let around = |now| Period::around(now, [20, 10].into_iter());
        assert_eq!(
            around(5),
            Period {
                since: i64::MIN,
                until: 10
            }
        );
        assert_eq!(around(10), Period { since: 10, until: 11 });
        assert_eq!(around(15), Period { since: 11, until: 20 });
        assert_eq!(around(20), Period { since: 20, until: 21 });
        assert_eq!(
            around(21),
            Period {
                since: 21,
                until: i64::MAX
            }
        );
        let period = around(15);
        assert!(!period.contains(10) && period.contains(11) && period.contains(19) && !period.contains(20));
    }
}
