//! A simulated Azure for a test: Resource Manager with its metrics, batches of metrics, and every token endpoint, on
//! one local port. The test configures resources and faults; the server ends with the test. It records all requests for
//! the assertions of the test.
//!
//! Reading order: this file is the interface for tests; `place`, `metrics`, `tokens` and `fault` make the responses;
//! `time` and `wire` are helpers.

mod fault;
mod metrics;
mod resource;
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
pub use self::resource::{Metric, Place};
pub use self::tokens::Proof;
pub use self::wire::Asked;

use self::tokens::Tokens;
use self::wire::Reply;

/// A running simulation of Azure.
pub struct Azure {
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
    /// The address that it listens on.
    pub address: SocketAddr,
}

/// The configuration by the test, and the recorded requests.
#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// Signals the shutdown, so that responses that are delayed on purpose end early.
    ending: Condvar,
}

#[derive(Default)]
struct State {
    ended: bool,
    places: Vec<Place>,
    tokens: Tokens,
    faults: Vec<(String, usize, Fault)>,
    asked: Vec<Asked>,
    /// The open connections by number, to close them at shutdown.
    streams: BTreeMap<usize, TcpStream>,
    connections: usize,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for this time, or until the shutdown.
    fn pause(&self, length: Duration) {
        let waited = self
            .ending
            .wait_timeout_while(self.state(), length, |state| !state.ended);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }
}

impl Azure {
    /// Starts without any identity or resource.
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

    /// The base URL of Resource Manager, of batches, and of the token endpoints.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The token endpoint of App Service, its `IDENTITY_ENDPOINT`.
    pub fn identity_endpoint(&self) -> String {
        format!("{}/msi/token", self.url())
    }

    /// Adds an application that can authenticate by this proof. Its tokens may read every resource that is not denied.
    pub fn application(&self, tenant: &str, client: &str, proof: Proof) {
        self.shared.state().tokens.application(tenant, client, proof);
    }

    /// Gives the machine an identity with tokens from the metadata service.
    pub fn machine_identity(&self) {
        self.shared.state().tokens.machine = true;
    }

    /// Gives the App Service an identity with tokens for this `IDENTITY_HEADER`.
    pub fn app_service_identity(&self, header: &str) {
        self.shared.state().tokens.app_service = Some(header.to_owned());
    }

    /// Adds an agent of Azure Arc, which writes its keys into this folder.
    pub fn arc_identity(&self, folder: &Path) {
        self.shared.state().tokens.arc = Some(tokens::Arc {
            folder: folder.to_owned(),
            key: None,
            keys: 0,
        });
    }

    /// The token endpoint of the Azure Arc agent, its `IDENTITY_ENDPOINT`.
    pub fn arc_endpoint(&self) -> String {
        format!("{}/metadata/identity/oauth2/token", self.url())
    }

    /// Sets the lifetime of new tokens.
    pub fn tokens_live(&self, seconds: u64) {
        self.shared.state().tokens.life_seconds = seconds;
    }

    /// Invalidates all issued tokens.
    pub fn expire_tokens(&self) {
        self.shared.state().tokens.expire();
    }

    /// Adds or replaces a resource.
    pub fn place(&self, place: Place) {
        let mut state = self.shared.state();
        state.places.retain(|known| !known.is(&place.id));
        state.places.push(place);
    }

    /// Removes a resource.
    pub fn remove(&self, id: &str) {
        self.shared.state().places.retain(|known| !known.is(id));
    }

    /// Makes the next `times` requests fail whose path and query contain this text (case-insensitive). If several
    /// faults match, the one that was added first is used.
    pub fn fail(&self, text: &str, times: usize, fault: Fault) {
        self.shared.state().faults.push((text.to_lowercase(), times, fault));
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.shared.state().faults.clear();
    }

    /// All requests so far.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.state().asked.clone()
    }

    /// The requests with this text in their path and query (case-insensitive).
    pub fn asked_for(&self, text: &str) -> Vec<Asked> {
        let text = text.to_lowercase();
        let mut asked = self.asked();
        asked.retain(|asked| asked.target.to_lowercase().contains(&text));
        asked
    }

    /// Clears the recorded requests.
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
        // A connection wakes the accepting thread, which then sees the shutdown.
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
        // The thread ends when its stream is shut down, at the latest with the server.
        drop(std::thread::spawn(move || {
            wire::serve(stream, &shared);
            shared.state().streams.remove(&number);
        }));
    }
}

/// Whether the connection must be reset; if so, the request is recorded.
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

/// Records a request, and makes the response or the fault.
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
