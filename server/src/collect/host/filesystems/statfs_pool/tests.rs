//! Tests of the pool with simulated mounts.

use std::sync::{Condvar, Mutex, MutexGuard};

use super::*;

/// Mounts whose names are in the set do not answer until they are removed from it.
#[derive(Default)]
struct Dead {
    names: Mutex<HashSet<String>>,
    changed: Condvar,
    queried: Mutex<Vec<String>>,
}

impl Dead {
    fn lock(&self) -> MutexGuard<'_, HashSet<String>> {
        self.names.lock().expect("no panic")
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
        self.queried.lock().expect("no panic").push(name.clone());
        let is_dead = |dead: &mut HashSet<String>| dead.contains(&name);
        drop(self.changed.wait_while(self.lock(), is_dead).expect("no panic"));
        Ok(Usage::default())
    }

    fn take_queried(&self) -> Vec<String> {
        std::mem::take(&mut self.queried.lock().expect("no panic"))
    }
}

struct Scene {
    dead: Arc<Dead>,
    pool: StatfsPool,
}

impl Scene {
    fn new() -> Self {
        let dead = Arc::new(Dead::default());
        let server = Arc::clone(&dead);
        let pool = StatfsPool::new(
            "scene",
            Duration::from_millis(500),
            Arc::new(move |path: &Path| server.answer(path)),
        );
        Self { dead, pool }
    }

    /// The outcomes, one letter per mount: measured, failed, hanging, not queried.
    fn query(&mut self, mounts: &[MountRequest], now_ms: u64) -> String {
        let letter = |outcome: &StatfsOutcome| match outcome {
            StatfsOutcome::Measured(_) => 'm',
            StatfsOutcome::Failed(_) => 'f',
            StatfsOutcome::Hanging { .. } => 'h',
            StatfsOutcome::NotQueried { .. } => 'n',
        };
        self.pool.query(mounts, now_ms).iter().map(letter).collect()
    }
}

impl Drop for Scene {
    /// Releases the threads.
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
fn one_thread_queries_all_mounts_when_all_answer() {
    let mut scene = Scene::new();
    let mounts = remotes(30);
    for now in 0..5 {
        assert_eq!(scene.query(&mounts, now), "m".repeat(30));
    }
    // On a busy machine, a second thread may have been started temporarily.
    assert_eq!((scene.pool.idle.len(), scene.pool.abandoned.len()), (1, 0));
}

#[test]
fn a_hanging_mount_is_queried_again_only_when_its_thread_returns() {
    let mut scene = Scene::new();
    let mounts = remotes(3);
    scene.dead.kill(["r1".to_owned()]);
    assert_eq!(scene.query(&mounts, 7), "mhm");
    scene.dead.take_queried();
    let again = scene.pool.query(&mounts, 9);
    assert!(matches!(again[1], StatfsOutcome::Hanging { since_ms: 7 }), "{again:?}");
    assert!(
        !scene.dead.take_queried().contains(&"r1".to_owned()),
        "it is not queried again"
    );
    scene.dead.revive(["r1".to_owned()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while scene.query(&mounts, 11) != "mmm" {
        assert!(Instant::now() < deadline, "it answers again but is not measured");
    }
    assert_eq!(scene.pool.abandoned.len(), 0);
}

#[test]
fn new_mounts_use_at_most_eight_threads_and_the_rest_are_not_queried() {
    let mut scene = Scene::new();
    let mut mounts = remotes(20);
    scene.dead.kill(names(&mounts));
    mounts.push(mount(99, "/", true));
    assert_eq!(scene.query(&mounts, 1), format!("{}{}m", "h".repeat(8), "n".repeat(12)));
    assert_eq!(scene.query(&mounts, 2), format!("{}{}m", "h".repeat(8), "n".repeat(12)));
    assert_eq!(scene.pool.abandoned.len(), MAX_NEW_WORKERS);
    mounts.push(mount(100, "/new", true));
    assert!(scene.query(&mounts, 3).ends_with("mn"), "a new mount has to wait");
    scene.dead.revive(["r0".to_owned()]);
    let deadline = Instant::now() + Duration::from_secs(10);
    while !scene.query(&mounts, 4).ends_with("mm") {
        assert!(Instant::now() < deadline, "a thread is free again");
    }
}

#[test]
fn known_local_mounts_are_measured_when_every_share_hangs() {
    let mut scene = Scene::new();
    let mut mounts = remotes(20);
    mounts.push(mount(99, "/", true));
    assert_eq!(scene.query(&mounts, 1), "m".repeat(21));
    scene.dead.kill(names(&mounts[..20]));
    let begun = Instant::now();
    assert_eq!(scene.query(&mounts, 2), format!("{}{}m", "h".repeat(12), "n".repeat(8)));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert_eq!(scene.query(&mounts, 3), format!("{}{}m", "h".repeat(12), "n".repeat(8)));
    assert_eq!(scene.pool.abandoned.len(), MAX_WORKERS);
}

#[test]
fn the_number_of_waiting_threads_is_limited() {
    let mut scene = Scene::new();
    let mounts: Vec<_> = (0..30).map(|id| mount(id, &format!("l{id}"), true)).collect();
    assert_eq!(scene.query(&mounts, 1), "m".repeat(30));
    scene.dead.kill(names(&mounts));
    for now in 2..5 {
        assert_eq!(
            scene.query(&mounts, now),
            format!("{}{}", "h".repeat(16), "n".repeat(14))
        );
    }
    assert_eq!(scene.pool.abandoned.len(), MAX_WORKERS_LOCAL);
}

#[test]
fn a_new_mount_at_the_point_of_a_removed_one_is_queried() {
    let mut scene = Scene::new();
    let old = [mount(1, "/mnt", false)];
    scene.dead.kill(["/mnt".to_owned()]);
    assert_eq!(scene.query(&old, 1), "h");
    assert_eq!(scene.query(&[], 2), "");
    assert_eq!(scene.pool.abandoned.len(), 1, "its thread still waits");
    let mut new = mount(2, "/mnt", false);
    new.path = PathBuf::from("/mnt/");
    assert_eq!(scene.query(&[new], 3), "m");
}
