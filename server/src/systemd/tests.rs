//! Tests with a real notification socket.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::*;

/// A notification socket, and the options that name it.
struct NotifySocket {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    options: NotifyOptions,
}

impl NotifySocket {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).expect("it is free");
        socket.set_nonblocking(true).expect("it can");
        Self {
            socket,
            _folder: folder,
            options: NotifyOptions {
                socket: Some(path.into()),
                watchdog: Some(Duration::from_secs(30)),
            },
        }
    }

    fn systemd(&self) -> Systemd {
        Systemd::new(&self.options)
    }

    /// The lines that arrived since the last call.
    fn received(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let mut message = [0; 4096];
        loop {
            match self.socket.recv(&mut message) {
                Ok(length) => lines.extend(String::from_utf8_lossy(&message[..length]).lines().map(str::to_owned)),
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::WouldBlock);
                    return lines;
                }
            }
        }
    }
}

#[test]
fn the_first_round_makes_it_ready_and_later_ones_send_only_changes() {
    let socket = NotifySocket::new();
    let systemd = socket.systemd();
    systemd.begins("opens the database", EXTEND_TIMEOUT);
    assert_eq!(
        socket.received(),
        ["EXTEND_TIMEOUT_USEC=300000000", "STATUS=starts: opens the database"]
    );
    systemd.round("a is ok");
    assert_eq!(socket.received(), ["READY=1", "STATUS=a is ok"]);
    systemd.round("a is ok");
    assert_eq!(socket.received(), [""; 0]);
    systemd.round("a is\nREADY=1");
    assert_eq!(socket.received(), ["STATUS=a is READY=1"]);
}

#[test]
fn readiness_that_was_not_delivered_is_sent_again() {
    let socket = NotifySocket::new();
    let systemd = socket.systemd();
    let path = socket.options.socket.clone().expect("it has one");
    std::fs::remove_file(&path).expect("it is there");
    systemd.round("a is ok");
    let again = UnixDatagram::bind(&path).expect("it is free");
    let socket = NotifySocket {
        socket: again,
        ..socket
    };
    socket.socket.set_nonblocking(true).expect("it can");
    systemd.round("a is ok");
    assert_eq!(socket.received(), ["READY=1", "STATUS=a is ok"]);
}

#[test]
fn a_reload_has_a_beginning_and_an_end_and_reports_a_rejected_configuration() {
    let socket = NotifySocket::new();
    let systemd = socket.systemd();
    systemd.reloads();
    systemd.reloaded(true);
    assert_eq!(socket.received(), [""; 0], "it was not ready yet");
    systemd.round("a is ok");
    socket.received();
    systemd.reloads();
    let begun = socket.received();
    assert_eq!(begun[0], "RELOADING=1");
    let timestamp = begun[1].strip_prefix("MONOTONIC_USEC=").expect("a timestamp");
    assert!(timestamp.parse::<u64>().is_ok_and(|usec| usec > 0), "{begun:?}");
    systemd.reloaded(false);
    let ended = socket.received();
    assert_eq!(ended[0], "READY=1");
    assert!(
        ended[1].contains("a is ok; the configuration was not reloaded"),
        "{ended:?}"
    );
    systemd.reloaded(true);
    assert_eq!(socket.received(), ["READY=1", "STATUS=a is ok"]);
}

#[test]
fn the_watchdog_is_fed_only_while_rounds_come() {
    let socket = NotifySocket::new();
    let systemd = socket.systemd();
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut watchdog = Watchdog::new(begin, Duration::from_secs(35));
    systemd.check(&mut watchdog, at(15));
    systemd.check(&mut watchdog, at(30));
    assert_eq!(socket.received(), ["WATCHDOG=1", "WATCHDOG=1"]);
    systemd.check(&mut watchdog, at(45));
    systemd.check(&mut watchdog, at(60));
    assert_eq!(socket.received(), ["STATUS=no round was evaluated for 45 s"]);
    watchdog.heartbeat(at(61));
    systemd.check(&mut watchdog, at(75));
    assert_eq!(socket.received(), ["WATCHDOG=1"]);
}

#[test]
fn without_a_watchdog_it_is_not_fed() {
    let socket = NotifySocket::new();
    let systemd = Systemd::new(&NotifyOptions {
        watchdog: None,
        ..socket.options.clone()
    });
    systemd.check(&mut Watchdog::new(Instant::now(), EXTEND_TIMEOUT), Instant::now());
    assert_eq!(socket.received(), [""; 0]);
}

#[test]
fn a_stop_extends_the_timeout_to_the_time_that_it_may_take() {
    let socket = NotifySocket::new();
    let systemd = socket.systemd();
    systemd.stops(Duration::from_secs(40));
    assert_eq!(socket.received()[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=40000000"]);
    systemd.stops(Duration::from_secs(100_000));
    assert_eq!(socket.received()[1], "EXTEND_TIMEOUT_USEC=4294967295");
}

#[test]
fn only_a_path_or_an_abstract_name_is_an_address() {
    let name = format!("watchpost-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("it is free");
    let options = |address: &str| NotifyOptions {
        socket: Some(address.into()),
        watchdog: None,
    };
    Systemd::new(&options(&format!("@{name}"))).round("a is ok");
    let mut message = [0; 100];
    let length = socket.recv(&mut message).expect("a message");
    assert_eq!(&message[..length], b"READY=1\nSTATUS=a is ok\n");
    for invalid in ["vsock:2:1234", "notify", "@"] {
        let disabled = Systemd::new(&options(invalid));
        assert!(!disabled.listens(), "{invalid}");
        disabled.round("a is ok");
    }
    assert!(!Systemd::new(&NotifyOptions::default()).listens());
}
