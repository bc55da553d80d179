//! Azure Monitor as a source: what Azure measures of our resources, asked for a round at a time. How often it is asked
//! and how long it may take is for whoever asks; a question that is dropped half-way leaves all in order.
//!
//! Read in this order: `settings` and `resource`, what it is told; `tables`, the metrics that it knows; `query`, what
//! is asked; `answer`, `refusal` and `samples`, what becomes of the answers; `token`, `grant`, `assertion` and `arc`, as whom
//! it asks; `waits` and `wire`.

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

pub use self::resource::{InvalidResourceId, ResourceId};
pub use self::settings::{
    Aggregation, Credentials, Endpoints, Hidden, InvalidSetting, Mapping, Resource, Settings, Transform,
};
pub use self::tables::ready;

use self::answer::Answer;
use self::backoff::Waits;
use self::error::AzureError;
use self::http::{HttpResponse, Request, Wire};
use self::query::{MetricQuery, Subject, UnknownMetrics};
use self::token::{Expiry, Token, Tokens};
use super::probe::Reading;
use super::source::{Measurement, Schedule, Source};

/// What gaps and metrics call it.
const NAME: &str = "azure";

/// The most questions at once. More would not be answered sooner, for Azure counts them by the second.
const MAX_CONCURRENT_REQUESTS: usize = 4;

/// Azure Monitor.
pub struct Azure {
    settings: Settings,
    schedule: Schedule,
    subjects: Vec<Subject>,
    wire: Wire,
    tokens: Tokens,
    waits: RefCell<Waits>,
    unknown: RefCell<UnknownMetrics>,
    round: u64,
}

/// What came of a question. The question is what was left of it to ask.
struct QueryOutcome {
    question: MetricQuery,
    /// For each subject of it, in their order.
    answers: Result<Vec<Result<Answer, String>>, Failure>,
}

/// Why a question has no answer.
enum Failure {
    /// Nobody would have had one.
    NoToken(String),
    Unanswered(String),
    /// Azure does not have these, and says so.
    UnknownMetrics(Vec<String>, AzureError),
}

impl Azure {
    /// It asks nobody yet.
    pub fn new(settings: Settings, schedule: Schedule) -> Self {
        Self {
            schedule,
            subjects: query::subjects(&settings),
            wire: Wire::new(settings.request_timeout),
            settings,
            tokens: Tokens::default(),
            waits: RefCell::default(),
            unknown: RefCell::default(),
            round: 0,
        }
    }

    /// Asks for the newest values of all metrics. An error is a sentence that says why nothing could be known; what is
    /// missing of an answer is a gap in it.
    async fn ask(&mut self, now_ms: u64) -> Result<Reading, String> {
        if self.subjects.is_empty() {
            return Err("no resource is named; add one to azure.resources".to_owned());
        }
        self.round += 1;
        let now = Expiry {
            round: self.round,
            now_ms,
        };
        let batched = self.settings.endpoints.metrics.is_some();
        let questions = query::questions(&self.subjects, &self.unknown.borrow(), batched, now_ms);
        let this = &*self;
        let end = Instant::now() + self.settings.round_timeout;
        let asked = stream::iter(questions).map(|question| this.settled_until(end, question, now));
        let outcomes: Vec<_> = asked.buffer_unordered(MAX_CONCURRENT_REQUESTS).collect().await;
        if let Some(why) = without_token(&outcomes) {
            return Err(why);
        }
        Ok(self.reading(&outcomes, now_ms))
    }

    fn reading(&self, outcomes: &[QueryOutcome], now_ms: u64) -> Reading {
        let mut reading = Reading::default();
        for subject in &self.subjects {
            self.tell_unasked(subject, now_ms, &mut reading);
        }
        for QueryOutcome { question, answers } in outcomes {
            for (at, subject) in question.subjects.iter().map(|at| &self.subjects[*at]).enumerate() {
                let mappings = subject.mappings.iter().filter(|mapping| question.asks_for(mapping));
                let answer = match answers {
                    Ok(answers) => answers[at].as_ref().map_err(String::clone),
                    Err(Failure::NoToken(why) | Failure::Unanswered(why)) => Err(why.clone()),
                    Err(Failure::UnknownMetrics(_, refusal)) => Err(refusal.of_metrics(subject.id.as_str())),
                };
                match answer {
                    Ok(answer) => samples::tell(subject, mappings, answer, self.settings.window, &mut reading),
                    Err(why) => samples::miss(subject, mappings.map(|mapping| &mapping.metric), &why, &mut reading),
                }
            }
        }
        reading
    }

    /// Says what is not asked for, and why.
    fn tell_unasked(&self, subject: &Subject, now_ms: u64, reading: &mut Reading) {
        if subject.mappings.is_empty() {
            let kind = subject.id.kind();
            let why = format!("no metrics of {kind} are known here; name those that you want in azure.metrics");
            samples::miss(subject, [].into_iter(), &why, reading);
        }
        for (metric, why) in &subject.absent {
            samples::miss(subject, [metric].into_iter(), why, reading);
        }
        let unknown = self.unknown.borrow();
        for mapping in &subject.mappings {
            if let Some(why) = unknown.why(&subject.id, mapping, now_ms) {
                samples::miss(subject, [&mapping.metric].into_iter(), why, reading);
            }
        }
    }

    /// Asks, if there is time. What others were answered stays, so that a slow Azure is not a silent one.
    async fn settled_until(&self, end: Instant, question: MetricQuery, now: Expiry) -> QueryOutcome {
        let settled = tokio::time::timeout_at(end, self.settled(question.clone(), now)).await;
        settled.unwrap_or_else(|_| {
            let all = self.settings.round_timeout;
            let why = format!("Azure did not answer all questions within {all:?}; let azure.timeout be longer");
            let answers = Err(Failure::Unanswered(why));
            QueryOutcome { question, answers }
        })
    }

    /// Asks, and once more without what Azure does not have: one bad name spoils the whole question.
    async fn settled(&self, question: MetricQuery, now: Expiry) -> QueryOutcome {
        let answers = match self.answers(&question, now).await {
            Err(Failure::UnknownMetrics(names, refusal)) => {
                self.remember(&question, &names, &refusal, now.now_ms);
                let question = question.without(&names);
                let answers = if question.names.is_empty() {
                    Err(Failure::Unanswered("nothing is left to ask for".to_owned()))
                } else {
                    self.answers(&question, now).await
                };
                return QueryOutcome { question, answers };
            }
            answers => answers,
        };
        QueryOutcome { question, answers }
    }

    fn remember(&self, question: &MetricQuery, names: &[String], refusal: &AzureError, now_ms: u64) {
        let mut unknown = self.unknown.borrow_mut();
        for id in question.subjects.iter().map(|at| &self.subjects[*at].id) {
            for name in names {
                unknown.remember(id, &question.matter, name, refusal.of_unknown(name), now_ms);
            }
        }
    }

    /// Asks once, and once more with a new token where the token was refused.
    async fn answers(&self, question: &MetricQuery, now: Expiry) -> Result<Vec<Result<Answer, String>>, Failure> {
        let whom = question.whom(&self.subjects);
        let wait = |whom: &String| self.waits.borrow().refusal(whom, now.now_ms);
        if let Some(why) = whom.iter().find_map(wait) {
            return Err(Failure::Unanswered(why));
        }
        let audience = if question.is_batch() {
            &self.settings.endpoints.metrics_audience
        } else {
            &self.settings.endpoints.arm_audience
        };
        let mut token = self.token(audience, now).await?;
        let mut reply = self.asked(question, &token, now).await?;
        if reply.status() == 401 {
            self.tokens.discard(audience, &token).await;
            token = self.token(audience, now).await?;
            reply = self.asked(question, &token, now).await?;
        }
        match reply.answer(&[token.expose()]) {
            Ok(body) => {
                let mut waits = self.waits.borrow_mut();
                whom.iter().for_each(|whom| waits.over(whom, now.now_ms));
                self.read(question, body).map_err(Failure::Unanswered)
            }
            Err(refusal) => Err(self.refused(question, refusal, &reply, now.now_ms)),
        }
    }

    async fn token(&self, audience: &str, now: Expiry) -> Result<Token, Failure> {
        let token = self.tokens.token(audience, &self.settings, &self.wire, now).await;
        token.map_err(Failure::NoToken)
    }

    async fn asked(&self, question: &MetricQuery, token: &Token, now: Expiry) -> Result<HttpResponse, Failure> {
        let bearer = format!("Bearer {}", token.expose());
        let reply = if question.is_batch() {
            let (url, body) = question.batch(&self.settings, &self.subjects, now.now_ms);
            let post = Request::post(&url, "application/json", body).with("authorization", &bearer);
            self.wire.ask(&post).await
        } else {
            let subject = &self.subjects[question.subjects[0]];
            let url = question.address(&self.settings, subject, now.now_ms);
            self.wire.ask(&Request::get(&url).with("authorization", &bearer)).await
        };
        reply.map_err(|silence| Failure::Unanswered(silence.to_string()))
    }

    fn read(&self, question: &MetricQuery, body: &[u8]) -> Result<Vec<Result<Answer, String>>, String> {
        if !question.is_batch() {
            return Ok(vec![Ok(Answer::read(body)?)]);
        }
        let mut answers = Answer::read_batch(body)?;
        let mut of_one = |at: &usize| {
            let id = self.subjects[*at].id.as_str().to_lowercase();
            let found = answers.iter().position(|(other, _)| *other == id);
            let found = found.map(|at| answers.swap_remove(at).1);
            found.ok_or_else(|| {
                "Azure's answer to the batch leaves it out; check its region in azure.resources".to_owned()
            })
        };
        Ok(question.subjects.iter().map(&mut of_one).collect())
    }

    fn refused(&self, question: &MetricQuery, refusal: AzureError, reply: &HttpResponse, now_ms: u64) -> Failure {
        let names = refusal.unknown_names(&question.names);
        if !names.is_empty() {
            return Failure::UnknownMetrics(names, refusal);
        }
        let why = refusal.of_metrics(self.subjects[question.subjects[0]].id.as_str());
        if !refusal.wants_us_to_wait() {
            return Failure::Unanswered(why);
        }
        let [subscription, resource] = question.whom(&self.subjects);
        let whom = if refusal.status == 429 { subscription } else { resource };
        let wish = reply
            .retry_after
            .as_deref()
            .and_then(|header| backoff::wish(header, now_ms));
        Failure::Unanswered(self.waits.borrow_mut().begin(&whom, wish, why, now_ms))
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
        Box::pin(self.ask(now_ms))
    }
}

/// Why there is no token, if there was none for any question.
fn without_token(outcomes: &[QueryOutcome]) -> Option<String> {
    let why = |outcome: &QueryOutcome| match &outcome.answers {
        Err(Failure::NoToken(why)) => Some(why.clone()),
        _ => None,
    };
    let whys: Option<Vec<_>> = outcomes.iter().map(why).collect();
    whys?.into_iter().next()
}
