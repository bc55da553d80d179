//! The standard input of the compiler process: a line of JSON with the recipe, the key that authenticates the result,
//! and the component. Arguments and environment variables are visible to other users of the machine.

use std::io::{self, BufRead, Read, Write};

use watchpost_policies::Recipe;

/// A recipe has about a dozen numbers, so this is ample.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// A component with the parameters of its compilation.
#[derive(Debug, PartialEq, Eq)]
pub struct CompileRequest {
    /// The parameters of the engine.
    pub recipe: Recipe,
    /// The key that authenticates the compiled code.
    pub secret: [u8; 32],
    /// The component (WebAssembly).
    pub wasm: Vec<u8>,
}

impl CompileRequest {
    /// Reads a request written by [`write`].
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

    fn request() -> CompileRequest {
        CompileRequest {
            recipe: Recipe {
                limits: Limits::default(),
                is_pooled: true,
            },
            secret: *b"a key that has a \n within itself",
            wasm: b"\0asm\nand more".to_vec(),
        }
    }

    fn written(request: &CompileRequest) -> Vec<u8> {
        let mut bytes = Vec::new();
        write(&mut bytes, &request.recipe, &request.secret, &request.wasm).expect("memory takes it");
        bytes
    }

    #[test]
    fn a_request_is_read_as_it_was_written() {
        let request = request();
        assert_eq!(
            CompileRequest::read(&mut written(&request).as_slice()).expect("the request is complete"),
            request
        );
    }

    #[test]
    fn a_request_truncated_before_the_component_is_an_error() {
        let request = request();
        let bytes = written(&request);
        let head = bytes.len() - request.wasm.len();
        for length in 0..head {
            assert!(
                CompileRequest::read(&mut &bytes[..length]).is_err(),
                "{length} of {head}"
            );
        }
    }
}
