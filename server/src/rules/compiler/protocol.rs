//! What the process that compiles is told on its standard input: a line of JSON with the recipe, the key for the seal,
//! and the component to the end. Neither arguments nor the environment would do, for others on the machine can read
//! them. Nothing is compiled here. The key authenticates this one result; the key of the cache never leaves the server.

use std::io::{self, BufRead, Read, Write};

use watchpost_policies::Recipe;

/// A recipe is a dozen numbers.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// A component, and what is to be made of it.
#[derive(Debug, PartialEq, Eq)]
pub struct CompileRequest {
    /// For which engine.
    pub recipe: Recipe,
    /// What the code is sealed with.
    pub secret: [u8; 32],
    /// The component.
    pub wasm: Vec<u8>,
}

impl CompileRequest {
    /// What [`write`] wrote.
    pub fn read(from: &mut impl BufRead) -> io::Result<Self> {
        let mut line = Vec::new();
        from.take(MAX_LINE_BYTES).read_until(b'\n', &mut line)?;
        let recipe = serde_json::from_slice(&line)?;
        let mut secret = [0; 32];
        from.read_exact(&mut secret)?;
        let mut wasm = Vec::new();
        from.read_to_end(&mut wasm)?;
        Ok(Self { recipe, secret, wasm })
    }
}

pub(super) fn write(to: &mut dyn Write, recipe: &Recipe, secret: &[u8; 32], wasm: &[u8]) -> io::Result<()> {
    let mut line = serde_json::to_vec(recipe)?;
    line.push(b'\n');
    line.extend(secret);
    to.write_all(&line)?;
    to.write_all(wasm)
}

#[cfg(test)]
mod tests {
    use watchpost_policies::Limits;

    use super::*;

    fn order() -> CompileRequest {
        CompileRequest {
            recipe: Recipe {
                limits: Limits::default(),
                is_pooled: true,
            },
            secret: *b"a key that has a \n within itself",
            wasm: b"\0asm\nand more".to_vec(),
        }
    }

    fn written(order: &CompileRequest) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &order.recipe, &order.secret, &order.wasm).expect("memory takes it");
        bytes
    }

    #[test]
    fn an_order_is_read_as_it_was_written() {
        let order = order();
        assert_eq!(
            CompileRequest::read(&mut written(&order).as_slice()).expect("it is one"),
            order
        );
    }

    #[test]
    fn what_breaks_off_before_the_component_is_no_order() {
        let order = order();
        let bytes = written(&order);
        let head = bytes.len() - order.wasm.len();
        for length in 0..head {
            assert!(
                CompileRequest::read(&mut &bytes[..length]).is_err(),
                "{length} of {head}"
            );
        }
    }
}
