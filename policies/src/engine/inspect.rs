//! Inspects a component before it is compiled: whether it is a complete component and exports a supported contract.
//! Each refusal has a name and a remedy.

use wasmparser::{
    BinaryReader, ComponentExportSectionReader, ComponentExternalKind, ComponentImportSectionReader,
    ImportSectionReader,
};
use wasmtime::Engine;
use wasmtime::component::Component;
use wasmtime::component::types::ComponentItem;

use super::program::Kind;
use crate::bindings::CONTRACT_VERSION;
use crate::fault::ComponentError;
use crate::limits::Limits;
use crate::text_limits::{MAX_NAME_BYTES, MAX_REASON_BYTES, guest_text};

const MAGIC: &[u8; 4] = b"\0asm";
const CORE_MODULE: &[u8; 4] = &[1, 0, 0, 0];
const COMPONENT: &[u8; 4] = &[0x0d, 0, 1, 0];

const PACKAGE: &str = "watchpost:rules/";

/// Maximum number of exports in a message; a rule exports one.
const MAX_EXPORTS: usize = 12;

/// Section ids of a component.
const IMPORTS: u8 = 10;
const EXPORTS: u8 = 11;

/// Section id of a core module.
const CORE_IMPORTS: u8 = 2;

/// Checks that the bytes are a complete component, and returns its sections.
pub(super) fn whole<'b>(wasm: &'b [u8], limits: &Limits) -> Result<&'b [u8], ComponentError> {
    if wasm.len() > limits.component_bytes {
        return Err(ComponentError::TooLarge {
            bytes: wasm.len(),
            limit_bytes: limits.component_bytes,
        });
    }
    let Some((magic, rest)) = wasm.split_first_chunk::<4>() else {
        let is_beginning = !wasm.is_empty() && MAGIC.starts_with(wasm);
        return Err(if is_beginning {
            ComponentError::Truncated
        } else {
            ComponentError::NotWebAssembly
        });
    };
    if magic != MAGIC {
        return Err(ComponentError::NotWebAssembly);
    }
    match rest.split_first_chunk::<4>() {
        None => Err(ComponentError::Truncated),
        Some((CORE_MODULE, sections)) => Err(ComponentError::CoreModule {
            import: first_import(sections),
        }),
        Some((COMPONENT, sections)) => {
            // Truncation is reported before any other error.
            each_section(sections, |_, _| Ok(()))?;
            Ok(sections)
        }
        Some(_) => Err(ComponentError::UnknownEncoding),
    }
}

/// A section is a byte, a length and its content; the last one must end at the end of the bytes.
fn each_section<'b>(
    mut sections: &'b [u8],
    mut visit: impl FnMut(u8, &'b [u8]) -> Result<(), ComponentError>,
) -> Result<(), ComponentError> {
    while let Some((kind, rest)) = sections.split_first() {
        let (length, rest) = leb128(rest).ok_or(ComponentError::Truncated)?;
        let (section, rest) = rest.split_at_checked(length).ok_or(ComponentError::Truncated)?;
        visit(*kind, section)?;
        sections = rest;
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

/// The first import of a core module; `None` if it cannot be read.
fn first_import(sections: &[u8]) -> Option<String> {
    let mut first = None;
    // The module is refused anyway, so other errors do not matter.
    let _ = each_section(sections, |kind, section| {
        if kind == CORE_IMPORTS && first.is_none() {
            let mut imports = ImportSectionReader::new(BinaryReader::new(section, 0))
                .ok()
                .map(|all| all.into_imports());
            let import = imports.as_mut().and_then(|all| all.next()?.ok());
            first = import.map(|import| guest_text(&format!("{}.{}", import.module, import.name), MAX_NAME_BYTES));
        }
        Ok(())
    });
    first
}

/// Checks the names of imports and exports before compilation, within milliseconds. The names may not match the
/// compiled component, so [`contract`] checks again after compilation.
pub(super) fn names(sections: &[u8]) -> Result<(), ComponentError> {
    let mut exports = Exports::default();
    each_section(sections, |kind, section| {
        let reader = BinaryReader::new(section, 0);
        match kind {
            IMPORTS => {
                let mut imports = ComponentImportSectionReader::new(reader).map_err(invalid)?.into_iter();
                let first = imports.next().transpose().map_err(invalid)?;
                first.map_or(Ok(()), |import| Err(imported(import.name.name)))
            }
            EXPORTS => {
                for export in ComponentExportSectionReader::new(reader).map_err(invalid)? {
                    let export = export.map_err(invalid)?;
                    if export.kind == ComponentExternalKind::Instance {
                        exports.push(export.name.name);
                    }
                }
                Ok(())
            }
            _ => Ok(()),
        }
    })?;
    exports.kind().map(drop)
}

/// The kind of a compiled component, by its actual imports and exports.
pub(super) fn contract(engine: &Engine, component: &Component) -> Result<Kind, ComponentError> {
    let its_type = component.component_type();
    if let Some((name, _)) = its_type.imports(engine).next() {
        return Err(imported(name));
    }
    let mut exports = Exports::default();
    for (name, item) in its_type.exports(engine) {
        if matches!(item.ty, ComponentItem::ComponentInstance(_)) {
            exports.push(name);
        }
    }
    exports.kind()
}

/// The interfaces that a component exports. There may be millions, so only those for a message are stored.
#[derive(Default)]
struct Exports {
    count: usize,
    first: Vec<String>,
    contracts: Vec<String>,
}

impl Exports {
    fn push(&mut self, name: &str) {
        self.count += 1;
        if self.first.len() < MAX_EXPORTS {
            self.first.push(guest_text(name, MAX_NAME_BYTES));
        }
        if let Some(contracts) = name.strip_prefix(PACKAGE)
            && self.contracts.len() < 2
        {
            self.contracts.push(contracts.to_owned());
        }
    }

    fn kind(self) -> Result<Kind, ComponentError> {
        let [one] = self.contracts.as_slice() else {
            return Err(self.wrong_world());
        };
        let (interface, version) = one.split_once('@').unwrap_or((one, ""));
        let kind = match interface {
            "threshold-rule" => Kind::Threshold,
            "role-rule" => Kind::Role,
            _ => return Err(self.wrong_world()),
        };
        // 1.0.0 and 1.0.7 differ only in comments; other numbers are other contracts.
        let minor = version.rsplit_once('.').map_or(version, |(minor, _patch)| minor);
        if minor != CONTRACT_VERSION {
            return Err(ComponentError::WrongVersion {
                found: guest_text(&format!("{PACKAGE}{one}"), MAX_NAME_BYTES),
                spoken: CONTRACT_VERSION,
            });
        }
        Ok(kind)
    }

    fn wrong_world(self) -> ComponentError {
        let mut exports = self.first;
        let more = self.count - exports.len();
        if more > 0 {
            exports.push(format!("{more} more"));
        }
        ComponentError::WrongExports { exports }
    }
}

fn imported(name: &str) -> ComponentError {
    ComponentError::Import {
        name: guest_text(name, MAX_NAME_BYTES),
        remedy: remedy(name),
    }
}

fn invalid(error: wasmparser::BinaryReaderError) -> ComponentError {
    ComponentError::Invalid {
        reason: guest_text(error.message(), MAX_REASON_BYTES),
    }
}

/// How to avoid an import with the usual toolchains.
fn remedy(import: &str) -> &'static str {
    if import.starts_with("wasi:") {
        "Rust: build for wasm32-unknown-unknown. Python: componentize-py --stub-wasi. JavaScript: componentize \
         with disableFeatures for random, stdio, clocks, http and fetch-event. C: link without the parts of the \
         C library that do input and output"
    } else if import.starts_with(PACKAGE) {
        "A rule exports the interface of the contract and does not import it: check the world of the build"
    } else {
        "A rule gets all its input as arguments"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exports_nothing() -> Result<(), ComponentError> {
        Err(ComponentError::WrongExports { exports: Vec::new() })
    }

    fn check(wasm: &[u8]) -> Result<(), ComponentError> {
        let limits = Limits {
            component_bytes: 64,
            ..Limits::default()
        };
        names(whole(wasm, &limits)?)
    }

    #[test]
    fn each_kind_of_non_component_has_its_refusal() {
        assert_eq!(check(b""), Err(ComponentError::NotWebAssembly));
        assert_eq!(check(b"<!doctype html>"), Err(ComponentError::NotWebAssembly));
        assert_eq!(check(b"\0as"), Err(ComponentError::Truncated));
        assert_eq!(check(b"\0asm\x0d\0"), Err(ComponentError::Truncated));
        assert_eq!(
            check(b"\0asm\x01\0\0\0"),
            Err(ComponentError::CoreModule { import: None })
        );
        assert_eq!(check(b"\0asm\x77\0\0\0"), Err(ComponentError::UnknownEncoding));
        assert_eq!(check(b"\0asm\x0d\0\x01\0"), exports_nothing());
        assert_eq!(
            check(&[0; 65]),
            Err(ComponentError::TooLarge {
                bytes: 65,
                limit_bytes: 64
            })
        );
    }

    #[test]
    fn a_component_ends_where_its_last_section_ends() {
        let whole = b"\0asm\x0d\0\x01\0\x00\x03\x02hi";
        assert_eq!(check(whole), exports_nothing());
        for cut in 9..whole.len() {
            assert_eq!(check(&whole[..cut]), Err(ComponentError::Truncated), "cut at {cut}");
        }
        assert_eq!(
            check(b"\0asm\x0d\0\x01\0\x00\xff\xff\xff\xff\xff\xff"),
            Err(ComponentError::Truncated)
        );
    }
}
