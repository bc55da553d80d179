//! Examples of all commands, for the help and the manual pages. A test parses each of them.

/// A command line and its purpose.
pub(super) struct Example {
    pub(super) purpose: &'static str,
    pub(super) line: &'static str,
}

/// The examples of a command, by its path: `watchpost rules push`.
pub(super) fn of(path: &str) -> &'static [Example] {
    let found = ALL.iter().find(|(known, _)| *known == path);
    found.map_or(&[], |(_, examples)| examples)
}

const fn to(purpose: &'static str, line: &'static str) -> Example {
    Example { purpose, line }
}

const ALL: &[(&str, &[Example])] = &[
    (
        "watchpost",
        &[
            to(
                "Start a server with its own certificates and data in ./watchpost-data",
                "watchpost",
            ),
            to(
                "Start a server with a configuration file",
                "watchpost -c watchpost.toml",
            ),
            to("Show what the rules find on this machine", "watchpost report"),
        ],
    ),
    (
        "watchpost serve",
        &[
            to(
                "Start a server and log its decisions in detail",
                "watchpost serve -c watchpost.toml -v",
            ),
            to(
                "Let the system choose the port, and write the address to a file",
                "watchpost serve --set listeners='[{\"address\": \"127.0.0.1:0\"}]' --ready-file ready.json",
            ),
        ],
    ),
    (
        "watchpost check",
        &[
            to(
                "Check a configuration before a restart",
                "watchpost check -c /etc/watchpost/watchpost.toml",
            ),
            to("List all problems for a program", "watchpost check --json"),
        ],
    ),
    (
        "watchpost audit",
        &[to(
            "Verify the audit file in ./watchpost-data",
            "watchpost audit verify",
        )],
    ),
    (
        "watchpost audit verify",
        &[
            to(
                "Verify the audit file of a configuration",
                "watchpost audit verify -c /etc/watchpost/watchpost.toml",
            ),
            to(
                "Verify that it continues a chain whose head was kept elsewhere",
                "watchpost audit verify --head 1204:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
            ),
        ],
    ),
    (
        "watchpost metrics",
        &[
            to(
                "List the metrics of this machine with their values",
                "watchpost metrics",
            ),
            to(
                "List the metrics of file systems for a program",
                "watchpost metrics 'node_filesystem_*' --json",
            ),
        ],
    ),
    (
        "watchpost certs export",
        &[
            to(
                "Write a file that a browser can import",
                "watchpost certs export alice alice.p12",
            ),
            to(
                "Write one for macOS and iOS",
                "watchpost certs export alice alice.p12 --legacy-encryption",
            ),
        ],
    ),
    (
        "watchpost status",
        &[
            to("Show the state of the server on this machine", "watchpost status"),
            to(
                "Show the state of another server",
                "watchpost status --server https://edge-1:8443 --cacert ca.crt --cert reader.crt --key reader.key",
            ),
        ],
    ),
    (
        "watchpost report",
        &[
            to("Show the findings of this machine, the worst first", "watchpost report"),
            to("Watch the findings of this machine", "watchpost report --watch"),
            to(
                "Check another server from a monitoring system",
                "watchpost report --server https://edge-1:8443 --cacert ca.crt --token-file token",
            ),
        ],
    ),
    (
        "watchpost top",
        &[
            to("Watch the measurements of this machine", "watchpost top"),
            to("Refresh them every ten seconds", "watchpost top --interval 10"),
        ],
    ),
    (
        "watchpost healthcheck",
        &[
            to(
                "Query the first listener of the configuration",
                "watchpost healthcheck -c watchpost.toml",
            ),
            to(
                "Query a URL, and print nothing",
                "watchpost healthcheck -q --url http://127.0.0.1:8080/health/ready",
            ),
        ],
    ),
    (
        "watchpost certs",
        &[to("List the issued certificates", "watchpost certs list")],
    ),
    (
        "watchpost certs init",
        &[to(
            "Create the certificates before the first start",
            "watchpost certs init --data-dir data",
        )],
    ),
    (
        "watchpost certs issue",
        &[
            to(
                "Issue a certificate that may read",
                "watchpost certs issue alice --role reader",
            ),
            to(
                "Renew it in a script",
                "watchpost certs issue alice --role reader --renew",
            ),
        ],
    ),
    (
        "watchpost certs revoke",
        &[to(
            "Revoke all certificates of a client",
            "watchpost certs revoke alice",
        )],
    ),
    (
        "watchpost certs list",
        &[to("List the certificates for a program", "watchpost certs list --json")],
    ),
    (
        "watchpost rules",
        &[
            to("Create a rule", "watchpost rules new weekend --lang rust"),
            to(
                "List the rules of a server",
                "watchpost rules list --server https://localhost:8443 --cacert ca.crt",
            ),
        ],
    ),
    (
        "watchpost rules new",
        &[
            to(
                "Create a threshold rule in Rust",
                "watchpost rules new weekend --lang rust",
            ),
            to(
                "Create a role rule",
                "watchpost rules new office-hours --lang rust --kind role",
            ),
        ],
    ),
    (
        "watchpost rules pack",
        &[to(
            "Pack the output of a compiler",
            "watchpost rules pack weekend.wasm -o rule.wasm",
        )],
    ),
    (
        "watchpost rules check",
        &[to(
            "Check a rule with settings",
            "watchpost rules check rule.wasm --settings settings.json",
        )],
    ),
    (
        "watchpost rules run",
        &[
            to(
                "Evaluate a stored snapshot",
                "watchpost rules run rule.wasm --snapshot snapshot.json",
            ),
            to(
                "Evaluate the latest snapshot of a server",
                "watchpost rules run rule.wasm --live https://localhost:8443 --cacert ca.crt --token-file token",
            ),
        ],
    ),
    (
        "watchpost rules test",
        &[to(
            "Run some test cases",
            "watchpost rules test rule.wasm --cases cases.toml --filter weekend",
        )],
    ),
    (
        "watchpost rules bench",
        &[to(
            "Measure a rule on ten thousand samples",
            "watchpost rules bench rule.wasm --samples 10000",
        )],
    ),
    (
        "watchpost rules list",
        &[to(
            "List the rules of the server in WATCHPOST_SERVER",
            "watchpost rules list --cacert ca.crt --token-file token",
        )],
    ),
    (
        "watchpost rules show",
        &[to(
            "Show the versions and settings of a rule",
            "watchpost rules show weekend --server https://localhost:8443",
        )],
    ),
    (
        "watchpost rules push",
        &[
            to(
                "Upload a rule",
                "watchpost rules push rule.wasm --note 'quiet on weekends'",
            ),
            to(
                "Upload a rule, and activate it if it passes the checks",
                "watchpost rules push rule.wasm --activate",
            ),
        ],
    ),
    (
        "watchpost rules trial",
        &[to(
            "Replay the last day",
            "watchpost rules trial weekend 0123abcd --from -1d",
        )],
    ),
    (
        "watchpost rules shadow",
        &[to(
            "Run a version in shadow mode",
            "watchpost rules shadow weekend 0123abcd",
        )],
    ),
    (
        "watchpost rules activate",
        &[to(
            "Activate a version with settings",
            "watchpost rules activate weekend 0123abcd --settings settings.json",
        )],
    ),
    (
        "watchpost rules rollback",
        &[to(
            "Undo the last change of a rule",
            "watchpost rules rollback weekend --note 'too many alerts'",
        )],
    ),
    (
        "watchpost rules settings",
        &[
            to(
                "Print the settings of a rule",
                "watchpost rules settings threshold > settings.json",
            ),
            to(
                "Replace the settings of a rule",
                "watchpost rules settings threshold settings.json",
            ),
        ],
    ),
    (
        "watchpost rules deactivate",
        &[to("Deactivate a rule", "watchpost rules deactivate weekend")],
    ),
    (
        "watchpost rules log",
        &[to(
            "Print the last ten changes of a rule",
            "watchpost rules log weekend --limit 10",
        )],
    ),
    (
        "watchpost rules keygen",
        &[to("Create ops.key and ops.pub", "watchpost rules keygen --out ops")],
    ),
    (
        "watchpost rules sign",
        &[to("Sign a component", "watchpost rules sign rule.wasm --key ops.key")],
    ),
    (
        "watchpost rules sign-generation",
        &[to(
            "Sign the rules of a server with their settings",
            "watchpost rules sign-generation --signing-key ops.key --server https://localhost:8443",
        )],
    ),
    (
        "watchpost rules restore-access",
        &[to(
            "Activate the configured role rule after access was closed",
            "watchpost rules restore-access",
        )],
    ),
    (
        "watchpost openapi",
        &[
            to("Write the document to a file", "watchpost openapi > openapi.json"),
            to(
                "Describe the API of PixCrawler's resource monitor",
                "watchpost openapi --api pixcrawler",
            ),
        ],
    ),
    (
        "watchpost completions",
        &[to(
            "Install the completions of bash for your user",
            "watchpost completions bash > ~/.local/share/bash-completion/completions/watchpost",
        )],
    ),
    (
        "watchpost man",
        &[
            to("Read the manual page", "watchpost man | man -l -"),
            to("Write the pages of all commands", "watchpost man --into man"),
        ],
    ),
    (
        "watchpost help",
        &[to("Print the help of a command", "watchpost help rules push")],
    ),
];
