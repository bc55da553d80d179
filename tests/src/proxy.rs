//! A wire to somebody that a test can cut: between the program and a server that it needs. Held, it takes bytes and
//! passes nothing on; forgetful, it does so with the connections that there are, as a firewall does, and new ones pass;
//! cut, it ends them all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A wire.
pub struct Proxy {
    /// Where it begins.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Connections with a smaller number pass nothing on.
    held_below: Mutex<u64>,
    let_go: Condvar,
    count: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// A wire to there.
    pub fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("there are ports");
        let proxy = Self {
            address: listener.local_addr().expect("it is bound"),
            state: Arc::default(),
        };
        let state = proxy.state.clone();
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let number = state.count.fetch_add(1, Ordering::SeqCst);
                let Ok(far) = TcpStream::connect(target) else { continue };
                state.keep(&near);
                state.keep(&far);
                let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                pass_on(number, near, far, &state);
                pass_on(number, far_again, near_again, &state);
            }
        });
        proxy
    }

    /// From now on it passes nothing on.
    pub fn hold(&self) {
        *lock(&self.state.held_below) = u64::MAX;
    }

    /// From now on the connections that there are pass nothing on, and new ones do.
    pub fn forget(&self) {
        *lock(&self.state.held_below) = self.state.count.load(Ordering::SeqCst);
    }

    /// It passes on again, also what waited.
    pub fn let_go(&self) {
        *lock(&self.state.held_below) = 0;
        self.state.let_go.notify_all();
    }

    /// Ends all connections that there are.
    pub fn cut(&self) {
        for stream in lock(&self.state.open).drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl State {
    fn keep(&self, stream: &TcpStream) {
        lock(&self.open).extend(stream.try_clone());
    }
}

fn pass_on(number: u64, mut from: TcpStream, mut to: TcpStream, state: &Arc<State>) {
    let state = state.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut bytes) {
            let mut held_below = lock(&state.held_below);
            while number < *held_below {
                held_below = state.let_go.wait(held_below).unwrap_or_else(PoisonError::into_inner);
            }
            drop(held_below);
            if count == 0 || to.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
