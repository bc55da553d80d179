//! The trusted public keys that rule signatures are verified with, inline or in files. Signatures are verified
//! in `rules::signing`.

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::name::PlainName;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use crate::rules::signing::{self, PublicKey};

section! {
    /// A key that rule signatures are verified with.
    pub struct TrustedKey {
        /// The name of the key: letters, digits, `-`, `_` and `.`. Names are unique.
        pub name: PlainName,
        /// The public key as `watchpost rules keygen` prints it, or the path of its file.
        pub key: TrustedKeySetting,
    }
}

impl Checked for TrustedKey {
    fn check_list(all: &[Self], location: &SettingLocation, errors: &mut ConfigErrors) {
        for (at, trusted) in all.iter().enumerate() {
            let item = location.item(at);
            let earlier = &all[..at];
            if earlier.iter().any(|earlier| earlier.name == trusted.name) {
                let remedy = format!(
                    "\"{}\" is already the name of a key; give each key a unique name",
                    trusted.name
                );
                errors.push(item.field("name").error(remedy));
            }
            if let Some(same) = earlier.iter().find(|earlier| earlier.key.key == trusted.key.key) {
                let remedy = format!("same key as \"{}\"; list each key once", same.name);
                errors.push(item.field("key").error(remedy));
            }
        }
    }
}

impl TrustedKey {
    /// Converts to the key of `rules::signing`.
    pub fn trusted(&self) -> signing::TrustedKey {
        signing::TrustedKey {
            name: self.name.to_string(),
            key: self.key.key.clone(),
        }
    }
}

/// A public key, inline or in a file. The file is read with the configuration, so replacing the key in it takes
/// effect at the next SIGHUP.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeySetting {
    written: String,
    key: PublicKey,
}

impl Setting for TrustedKeySetting {
    fn kind() -> String {
        "public key or path".to_owned()
    }

    /// No error repeats the value, because it may be a private key by error.
    fn read(value: &Value, location: &SettingLocation, errors: &mut ConfigErrors) -> Option<Self> {
        let Some(text) = value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')) else {
            return refused(
                value,
                location,
                errors,
                "a public key as PEM, or the path of its file, in quotes",
            );
        };
        let (written, pem) = if text.contains("-----BEGIN") {
            (text.to_owned(), Ok(text.to_owned()))
        } else {
            let path = location.folder.join(text);
            (path.to_string_lossy().into_owned(), std::fs::read_to_string(path))
        };
        let key = pem
            .map_err(|error| format!("cannot read the file: {error}; name a file with a public key"))
            .and_then(|pem| PublicKey::of_pem(&pem).map_err(|error| error.to_string()));
        match key {
            Ok(key) => Some(Self { written, key }),
            Err(remedy) => {
                errors.push(location.error(remedy));
                None
            }
        }
    }

    fn written(&self) -> Value {
        Value::from(self.written.as_str())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, ConfigErrors, Sources};
    use crate::rules::signing::PrivateKey;

    fn load(folder: &Path, text: &str) -> Result<Config, ConfigErrors> {
        let file = folder.join("watchpost.toml");
        std::fs::write(&file, text).expect("written");
        Config::load(&Sources {
            file: Some(file),
            ..Sources::default()
        })
    }

    #[test]
    fn a_key_is_inline_or_in_a_file() {
        let folder = tempfile::tempdir().expect("a folder");
        let [one, other] = [(); 2].map(|()| PrivateKey::generate().expect("a key"));
        let public = |key: &PrivateKey| key.public().expect("a key");
        let pem = |key: &PrivateKey| public(key).to_pem().expect("PEM");
        std::fs::write(folder.path().join("ops.pub"), pem(&one)).expect("written");
        let item = |name: &str, key: &str| format!("[[rules.trusted_keys]]\nname = '{name}'\nkey = '''{key}'''\n");
        let text = item("ops", "ops.pub") + &item("dev", &pem(&other));
        let config = load(folder.path(), &text).expect("it is right");
        let known: Vec<_> = config.rules.trusted_keys.iter().map(TrustedKey::trusted).collect();
        let named = |name: &str, key: &PrivateKey| signing::TrustedKey {
            name: name.to_owned(),
            key: public(key),
        };
        assert_eq!(known, [named("ops", &one), named("dev", &other)]);
        let again = load(folder.path(), &config.show()).expect("what is shown can be read");
        assert_eq!(again.rules, config.rules);
    }

    #[test]
    fn an_invalid_key_is_not_repeated_in_the_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let private = PrivateKey::generate().and_then(|key| key.to_pem()).expect("PEM");
        std::fs::write(folder.path().join("ops.key"), &private).expect("written");
        let check = |key: &str, expected: &str| {
            let text = format!("[[rules.trusted_keys]]\nname = 'ops'\nkey = '''{key}'''\n");
            let errors = load(folder.path(), &text).expect_err(expected).to_string();
            assert!(
                errors.contains("rules.trusted_keys[0].key") && errors.contains(expected),
                "{errors}"
            );
            assert!(!errors.contains("PRIVATE KEY"), "{errors}");
        };
        check(&private, "this is a private key");
        check("ops.key", "this is a private key");
        check("nowhere.pub", "cannot read the file");
        check("-----BEGIN NOTHING-----", "not a PEM key");
    }

    #[test]
    fn names_and_keys_are_unique() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = PrivateKey::generate()
            .and_then(|key| key.public()?.to_pem())
            .expect("PEM");
        std::fs::write(folder.path().join("a.pub"), key).expect("written");
        let item = "[[rules.trusted_keys]]\nname = 'ops'\nkey = 'a.pub'\n";
        let errors = load(folder.path(), &item.repeat(2)).expect_err("twice").to_string();
        assert!(errors.contains("is already the name of a key"), "{errors}");
        assert!(errors.contains("same key as \"ops\""), "{errors}");
    }
}
