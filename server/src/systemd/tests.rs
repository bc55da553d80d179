//! What systemd hears, over a real socket.

use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use super::*;

/// One that listens, and how it is asked for.
struct NotifySocket {
    socket: UnixDatagram,
    _folder: tempfile::TempDir,
    asked: NotifyOptions,
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
            asked: NotifyOptions {
                socket: Some(path.into()),
                watchdog: Some(Duration::from_secs(30)),
            },
        }
    }

    fn systemd(&self) -> Systemd {
        Systemd::new(&self.asked)
    }

    /// What came since it was asked last, a message a line.
    fn heard(&self) -> Vec<String> {
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
fn the_first_round_makes_it_ready_and_later_ones_tell_only_what_is_new() {
    let ear = NotifySocket::new();
    let systemd = ear.systemd();
    systemd.begins("opens the database", EXTEND_TIMEOUT);
    assert_eq!(
        ear.heard(),
        ["EXTEND_TIMEOUT_USEC=300000000", "STATUS=starts: opens the database"]
    );
    systemd.round("a is ok");
    assert_eq!(ear.heard(), ["READY=1", "STATUS=a is ok"]);
    systemd.round("a is ok");
    assert_eq!(ear.heard(), [""; 0]);
    systemd.round("a is\nREADY=1");
    assert_eq!(ear.heard(), ["STATUS=a is READY=1"]);
}

#[test]
fn readiness_that_was_not_heard_is_told_again() {
    let ear = NotifySocket::new();
    let systemd = ear.systemd();
    let path = ear.asked.socket.clone().expect("it has one");
    std::fs::remove_file(&path).expect("it is there");
    systemd.round("a is ok");
    let again = UnixDatagram::bind(&path).expect("it is free");
    let ear = NotifySocket { socket: again, ..ear };
    ear.socket.set_nonblocking(true).expect("it can");
    systemd.round("a is ok");
    assert_eq!(ear.heard(), ["READY=1", "STATUS=a is ok"]);
}

#[test]
fn a_reload_has_a_beginning_and_an_end_and_says_when_it_changed_nothing() {
    let ear = NotifySocket::new();
    let systemd = ear.systemd();
    systemd.reloads();
    systemd.reloaded(true);
    assert_eq!(ear.heard(), [""; 0], "it was not ready yet");
    systemd.round("a is ok");
    ear.heard();
    systemd.reloads();
    let begun = ear.heard();
    assert_eq!(begun[0], "RELOADING=1");
    let moment = begun[1].strip_prefix("MONOTONIC_USEC=").expect("a moment");
    assert!(moment.parse::<u64>().is_ok_and(|usec| usec > 0), "{begun:?}");
    systemd.reloaded(false);
    let ended = ear.heard();
    assert_eq!(ended[0], "READY=1");
    assert!(
        ended[1].contains("a is ok; the configuration was not read again"),
        "{ended:?}"
    );
    systemd.reloaded(true);
    assert_eq!(ear.heard(), ["READY=1", "STATUS=a is ok"]);
}

#[test]
fn the_watchdog_hears_of_us_only_while_rounds_come() {
    let ear = NotifySocket::new();
    let systemd = ear.systemd();
    let begin = Instant::now();
    let at = |seconds| begin + Duration::from_secs(seconds);
    let mut pulse = Watchdog::new(begin, Duration::from_secs(35));
    systemd.look(&mut pulse, at(15));
    systemd.look(&mut pulse, at(30));
    assert_eq!(ear.heard(), ["WATCHDOG=1", "WATCHDOG=1"]);
    systemd.look(&mut pulse, at(45));
    systemd.look(&mut pulse, at(60));
    assert_eq!(ear.heard(), ["STATUS=nothing was measured and judged for 45 s"]);
    pulse.heartbeat(at(61));
    systemd.look(&mut pulse, at(75));
    assert_eq!(ear.heard(), ["WATCHDOG=1"]);
}

#[test]
fn without_a_watchdog_it_is_not_fed() {
    let ear = NotifySocket::new();
    let systemd = Systemd::new(&NotifyOptions {
        watchdog: None,
        ..ear.asked.clone()
    });
    systemd.look(&mut Watchdog::new(Instant::now(), EXTEND_TIMEOUT), Instant::now());
    assert_eq!(ear.heard(), [""; 0]);
}

#[test]
fn an_end_asks_for_the_time_that_it_may_take() {
    let ear = NotifySocket::new();
    let systemd = ear.systemd();
    systemd.stops(Duration::from_secs(40));
    assert_eq!(ear.heard()[..2], ["STOPPING=1", "EXTEND_TIMEOUT_USEC=40000000"]);
    systemd.stops(Duration::from_secs(100_000));
    assert_eq!(ear.heard()[1], "EXTEND_TIMEOUT_USEC=4294967295");
}

#[test]
fn an_abstract_name_is_an_address_too_and_anything_else_is_none() {
    let name = format!("watchpost-test-{}", std::process::id());
    let address = SocketAddr::from_abstract_name(&name).expect("a name");
    let socket = UnixDatagram::bind_addr(&address).expect("it is free");
    let asked = |address: &str| NotifyOptions {
        socket: Some(address.into()),
        watchdog: None,
    };
    Systemd::new(&asked(&format!("@{name}"))).round("a is ok");
    let mut message = [0; 100];
    let length = socket.recv(&mut message).expect("a message");
    assert_eq!(&message[..length], b"READY=1\nSTATUS=a is ok\n");
    for none in ["vsock:2:1234", "notify", "@"] {
        let deaf = Systemd::new(&asked(none));
        assert!(!deaf.listens(), "{none}");
        deaf.round("a is ok");
    }
    assert!(!Systemd::new(&NotifyOptions::default()).listens());
}
