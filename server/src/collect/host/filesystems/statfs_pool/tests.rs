//! Mounts that hang when they are told to, without any file system behind them.

use std::sync::{Condvar, Mutex, MutexGuard};

use super::*;

/// Mounts whose names are in the set do not answer until they are taken out.
#[derive(Default)]
struct Dead {
    names: Mutex<HashSet<String>>,
    changed: Condvar,
    asked: Mutex<Vec<String>>,
}

impl Dead {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.names.lock().expect("nobody panics with it")
    }

    fn kill(&self, names: impl IntoIterator<Item = String>) {
        self.lock().extend(names);
    }

    fn revive(&self, names: impl IntoIterator<Item = String>) {
        let mut dead = self.lock();
        for name in names {
            dead.remove(&name);
        }
        self.changed.notify_all();
    }

    fn answer(&self, path: &Path) -> io::Result<Usage> {
        let name = path.display().to_string();
        self.asked.lock().expect("nobody panics with it").push(name.clone());
        let is_dead = |dead: &mut HashSet<String>| dead.contains(&name);
        drop(
            self.changed
                .wait_while(self.lock(), is_dead)
                .expect("nobody panics with it"),
        );
        Ok(Usage::default())
    }

    fn take_asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().expect("nobody panics with it"))
    }
}

struct Scene {
    dead: Arc<Dead>,
    askers: StatfsPool,
}

impl Scene {
    fn new() -> Self {
        let dead = Arc::new(Dead::default());
        let question = Arc::clone(&dead);
        let askers = StatfsPool::new(
            "scene",
            Duration::from_millis(500),
            Arc::new(move |path: &Path| question.answer(path)),
        );
        Self { dead, askers }
    }

    /// What came of asking, a letter a mount: told, silent, not asked.
    fn ask(&mut self, mounts: &[MountRequest], now_ms: u64) -> String {
        let letter = |outcome: &StatfsOutcome| match outcome {
            StatfsOutcome::Told(_) => 't',
            StatfsOutcome::Refused(_) => 'r',
            StatfsOutcome::Silent { .. } => 's',
            StatfsOutcome::NotAsked { .. } => 'n',
        };
        self.askers.ask(mounts, now_ms).iter().map(letter).collect()
    }
}

impl Drop for Scene {
    /// Lets the threads go.
    fn drop(&mut self) {
        self.dead.lock().clear();
        self.dead.changed.notify_all();
    }
}

fn mount(id: u64, name: &str, is_local: bool) -> MountRequest {
    let key = MountKey {
        id,
        device_number: "0:1".to_owned(),
        mount_point: PathBuf::from(name),
    };
    MountRequest {
        key,
        path: PathBuf::from(name),
        is_local,
    }
}

fn remotes(count: u64) -> Vec<MountRequest> {
    (0..count).map(|id| mount(id, &format!("r{id}"), false)).collect()
}

fn names(mounts: &[MountRequest]) -> Vec<String> {
    mounts.iter().map(|mount| mount.path.display().to_string()).collect()
}

#[test]
fn one_thread_asks_all_when_all_answer() {
    let mut scene = Scene::new();
    let mounts = remotes(30);
    for now in 0..5 {
        assert_eq!(scene.ask(&mounts, now), "t".repeat(30));
    }
    // A machine that is busy may be slower than soon; then there was a second for a moment.
    assert_eq!((scene.askers.idle.len(), scene.askers.abandoned.len()), (1, 0));
}

#[test]
fn a_silent_mount_is_asked_once_and_again_when_its_thread_came_back() {
    let mut scene = Scene::new();
    let mounts = remotes(3);
    scene.dead.kill(["r1".to_owned()]);
    assert_eq!(scene.ask(&mounts, 7), "tst");
    scene.dead.take_asked();
    let again = scene.askers.ask(&mounts, 9);
    assert!(matches!(again[1], StatfsOutcome::Silent { since_ms: 7 }), "{again:?}");
    assert!(
        !scene.dead.take_asked().contains(&"r1".to_owned()),
        "it is not asked again"
    );
    scene.dead.revive(["r1".to_owned()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.ask(&mounts, 11) != "ttt" {
        assert!(Instant::now() < deadline, "it came back and is not measured");
    }
    assert_eq!(scene.askers.abandoned.len(), 0);
}

#[test]
fn strangers_take_eight_threads_at_most_and_the_rest_are_not_asked() {
    let mut scene = Scene::new();
    let mut mounts = remotes(20);
    scene.dead.kill(names(&mounts));
    mounts.push(mount(99, "/", true));
    assert_eq!(scene.ask(&mounts, 1), format!("{}{}t", "s".repeat(8), "n".repeat(12)));
    assert_eq!(scene.ask(&mounts, 2), format!("{}{}t", "s".repeat(8), "n".repeat(12)));
    assert_eq!(scene.askers.abandoned.len(), MAX_NEW_WORKERS);
    mounts.push(mount(100, "/new", true));
    assert!(scene.ask(&mounts, 3).ends_with("tn"), "a stranger has to wait");
    scene.dead.revive(["r0".to_owned()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !scene.ask(&mounts, 4).ends_with("tt") {
        assert!(Instant::now() < deadline, "there is room again");
    }
}

#[test]
fn what_is_known_and_local_is_measured_when_every_share_dies_at_once() {
    let mut scene = Scene::new();
    let mut mounts = remotes(20);
    mounts.push(mount(99, "/", true));
    assert_eq!(scene.ask(&mounts, 1), "t".repeat(21));
    scene.dead.kill(names(&mounts[..20]));
    let begun = Instant::now();
    assert_eq!(scene.ask(&mounts, 2), format!("{}{}t", "s".repeat(12), "n".repeat(8)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(scene.ask(&mounts, 3), format!("{}{}t", "s".repeat(12), "n".repeat(8)));
    assert_eq!(scene.askers.abandoned.len(), MAX_WORKERS);
}

#[test]
fn no_more_threads_than_the_last_bound_wait() {
    let mut scene = Scene::new();
    let mounts: Vec<_> = (0..30).map(|id| mount(id, &format!("l{id}"), true)).collect();
    assert_eq!(scene.ask(&mounts, 1), "t".repeat(30));
    scene.dead.kill(names(&mounts));
    for now in 2..5 {
        assert_eq!(scene.ask(&mounts, now), format!("{}{}", "s".repeat(16), "n".repeat(14)));
    }
    assert_eq!(scene.askers.abandoned.len(), MAX_WORKERS_LOCAL);
}

#[test]
fn a_mount_that_is_gone_is_forgotten_and_the_next_at_its_point_is_asked() {
    let mut scene = Scene::new();
    let old = [mount(1, "/mnt", false)];
    scene.dead.kill(["/mnt".to_owned()]);
    assert_eq!(scene.ask(&old, 1), "s");
    assert_eq!(scene.ask(&[], 2), "");
    assert_eq!(scene.askers.abandoned.len(), 1, "its thread still waits");
    let mut new = mount(2, "/mnt", false);
    new.path = PathBuf::from("/mnt/");
    assert_eq!(scene.ask(&[new], 3), "t");
}
