//! An Azure of its own for a test: Resource Manager with its metrics, batches of them, and everyone who gives tokens,
//! on one port of this machine. What it knows and what goes wrong, the test says; it ends with the test. It is no
//! judge: what was asked is written down, and tests look at it.
//!
//! Read in this order: what a test says to it, here; `place`, `metrics`, `tokens` and `fault`, what it answers; `time`
//! and `wire`.

mod fault;
mod metrics;
mod place;
mod time;
mod tokens;
mod wire;

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;

pub use self::fault::Fault;
pub use self::place::{Metric, Place};
pub use self::tokens::Proof;
pub use self::wire::Asked;

use self::tokens::Tokens;
use self::wire::Reply;

/// A running Azure.
pub struct Azure {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// Where it listens.
    pub address: SocketAddr,
}

/// What it is told and what it was asked.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// That it ends; whoever is slow on purpose waits for it.
    ending: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    places: Vec<Place>,
    tokens: Tokens,
    faults: Vec<(String, usize, Fault)>,
    asked: Vec<Asked>,
    /// The connections by number, so that they can be ended.
    streams: BTreeMap<usize, TcpStream>,
    connections: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits so long, or until all ends.
    fn pause(&self, length: Duration) {
        let waited = self
            .ending
            .wait_timeout_while(self.state(), length, |state| !state.ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Azure {
    /// It knows nobody and nothing yet.
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let address = listener.local_addr().expect("it is bound");
        let shared = Arc::<Shared>::default();
        let heard = shared.clone();
        let accepting = std::thread::spawn(move || accept(&listener, &heard));
        Self {
            shared,
            accepting: Some(accepting),
            address,
        }
    }

    /// The base of every address of it: of Resource Manager, of batches, and of those who give tokens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where App Service would give tokens, its `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.url())
    }

    /// An application that may show any of what it was given. Its tokens read everything that nobody denies.
    pub fn application(&self, tenant: &str, client: &str, proof: Proof) {
        self.shared.state().tokens.application(tenant, client, proof);
    }

    /// The machine that it runs on has an identity, and gets tokens when it asks as it has to.
    pub fn machine_identity(&self) {
        self.shared.state().tokens.machine = true;
    }

    /// The app that it runs in has an identity, and gets tokens for this `IDENTITY_HEADER`.
    pub fn app_service_identity(&self, header: &str) {
        self.shared.state().tokens.app_service = Some(header.to_owned());
    }

    /// The machine that it runs on has an agent of Azure Arc, which writes its keys into this folder.
    pub fn arc_identity(&self, folder: &Path) {
        self.shared.state().tokens.arc = Some(tokens::Arc {
            folder: folder.to_owned(),
            key: None,
            keys: 0,
        });
    }

    /// Where that agent gives tokens, its `IDENTITY_ENDPOINT`.
    pub fn arc_endpoint(&self) -> String {
        format!("{}/metadata/identity/oauth2/token", self.url())
    }

    /// Tokens live so long from now on.
    pub fn tokens_live(&self, seconds: u64) {
        self.shared.state().tokens.life_seconds = seconds;
    }

    /// No token that was given so far is good any more.
    pub fn expire_tokens(&self) {
        self.shared.state().tokens.expire();
    }

    /// It has this resource, or has it otherwise from now on.
    pub fn place(&self, place: Place) {
        let mut state = self.shared.state();
        state.places.retain(|known| !known.is(&place.id));
        state.places.push(place);
    }

    /// It has this resource no longer.
    pub fn remove(&self, id: &str) {
        self.shared.state().places.retain(|known| !known.is(id));
    }

    /// The next `times` requests whose path and query have this text in them (in any case) go wrong. Of several, the
    /// one that was told first comes first.
    pub fn fail(&self, text: &str, times: usize, fault: Fault) {
        self.shared.state().faults.push((text.to_lowercase(), times, fault));
    }

    /// Nothing goes wrong any more on purpose.
    pub fn heal(&self) {
        self.shared.state().faults.clear();
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// What was asked with this text in its path and query, in any case.
    pub fn asked_for(&self, text: &str) -> Vec<Asked> {
        let text = text.to_lowercase();
        let mut asked = self.asked();
        asked.retain(|asked| asked.target.to_lowercase().contains(&text));
        asked
    }

    /// Forgets what was asked so far.
    pub fn forget(&self) {
        self.shared.state().asked.clear();
    }
}

impl Drop for Azure {
    fn drop(&mut self) {
        let mut state = self.shared.state();
        state.ended = true;
        for stream in std::mem::take(&mut state.streams).into_values() {
            let _ = stream.shutdown(std::net::Shutdown::Both);
        }
        drop(state);
        self.shared.ending.notify_all();
        // Whoever accepts looks up when somebody comes.
        let _ = TcpStream::connect(self.address);
        if let Some(accepting) = self.accepting.take() {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        let mut state = shared.state();
        if state.ended {
            return;
        }
        let Ok(stream) = stream else { continue };
        state.connections += 1;
        let number = state.connections;
        if let Ok(same) = stream.try_clone() {
            state.streams.insert(number, same);
        }
        let shared = shared.clone();
        // It ends when its stream is shut down, at the latest with the Azure.
        drop(std::thread::spawn(move || {
            wire::serve(stream, &shared);
            shared.state().streams.remove(&number);
        }));
    }
}

/// Whether this is to be reset; then it is written down.
fn is_reset(shared: &Shared, asked: Asked) -> bool {
    let mut state = shared.state();
    let is_due = |fault: &&mut (String, usize, Fault)| is_due(fault, &asked.target.to_lowercase());
    let Some((_, times, Fault::Reset)) = state.faults.iter_mut().find(is_due) else {
        return false;
    };
    *times -= 1;
    state.asked.push(asked);
    true
}

fn is_due((text, times, _): &(String, usize, Fault), target: &str) -> bool {
    *times > 0 && target.contains(text.as_str())
}

/// Writes down what was asked, and says what goes wrong or what is answered.
fn answer(shared: &Shared, asked: Asked) -> Reply {
    let mut state = shared.state();
    let target = asked.target.to_lowercase();
    let fault = state.fault(&target);
    let answered = state.answered(&asked, fault.as_ref());
    state.asked.push(asked);
    match fault {
        Some(fault) => fault.spoil(answered),
        None => answered,
    }
}

impl State {
    fn fault(&mut self, target: &str) -> Option<Fault> {
        let (_, times, fault) = self.faults.iter_mut().find(|fault| is_due(fault, target))?;
        *times -= 1;
        Some(fault.clone())
    }

    fn answered(&mut self, asked: &Asked, fault: Option<&Fault>) -> Reply {
        let path = asked.path().to_lowercase();
        if path.ends_with("/token") {
            return self.tokens.answer(asked, &path);
        }
        if let Some(refusal) = self.tokens.refusal(asked, matches!(fault, Some(Fault::Expired))) {
            return refusal;
        }
        if path.ends_with("/metrics:getbatch") {
            return metrics::batch(&self.places, asked, &path);
        }
        match path.strip_suffix("/providers/microsoft.insights/metrics") {
            Some(id) => metrics::answer(&self.places, asked, id),
            None => Reply::json(
                404,
                &json!({ "error": { "code": "InvalidResourceType", "message": "There is no such interface." } }),
            ),
        }
    }
}
