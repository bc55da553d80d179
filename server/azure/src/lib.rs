//! Azure Monitor as a source: queries the metrics of the configured resources once per round. The collector sets
//! schedule and timeout; a query that is cancelled leaves no inconsistent state.
//!
//! Reading order: `settings` and `resource`, the input; `tables`, the built-in metrics; `query`, the requests;
//! `answer`, `error` and `samples`, the processing of responses; `token`, `credential_chain`, `assertion` and
//! `arc`, authentication; `backoff` and `http`.

mod answer;
mod arc;
mod assertion;
mod backoff;
mod credential_chain;
mod error;
mod http;
mod query;
mod resource;
mod samples;
mod settings;
mod tables;
#[cfg(test)]
mod tests;
mod token;

use std::cell::RefCell;

use futures_util::stream::{self, StreamExt};
use tokio::time::Instant;
use watchpost_policies::{MetricName, MetricPattern};

pub use self::credential_chain::file_problems;
pub use self::resource::{InvalidResourceId, ResourceId};
pub use self::settings::{Aggregation, Credentials, Endpoints, InvalidSetting, Mapping, Resource, Settings, Transform};
pub use self::tables::{built_in, resource_types};
pub use watchpost_secret::Secret;

use self::answer::Answer;
use self::backoff::Backoffs;
use self::error::AzureError;
use self::http::{HttpClient, HttpResponse, Request};
use self::query::{MetricQuery, Subject, UnknownMetrics};
use self::token::{RoundTime, Token, Tokens};
use watchpost_source::probe::Reading;
use watchpost_source::source::{Measurement, Schedule, Source};

/// The name of the source in gaps and metrics.
pub const NAME: &str = "azure";

/// More concurrent requests would not be faster, because Azure limits requests per second.
const MAX_CONCURRENT_REQUESTS: usize = 4;

pub struct Azure {
    settings: Settings,
    schedule: Schedule,
    subjects: Vec<Subject>,
    http_client: HttpClient,
    tokens: Tokens,
    backoffs: RefCell<Backoffs>,
    unknown: RefCell<UnknownMetrics>,
    round: u64,
}

/// The result of a query. `query` is what was actually requested, without unknown metrics.
struct QueryOutcome {
    query: MetricQuery,
    /// For each resource of the query, in order.
    answers: Result<Vec<Result<Answer, String>>, Failure>,
}

/// Why a query has no result.
enum Failure {
    /// No query could be sent.
    NoToken(String),
    Unanswered(String),
    /// Azure reports that it does not have these metrics.
    UnknownMetrics(Vec<String>, AzureError),
}

impl Azure {
    /// Creates the source without sending a request.
    pub fn new(settings: Settings, schedule: Schedule) -> Self {
        Self {
            schedule,
            subjects: query::subjects(&settings),
            http_client: HttpClient::new(settings.request_timeout),
            settings,
            tokens: Tokens::default(),
            backoffs: RefCell::default(),
            unknown: RefCell::default(),
            round: 0,
        }
    }

    /// Queries the newest values of all metrics. The error says why nothing is known; partial failures are gaps
    /// in the reading.
    async fn query_all(&mut self, now_ms: u64) -> Result<Reading, String> {
        if self.subjects.is_empty() {
            return Err("no resource is configured; add one to azure.resources".to_owned());
        }
        self.round += 1;
        let now = RoundTime {
            round: self.round,
            now_ms,
        };
        let batched = self.settings.endpoints.metrics.is_some();
        let queries = query::queries(&self.subjects, &self.unknown.borrow(), batched, now_ms);
        let this = &*self;
        let end = Instant::now() + self.settings.round_timeout;
        let requests = stream::iter(queries).map(|query| this.run_until(end, query, now));
        let outcomes: Vec<_> = requests.buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await;
        if let Some(reason) = without_token(&outcomes) {
            return Err(reason);
        }
        Ok(self.reading(&outcomes, now_ms))
    }

    fn reading(&self, outcomes: &[QueryOutcome], now_ms: u64) -> Reading {
        let mut reading = Reading::default();
        for subject in &self.subjects {
            self.add_gaps_of_unqueried(subject, now_ms, &mut reading);
        }
        for QueryOutcome { query, answers } in outcomes {
            for (at, subject) in query.subjects.iter().map(|at| &self.subjects[*at]).enumerate() {
                let mappings = subject.mappings.iter().filter(|mapping| query.requests(mapping));
                let answer = match answers {
                    Ok(answers) => answers[at].as_ref().map_err(String::clone),
                    Err(Failure::NoToken(reason) | Failure::Unanswered(reason)) => Err(reason.clone()),
                    Err(Failure::UnknownMetrics(_, error)) => Err(error.of_metrics(subject.id.as_str())),
                };
                match answer {
                    Ok(answer) => samples::add_samples(subject, mappings, answer, self.settings.window, &mut reading),
                    Err(reason) => {
                        samples::add_gap(subject, mappings.map(|mapping| &mapping.metric), &reason, &mut reading)
                    }
                }
            }
        }
        reading
    }

    /// Adds gaps for metrics that are not queried, with the reason.
    fn add_gaps_of_unqueried(&self, subject: &Subject, now_ms: u64, reading: &mut Reading) {
        if subject.mappings.is_empty() {
            let kind = subject.id.kind();
            let types: Vec<&str> = resource_types().collect();
            let reason = format!(
                "there are no built-in metrics of {kind}, only of {}; add metrics to azure.metrics",
                types.join(" and ")
            );
            samples::add_gap(subject, [].into_iter(), &reason, reading);
        }
        for (metric, reason) in &subject.absent {
            samples::add_gap(subject, [metric].into_iter(), reason, reading);
        }
        let unknown = self.unknown.borrow();
        for mapping in &subject.mappings {
            if let Some(reason) = unknown.reason(&subject.id, mapping, now_ms) {
                samples::add_gap(subject, [&mapping.metric].into_iter(), reason, reading);
            }
        }
    }

    /// Runs a query until the deadline. The results of other queries are kept, so a slow query does not discard
    /// them.
    async fn run_until(&self, end: Instant, query: MetricQuery, now: RoundTime) -> QueryOutcome {
        let result = tokio::time::timeout_at(end, self.run(query.clone(), now)).await;
        result.unwrap_or_else(|_| {
            let all = self.settings.round_timeout;
            let reason = format!("Azure did not answer all queries within {all:?}; increase azure.timeout");
            let answers = Err(Failure::Unanswered(reason));
            QueryOutcome { query, answers }
        })
    }

    /// Runs a query, and again without unknown metrics, because one of them fails the whole request.
    async fn run(&self, query: MetricQuery, now: RoundTime) -> QueryOutcome {
        let answers = match self.answers(&query, now).await {
            Err(Failure::UnknownMetrics(names, error)) => {
                self.remember(&query, &names, &error, now.now_ms);
                let query = query.without(&names);
                let answers = if query.names.is_empty() {
                    Err(Failure::Unanswered("no known metrics are left to query".to_owned()))
                } else {
                    self.answers(&query, now).await
                };
                return QueryOutcome { query, answers };
            }
            answers => answers,
        };
        QueryOutcome { query, answers }
    }

    fn remember(&self, query: &MetricQuery, names: &[String], error: &AzureError, now_ms: u64) {
        let mut unknown = self.unknown.borrow_mut();
        for id in query.subjects.iter().map(|at| &self.subjects[*at].id) {
            for name in names {
                unknown.remember(id, &query.group, name, error.of_unknown(name), now_ms);
            }
        }
    }

    /// Sends a query, and again with a new token if Azure rejects the token.
    async fn answers(&self, query: &MetricQuery, now: RoundTime) -> Result<Vec<Result<Answer, String>>, Failure> {
        let endpoints = query.backoff_endpoints(&self.subjects);
        let backoff = |endpoint: &String| self.backoffs.borrow().reason(endpoint, now.now_ms);
        if let Some(reason) = endpoints.iter().find_map(backoff) {
            return Err(Failure::Unanswered(reason));
        }
        let audience = if query.is_batch() {
            &self.settings.endpoints.metrics_audience
        } else {
            &self.settings.endpoints.arm_audience
        };
        let mut token = self.token(audience, now).await?;
        let mut reply = self.send(query, &token, now).await?;
        if reply.status() == 401 {
            self.tokens.discard(audience, &token).await;
            token = self.token(audience, now).await?;
            reply = self.send(query, &token, now).await?;
        }
        match reply.answer(&[token.expose()]) {
            Ok(body) => {
                let mut backoffs = self.backoffs.borrow_mut();
                endpoints
                    .iter()
                    .for_each(|endpoint| backoffs.succeeded(endpoint, now.now_ms));
                self.read(query, body).map_err(Failure::Unanswered)
            }
            Err(error) => Err(self.failure(query, error, &reply, now.now_ms)),
        }
    }

    async fn token(&self, audience: &str, now: RoundTime) -> Result<Token, Failure> {
        let token = self
            .tokens
            .token(audience, &self.settings, &self.http_client, now)
            .await;
        token.map_err(Failure::NoToken)
    }

    async fn send(&self, query: &MetricQuery, token: &Token, now: RoundTime) -> Result<HttpResponse, Failure> {
        let bearer = format!("Bearer {}", token.expose());
        let reply = if query.is_batch() {
            let (url, body) = query.batch(&self.settings, &self.subjects, now.now_ms);
            let post = Request::post(&url, "application/json", body).with("authorization", &bearer);
            self.http_client.send(&post).await
        } else {
            let subject = &self.subjects[query.subjects[0]];
            let url = query.address(&self.settings, subject, now.now_ms);
            self.http_client
                .send(&Request::get(&url).with("authorization", &bearer))
                .await
        };
        reply.map_err(|error| Failure::Unanswered(error.to_string()))
    }

    fn read(&self, query: &MetricQuery, body: &[u8]) -> Result<Vec<Result<Answer, String>>, String> {
        if !query.is_batch() {
            return Ok(vec![Ok(Answer::read(body)?)]);
        }
        let mut answers = Answer::read_batch(body)?;
        let mut answer_of = |at: &usize| {
            let id = self.subjects[*at].id.as_str().to_lowercase();
            let found = answers.iter().position(|(other, _)| *other == id);
            let found = found.map(|at| answers.swap_remove(at).1);
            found.ok_or_else(|| "missing in Azure's batch response; check its region in azure.resources".to_owned())
        };
        Ok(query.subjects.iter().map(&mut answer_of).collect())
    }

    fn failure(&self, query: &MetricQuery, error: AzureError, reply: &HttpResponse, now_ms: u64) -> Failure {
        let names = error.unknown_names(&query.names);
        if !names.is_empty() {
            return Failure::UnknownMetrics(names, error);
        }
        let reason = error.of_metrics(self.subjects[query.subjects[0]].id.as_str());
        if !error.is_throttled() {
            return Failure::Unanswered(reason);
        }
        let [subscription, resource] = query.backoff_endpoints(&self.subjects);
        let endpoint = if error.status == 429 { subscription } else { resource };
        let retry_after = reply
            .retry_after
            .as_deref()
            .and_then(|header| backoff::parse_retry_after(header, now_ms));
        Failure::Unanswered(self.backoffs.borrow_mut().start(&endpoint, retry_after, reason, now_ms))
    }
}

impl Source for Azure {
    fn name(&self) -> &str {
        NAME
    }

    fn metrics(&self) -> Vec<MetricPattern> {
        let mapped = |subject: &Subject| subject.mappings.iter().map(|mapping| mapping.metric.clone()).collect();
        let absent = |subject: &Subject| subject.absent.iter().map(|(metric, _)| metric.clone()).collect();
        let all = self
            .subjects
            .iter()
            .flat_map(|subject| [mapped(subject), absent(subject)]);
        let mut all: Vec<_> = all.flat_map(|names: Vec<MetricName>| names).collect();
        all.sort();
        all.dedup();
        all.iter().map(MetricPattern::exactly).collect()
    }

    fn schedule(&self) -> Schedule {
        self.schedule
    }

    fn measure(&mut self, now_ms: u64) -> Measurement<'_> {
        Box::pin(self.query_all(now_ms))
    }
}

/// The reason why there is no token, if no query had one.
fn without_token(outcomes: &[QueryOutcome]) -> Option<String> {
    let reason = |outcome: &QueryOutcome| match &outcome.answers {
        Err(Failure::NoToken(reason)) => Some(reason.clone()),
        _ => None,
    };
    let reasons: Option<Vec<_>> = outcomes.iter().map(reason).collect();
    reasons?.into_iter().next()
}
