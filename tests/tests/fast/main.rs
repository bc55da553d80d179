//! The tests of `make test`: they start the program or an engine, and each takes seconds. What needs other languages, a
//! browser, a machine of its own, or minutes, is in `slow` and `image`.

mod architecture;
mod artefacts;
mod azure;
mod azure_source;
mod chunks;
mod compiling;
mod conformance;
mod deciding;
mod decisions;
mod documented;
mod documents;
mod engine;
mod front_end;
mod history;
mod judging;
mod lifecycle;
mod limits;
mod malformed_requests;
mod misbehaviour;
mod outages;
mod pixcrawler;
mod refusals;
mod rejections;
mod remote;
mod rules;
mod scraping;
mod service;
mod serving;
mod single_rule;
mod store;
mod textfile;
mod ticker;
mod tls;
mod tokens;
mod vocabulary;
