//! A TCP proxy that a test can disturb, between the program and a server. Paused, it accepts bytes and forwards none;
//! or it stalls only the existing connections, as a firewall that lost its state does; or it closes all connections.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A TCP proxy to one server.
pub struct Proxy {
    /// The address that it listens on.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// Connections with a smaller number are stalled.
    held_below: Mutex<u64>,
    resume: Condvar,
    count: AtomicU64,
    open: Mutex<Vec<TcpStream>>,
}

impl Proxy {
    /// Starts a proxy to this address.
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

    /// Stalls all connections, also new ones.
    pub fn hold(&self) {
        *lock(&self.state.held_below) = u64::MAX;
    }

    /// Stalls the existing connections; new ones work.
    pub fn forget(&self) {
        *lock(&self.state.held_below) = self.state.count.load(Ordering::SeqCst);
    }

    /// Forwards again, including the bytes that were held.
    pub fn resume(&self) {
        *lock(&self.state.held_below) = 0;
        self.state.resume.notify_all();
    }

    /// Closes all existing connections.
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
                held_below = state.resume.wait(held_below).unwrap_or_else(PoisonError::into_inner);
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
