//! The keys whose signatures on rules are believed: public ones, in the configuration itself or in files that it names.
//! What is done with signatures is for `rules::signing`.

use serde_json::Value;

use super::declare::{Checked, section};
use super::errors::ConfigErrors;
use super::name::PlainName;
use super::origin::SettingLocation;
use super::scalar::refused;
use super::setting::Setting;
use crate::rules::signing::{self, PublicKey};

section! {
    /// A key whose signatures on rules are believed.
    pub struct TrustedKey {
        /// Whose it is: letters, digits, `-`, `_` and `.`; each name once.
        pub name: PlainName,
        /// The public key as `watchpost rules keygen` makes it, or the path of the file that it is in.
        pub key: TrustedKeySetting,
    }
}

impl Checked for TrustedKey {
    fn check_list(all: &[Self], place: &SettingLocation, mistakes: &mut ConfigErrors) {
        for (at, trusted) in all.iter().enumerate() {
            let item = place.item(at);
            let earlier = &all[..at];
            if earlier.iter().any(|earlier| earlier.name == trusted.name) {
                let remedy = format!("\"{}\" names an earlier key; give each a name of its own", trusted.name);
                mistakes.push(item.field("name").mistake(remedy));
            }
            if let Some(same) = earlier.iter().find(|earlier| earlier.key.key == trusted.key.key) {
                let remedy = format!("it is the key of \"{}\"; name each key once", same.name);
                mistakes.push(item.field("key").mistake(remedy));
            }
        }
    }
}

impl TrustedKey {
    /// As those who look at signatures take it.
    pub fn trusted(&self) -> signing::TrustedKey {
        signing::TrustedKey {
            name: self.name.to_string(),
            key: self.key.key.clone(),
        }
    }
}

/// A public key, and how it was given. A file is read with the configuration, so a key that is replaced in it counts
/// from the next SIGHUP on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedKeySetting {
    written: String,
    key: PublicKey,
}

impl Setting for TrustedKeySetting {
    fn kind() -> String {
        "public key or path".to_owned()
    }

    /// No mistake repeats the value, for it may be a private key that somebody took for the public one.
    fn read(value: &Value, place: &SettingLocation, mistakes: &mut ConfigErrors) -> Option<Self> {
        let Some(text) = value.as_str().filter(|text| !text.is_empty() && !text.contains('\0')) else {
            return refused(
                value,
                place,
                mistakes,
                "a public key as PEM, or the path of its file, in quotes",
            );
        };
        let (written, pem) = if text.contains("-----BEGIN") {
            (text.to_owned(), Ok(text.to_owned()))
        } else {
            let path = place.folder.join(text);
            (path.to_string_lossy().into_owned(), std::fs::read_to_string(path))
        };
        let key = pem
            .map_err(|error| format!("the file cannot be read: {error}; name one with a public key"))
            .and_then(|pem| PublicKey::of_pem(&pem).map_err(|error| error.to_string()));
        match key {
            Ok(key) => Some(Self { written, key }),
            Err(remedy) => {
                mistakes.push(place.mistake(remedy));
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
    fn a_key_stands_in_the_configuration_or_in_a_file_beside_it() {
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
    fn what_is_no_public_key_is_a_mistake_that_repeats_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let private = PrivateKey::generate().and_then(|key| key.to_pem()).expect("PEM");
        std::fs::write(folder.path().join("ops.key"), &private).expect("written");
        let check = |key: &str, told: &str| {
            let text = format!("[[rules.trusted_keys]]\nname = 'ops'\nkey = '''{key}'''\n");
            let mistakes = load(folder.path(), &text).expect_err(told).to_string();
            assert!(
                mistakes.contains("rules.trusted_keys[0].key") && mistakes.contains(told),
                "{mistakes}"
            );
            assert!(!mistakes.contains("PRIVATE KEY"), "{mistakes}");
        };
        check(&private, "it is a private key");
        check("ops.key", "it is a private key");
        check("nowhere.pub", "cannot be read");
        check("-----BEGIN NOTHING-----", "it is no PEM");
    }

    #[test]
    fn a_name_and_a_key_are_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let key = PrivateKey::generate()
            .and_then(|key| key.public()?.to_pem())
            .expect("PEM");
        std::fs::write(folder.path().join("a.pub"), key).expect("written");
        let item = "[[rules.trusted_keys]]\nname = 'ops'\nkey = 'a.pub'\n";
        let mistakes = load(folder.path(), &item.repeat(2)).expect_err("twice").to_string();
        assert!(mistakes.contains("names an earlier key"), "{mistakes}");
        assert!(mistakes.contains("it is the key of \"ops\""), "{mistakes}");
    }
}
