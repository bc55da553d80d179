//! Writes the initial corpora of the fuzz targets, which find errors much faster from valid input, and the authority that
//! their certificates are from. `make fuzz` runs it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Parser;
use serde_json::Value;
use watchpost_tests::authority::{A_DAY, Holder, INDEPENDENT, INHERIT_ALL, LIMITED, UNKNOWN};
use watchpost_tests::crafted::{CONTRACT, manifest, of_world, threshold, wat};
use watchpost_tests::guests::{ALLOW_ALL, HOSTILE, LOCKOUT_RULE, ROLE, THRESHOLD};
use watchpost_tests::rules::gzip;

#[derive(Parser)]
struct Arguments {
    /// The folder of the fuzz targets.
    folder: PathBuf,
}

fn main() -> io::Result<()> {
    let Arguments { folder } = Arguments::parse();
    let corpus = |target: &str, seeds: &[Vec<u8>]| -> io::Result<()> {
        let folder = folder.join("corpus").join(target);
        fs::create_dir_all(&folder)?;
        for (at, seed) in seeds.iter().enumerate() {
            fs::write(folder.join(format!("seed-{at}")), seed)?;
        }
        Ok(())
    };
    let chains = chains(&folder.join("authority"))?;
    corpus(
        "certificates",
        &chains.iter().map(|chain| binary(chain)).collect::<Vec<_>>(),
    )?;
    corpus("compile", &rules())?;
    corpus("configuration", &configurations())?;
    corpus(
        "forwarding_headers",
        &chains.iter().map(|chain| headers(chain)).collect::<Vec<_>>(),
    )?;
    corpus("history_codec", &windows())?;
    corpus("json_body", &bodies())?;
    corpus("rule_answer", &[vec![0; 64], vec![1; 64]])
}

fn rules() -> Vec<Vec<u8>> {
    let mut rules = [THRESHOLD, ROLE, HOSTILE, LOCKOUT_RULE, ALLOW_ALL]
        .map(<[u8]>::to_vec)
        .to_vec();
    // Small components, in which a mutation is more likely to matter.
    let extra = format!("{} {}", manifest([(3000, 1); 4]), r#"(data (i32.const 3000) "x")"#);
    rules.extend([
        threshold(&wat(1, "i32.const 2048", &extra)),
        of_world(CONTRACT, "threshold"),
        of_world(CONTRACT, "role"),
    ]);
    rules
}

/// The chains of clients with and without proxy certificates, in DER. Their authority is written to the folder.
fn chains(authority: &Path) -> io::Result<Vec<Vec<Vec<u8>>>> {
    fs::create_dir_all(authority)?;
    let root = Holder::root("CN=Fuzz");
    root.write(authority, "ca");
    root.issue("CN=server", &["localhost"], A_DAY)
        .write(authority, "server");
    let middle = root.intermediate("CN=Middle");
    let mut clients = vec![
        root.issue("CN=ada,O=Example,OU=reader", &[], A_DAY),
        root.issue("CN=front,O=Example", &["front.example", "*.example"], A_DAY),
        root.issue("CN=late", &[], -7200..-3600),
    ];
    let mut of_middle = middle.issue("CN=grace", &["grace.example"], A_DAY);
    of_middle.chain.push(middle.certificate.clone());
    clients.push(of_middle);
    for language in [INHERIT_ALL, LIMITED, INDEPENDENT, UNKNOWN] {
        let proxy = clients[0].proxy(language, A_DAY);
        clients.push(proxy.proxy(language, A_DAY));
        clients.push(proxy);
    }
    let der = |holder: &Holder| {
        let chain = std::iter::once(&holder.certificate).chain(&holder.chain);
        chain.map(|link| link.to_der().expect("DER")).collect()
    };
    Ok(clients.iter().map(der).collect())
}

fn binary(chain: &[Vec<u8>]) -> Vec<u8> {
    let part = |der: &Vec<u8>| {
        let length = u16::try_from(der.len()).expect("a short certificate");
        [&length.to_le_bytes(), der.as_slice()].concat()
    };
    chain.iter().flat_map(part).collect()
}

fn headers(chain: &[Vec<u8>]) -> Vec<u8> {
    let field = |der: &Vec<u8>| format!(":{}:", openssl::base64::encode_block(der));
    let (first, rest) = chain.split_first().expect("a client");
    let rest: Vec<String> = rest.iter().map(field).collect();
    let addresses = "192.0.2.1, [2001:db8::1]:443, 10.0.0.1";
    format!("{}\n{addresses}\n{}", field(first), rest.join(", ")).into_bytes()
}

/// The example configuration and short ones, each in the forms that the target distinguishes by the first byte.
fn configurations() -> Vec<Vec<u8>> {
    let example = include_str!("../../../deploy/watchpost.toml");
    let toml = "[log]\nlevel = \"debug\"\n[[listeners]]\naddress = \"[::1]:8443\"\ntls = false\n[rules.threshold]\n\
                metrics = { disk = { warning = 80 } }\n";
    let yaml = "log: {level: debug}\nlisteners:\n- address: '[::1]:8443'\n  tls: false\ncollector:\n  interval: 15s\n";
    let variables = "WATCHPOST_LOG__LEVEL=debug\nWATCHPOST_LISTENERS=[{\"address\":\"127.0.0.1:1\"}]\nDISK_LIMIT=80\n\
                     server.workers=3\n";
    let forms = [(0, example), (0, toml), (1, yaml), (2, variables)];
    let seeds = forms
        .iter()
        .flat_map(|(form, text)| (0..8_u8).map(move |secret| [&[secret * 4 + form], text.as_bytes()].concat()));
    seeds.collect()
}

/// Windows of one series that rises, one that stays and one without order; 18 bytes for each sample.
fn windows() -> Vec<Vec<u8>> {
    let window = |value: fn(u64) -> f64| -> Vec<u8> {
        let sample = |at: u64| {
            let time = (1_790_000_000_000 + at * 15_000).to_le_bytes();
            [&[0, 15][..], &time, &value(at).to_le_bytes()].concat()
        };
        (0..100).flat_map(sample).collect()
    };
    vec![
        window(|at| at as f64),
        window(|_| 42.5),
        window(|at| (at as f64 * 0.7).sin() * 1e9),
    ]
}

/// Each example of a body as the body of each request, and some of them compressed.
fn bodies() -> Vec<Vec<u8>> {
    let examples = include_str!("../../../server/src/api/document/examples.json");
    let examples: Value = serde_json::from_str(examples).expect("the examples are JSON");
    let twice = br#"{"a": [1, {"b": null, "b": -2.5e3}]}"#.to_vec();
    let names = [
        "Activation",
        "ChangeOptions",
        "ChunkChange",
        "ChunkReport",
        "ChunkReports",
        "GenerationSignature",
        "RuleSettings",
        "TrialRequest",
    ];
    let mut texts: Vec<Vec<u8>> = names.map(|name| examples[name].to_string().into_bytes()).to_vec();
    texts.push(twice);
    let mut seeds = Vec::new();
    for text in &texts {
        seeds.extend((0..7_u8).map(|kind| [&[kind], text.as_slice()].concat()));
        seeds.push([&[7], gzip(text).as_slice()].concat());
    }
    seeds
}
