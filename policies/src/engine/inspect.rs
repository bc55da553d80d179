//! Looks at what was handed in before any of it runs: is it a component, is it whole, does it keep to our
//! contract. Each no has a name and a remedy.

use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::program::Kind;
use crate::bindings::SPOKEN;
use crate::fault::Refusal;
use crate::limits::Limits;
use crate::words::{LONGEST_NAME, guest_words};

const MAGIC: &[u8; 4] = b"\0asm";
const CORE_MODULE: &[u8; 4] = &[1, 0, 0, 0];
const COMPONENT: &[u8; 4] = &[0x0d, 0, 1, 0];

const PACKAGE: &str = "watchpost:rules/";

/// A rule exports one interface; whoever reads of a dozen others knows what he has before him.
const MOST_EXPORTS: usize = 12;

/// What can be told from the bytes alone.
pub(super) fn bytes(wasm: &[u8], limits: &Limits) -> Result<(), Refusal> {
    if wasm.len() > limits.component_bytes {
        return Err(Refusal::TooLarge {
            bytes: wasm.len(),
            limit_bytes: limits.component_bytes,
        });
    }
    let Some((magic, rest)) = wasm.split_first_chunk::<4>() else {
        let is_beginning = !wasm.is_empty() && MAGIC.starts_with(wasm);
        return Err(if is_beginning {
            Refusal::Truncated
        } else {
            Refusal::NotWebAssembly
        });
    };
    if magic != MAGIC {
        return Err(Refusal::NotWebAssembly);
    }
    match rest.split_first_chunk::<4>() {
        None => Err(Refusal::Truncated),
        Some((CORE_MODULE, _)) => Err(Refusal::CoreModule),
        Some((COMPONENT, sections)) => whole(sections),
        Some(_) => Err(Refusal::UnknownEncoding),
    }
}

/// Sections are a byte and a length, each; the last one has to end where the bytes end.
fn whole(mut sections: &[u8]) -> Result<(), Refusal> {
    while let Some((_kind, rest)) = sections.split_first() {
        let (length, rest) = leb128(rest).ok_or(Refusal::Truncated)?;
        sections = rest.get(length..).ok_or(Refusal::Truncated)?;
    }
    Ok(())
}

fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0usize;
    for (at, byte) in bytes.iter().enumerate().take(5) {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[at + 1..]));
        }
    }
    None
}

/// What can be told from the imports and exports.
pub(super) fn contract(engine: &Engine, component: &Component) -> Result<Kind, Refusal> {
    let its_type = component.component_type();
    if let Some((name, _)) = its_type.imports(engine).next() {
        return Err(Refusal::Import {
            name: guest_words(name, LONGEST_NAME),
            remedy: remedy(name),
        });
    }
    let exports: Vec<String> = its_type
        .exports(engine)
        .filter(|(_, item)| matches!(item.ty, ComponentItem::ComponentInstance(_)))
        .map(|(name, _)| name.to_owned())
        .collect();
    let ours: Vec<_> = exports.iter().filter_map(|name| name.strip_prefix(PACKAGE)).collect();
    let [one] = ours.as_slice() else {
        return Err(wrong_world(&exports));
    };
    let (interface, version) = one.split_once('@').unwrap_or((one, ""));
    let kind = match interface {
        "threshold-rule" => Kind::Threshold,
        "role-rule" => Kind::Role,
        _ => return Err(wrong_world(&exports)),
    };
    // 1.0.0 and 1.0.7 differ in words only; every other number is another contract.
    let minor = version.rsplit_once('.').map_or(version, |(minor, _patch)| minor);
    if minor != SPOKEN {
        return Err(Refusal::WrongVersion {
            found: guest_words(&format!("{PACKAGE}{one}"), LONGEST_NAME),
            spoken: SPOKEN,
        });
    }
    Ok(kind)
}

fn wrong_world(exports: &[String]) -> Refusal {
    let named = exports.iter().take(MOST_EXPORTS);
    let mut names: Vec<_> = named.map(|name| guest_words(name, LONGEST_NAME)).collect();
    let more = exports.len() - names.len();
    if more > 0 {
        names.push(format!("{more} more"));
    }
    Refusal::WrongWorld { exports: names }
}

/// How a toolchain leaves an import out.
fn remedy(import: &str) -> &'static str {
    if import.starts_with("wasi:") {
        "Rust: build for wasm32-unknown-unknown. Python: componentize-py --stub-wasi. JavaScript: componentize \
         with disableFeatures for random, stdio, clocks, http and fetch-event. C: link without the parts of the \
         C library that do input and output"
    } else if import.starts_with(PACKAGE) {
        "A rule exports the contract's interface and does not import it: check the world it is built for"
    } else {
        "Everything a rule needs comes in as arguments"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wasm: &[u8]) -> Result<(), Refusal> {
        bytes(
            wasm,
            &Limits {
                component_bytes: 64,
                ..Limits::default()
            },
        )
    }

    #[test]
    fn what_is_no_component_is_called_by_its_name() {
        assert_eq!(check(b""), Err(Refusal::NotWebAssembly));
        assert_eq!(check(b"<!doctype html>"), Err(Refusal::NotWebAssembly));
        assert_eq!(check(b"\0as"), Err(Refusal::Truncated));
        assert_eq!(check(b"\0asm\x0d\0"), Err(Refusal::Truncated));
        assert_eq!(check(b"\0asm\x01\0\0\0"), Err(Refusal::CoreModule));
        assert_eq!(check(b"\0asm\x77\0\0\0"), Err(Refusal::UnknownEncoding));
        assert_eq!(check(b"\0asm\x0d\0\x01\0"), Ok(()));
        assert_eq!(
            check(&[0; 65]),
            Err(Refusal::TooLarge {
                bytes: 65,
                limit_bytes: 64
            })
        );
    }

    #[test]
    fn a_component_ends_where_its_last_section_ends() {
        let whole = b"\0asm\x0d\0\x01\0\x00\x03\x02hi";
        assert_eq!(check(whole), Ok(()));
        for cut in 9..whole.len() {
            assert_eq!(check(&whole[..cut]), Err(Refusal::Truncated), "cut at {cut}");
        }
        assert_eq!(
            check(b"\0asm\x0d\0\x01\0\x00\xff\xff\xff\xff\xff\xff"),
            Err(Refusal::Truncated)
        );
    }
}
