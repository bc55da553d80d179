//! A wire to somebody that a test can cut: between the program and a server that it needs. Held, it takes bytes and
//! passes nothing on, as a firewall does that forgot a connection; cut, it ends them all.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// A wire.
pub struct Proxy {
    /// Where it begins.
    pub address: SocketAddr,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    held: Mutex<bool>,
    let_go: Condvar,
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
                let Ok(far) = TcpStream::connect(target) else { continue };
                state.keep(&near);
                state.keep(&far);
                let (Ok(near_again), Ok(far_again)) = (near.try_clone(), far.try_clone()) else {
                    continue;
                };
                pass_on(near, far, &state);
                pass_on(far_again, near_again, &state);
            }
        });
        proxy
    }

    /// From now on it passes nothing on.
    pub fn hold(&self) {
        *lock(&self.state.held) = true;
    }

    /// It passes on again, also what waited.
    pub fn let_go(&self) {
        *lock(&self.state.held) = false;
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

fn pass_on(mut from: TcpStream, mut to: TcpStream, state: &Arc<State>) {
    let state = state.clone();
    std::thread::spawn(move || {
        let mut bytes = [0; 16 * 1024];
        while let Ok(count) = from.read(&mut bytes) {
            let mut held = lock(&state.held);
            while *held {
                held = state.let_go.wait(held).unwrap_or_else(PoisonError::into_inner);
            }
            drop(held);
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
