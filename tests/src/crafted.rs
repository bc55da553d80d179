//! Crafted components that no toolchain builds: with another world, another version, imports, or functions that never
//! return. They are made from WIT and WAT, so that each differs from a valid one in one property.

use wit_component::{ComponentEncoder, StringEncoding, dummy_module, embed_component_metadata};
use wit_parser::{LiftLowerAbi, ManglingAndAbi, Resolve};

/// The WIT of the contract.
pub const CONTRACT: &str = include_str!("../../policies/wit/rules.wit");

/// A component for a world of this WIT whose functions all trap.
pub fn of_world(wit: &str, world: &str) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("crafted.wit", wit).expect("legal WIT");
    let world = resolve
        .select_world(&[package], Some(world))
        .expect("the world is there");
    let abi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let mut core = dummy_module(&resolve, world, abi);
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("it takes the metadata");
    encode(&core)
}

/// A threshold rule whose core module is this WAT.
pub fn threshold(core: &str) -> Vec<u8> {
    let mut core = wat::parse_str(core).expect("legal WAT");
    let mut resolve = Resolve::default();
    let package = resolve.push_str("rules.wit", CONTRACT).expect("legal WIT");
    let world = resolve
        .select_world(&[package], Some("threshold"))
        .expect("the world is there");
    embed_component_metadata(&mut core, &resolve, world, StringEncoding::UTF8).expect("it takes the metadata");
    encode(&core)
}

/// The WAT of a threshold rule: what `describe` does, and what else is in the module. Its other functions
/// trap.
pub fn wat(memory_pages: u32, describe: &str, extra: &str) -> String {
    format!(
        r#"(module
            (memory (export "memory") {memory_pages})
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) i32.const 1024)
            (func (export "watchpost:rules/threshold-rule@1.0.0#describe") (result i32) {describe})
            (func (export "watchpost:rules/threshold-rule@1.0.0#check-settings") (param i32 i32) (result i32)
                unreachable)
            (func (export "watchpost:rules/threshold-rule@1.0.0#judge")
                (param i32 i32 i64 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                unreachable)
            {extra})"#
    )
}

/// A manifest at address 2048: four texts, each an address and a length. With it `describe` is
/// `i32.const 2048`.
pub fn manifest(texts: [(u32, u32); 4]) -> String {
    let words = texts.iter().flat_map(|(at, length)| [*at, *length]);
    let bytes: String = words
        .flat_map(u32::to_le_bytes)
        .map(|byte| format!("\\{byte:02x}"))
        .collect();
    format!(r#"(data (i32.const 2048) "{bytes}")"#)
}

fn encode(core: &[u8]) -> Vec<u8> {
    let encoder = ComponentEncoder::default().validate(true).module(core);
    encoder
        .and_then(|mut encoder| encoder.encode())
        .expect("it becomes a component")
}
