//! What is promised of signatures on rules. The first keys and signatures are those of RFC 8032.

use super::*;

fn key() -> PrivateKey {
    PrivateKey::generate().expect("a key")
}

fn trusted(name: &str, key: &PrivateKey) -> TrustedKey {
    TrustedKey {
        name: name.to_owned(),
        key: key.public().expect("a public key"),
    }
}

fn name_of(checked: Result<Option<&TrustedKey>, Failed>) -> Result<Option<&str>, &'static str> {
    checked
        .map(|signer| signer.map(|trusted| trusted.name.as_str()))
        .map_err(|failed| failed.check)
}

#[test]
fn a_signature_of_the_standard_is_valid() {
    // The third example of RFC 8032, 7.1.
    let bytes = |text: &str| -> Vec<u8> {
        let pair = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("digits");
        (0..text.len()).step_by(2).map(pair).collect()
    };
    let public = bytes("fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025");
    let signature = bytes(
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac\
         18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    );
    let key = PublicKey(public.try_into().expect("32 bytes"));
    let signature = Signature::read(&signature).expect("64 bytes");
    assert!(key.verifies(&[0xaf, 0x82], &signature));
    assert!(!key.verifies(&[0xaf, 0x83], &signature));
}

#[test]
fn of_several_keys_the_signer_is_returned() {
    let (ops, dev, untrusted) = (key(), key(), key());
    let required = Provenance {
        trusted_keys: vec![trusted("ops", &ops), trusted("dev", &dev)],
        ..Provenance::default()
    };
    let check = |key: &PrivateKey, bytes: &[u8]| {
        let signature = key.sign(b"rule").expect("signed");
        name_of(required.check(Digest::of(bytes), bytes, Some(&signature))).map(|name| name.map(str::to_owned))
    };
    assert_eq!(check(&ops, b"rule"), Ok(Some("ops".to_owned())));
    assert_eq!(check(&dev, b"rule"), Ok(Some("dev".to_owned())));
    assert_eq!(check(&untrusted, b"rule"), Err(CHECK_TRUSTED_KEY));
    assert_eq!(check(&dev, b"rulE"), Err(CHECK_TRUSTED_KEY), "over other bytes");
}

#[test]
fn a_missing_signature_is_an_error_only_where_it_is_required() {
    let digest = Digest::of(b"rule");
    let check = |require_signature| {
        let required = Provenance {
            require_signature,
            ..Provenance::default()
        };
        name_of(required.check(digest, b"rule", None)).map(|name| name.map(str::to_owned))
    };
    assert_eq!(check(false), Ok(None));
    assert_eq!(check(true), Err(CHECK_SIGNED));
}

#[test]
fn a_signed_component_outside_the_allowlist_is_rejected() {
    let key = key();
    let required = Provenance {
        trusted_keys: vec![trusted("ops", &key)],
        allowed_digests: vec![Digest::of(b"other")],
        ..Provenance::default()
    };
    let signature = key.sign(b"rule").expect("signed");
    let check = |bytes: &[u8], signature| name_of(required.check(Digest::of(bytes), bytes, signature));
    assert_eq!(check(b"rule", Some(&signature)), Err(ALLOWED));
    assert_eq!(check(b"other", None), Ok(None));
}

#[test]
fn a_signature_is_read_raw_or_as_base64() {
    let signature = key().sign(b"rule").expect("signed");
    let text = format!("{signature}\n");
    assert_eq!(Signature::read(signature.as_bytes()), Ok(signature.clone()));
    assert_eq!(Signature::read(text.as_bytes()), Ok(signature.clone()));
    for wrong in [&b""[..], b"-----", &signature.as_bytes()[1..], &text.as_bytes()[4..]] {
        assert_eq!(Signature::read(wrong), Err(InvalidSignatureLength(wrong.len())));
    }
}

#[test]
fn keys_survive_pem_and_private_and_public_keys_are_distinguished() {
    let key = key();
    let (private, public) = (key.to_pem().expect("PEM"), key.public().expect("a key"));
    let pem = public.to_pem().expect("PEM");
    assert_eq!(PublicKey::of_pem(&pem).expect("the same"), public);
    let again = PrivateKey::of_pem(private.as_bytes()).expect("the same");
    assert_eq!(again.public().expect("a key"), public);
    assert!(matches!(PublicKey::of_pem(&private), Err(KeyError::Private)));
    assert!(matches!(PrivateKey::of_pem(pem.as_bytes()), Err(KeyError::Public)));
    assert!(matches!(PublicKey::of_pem("hello"), Err(KeyError::Unreadable)));
    assert!(matches!(PrivateKey::of_pem(b"hello"), Err(KeyError::Unreadable)));
}

#[test]
fn keys_of_other_types_and_encrypted_keys_are_rejected() {
    let other = PKey::generate_x25519().expect("a key");
    let pem = other.public_key_to_pem().expect("PEM");
    let refused = PublicKey::of_pem(std::str::from_utf8(&pem).expect("text"));
    assert!(matches!(refused, Err(KeyError::OtherKind)));
    let pem = other.private_key_to_pem_pkcs8().expect("PEM");
    assert!(matches!(PrivateKey::of_pem(&pem), Err(KeyError::OtherKind)));
    let cipher = openssl::symm::Cipher::aes_128_cbc();
    let locked = key().0.private_key_to_pem_pkcs8_passphrase(cipher, b"secret");
    let refused = PrivateKey::of_pem(&locked.expect("PEM"));
    assert!(matches!(refused, Err(KeyError::Unreadable)));
}
