//! Renders each round once and serves the result many times: the Prometheus page, PixCrawler's response. A rendering
//! belongs to exactly one round, so responses about a round are consistent.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;

use super::{Evaluations, Judged};
use crate::host_id::HostId;

/// Cached renderings per host: of the latest round, and of the one about to be published.
const RENDERINGS_PER_HOST: usize = 2;

/// The renderings of the latest rounds. Cheap to clone.
pub struct Renderings<T>(Arc<Inner<T>>);

struct Inner<T> {
    render: Box<dyn Fn(&Judged) -> T + Send + Sync>,
    /// By host, the newest first.
    cached: Mutex<BTreeMap<HostId, Vec<CachedRendering<T>>>>,
}

type Cell<T> = Arc<OnceLock<Arc<T>>>;

struct CachedRendering<T> {
    of: Arc<Judged>,
    rendering: Cell<T>,
}

impl<T> Clone for Renderings<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: Send + Sync + 'static> Renderings<T> {
    /// Renders each round from now on, before it is published.
    pub fn new(evaluations: &Evaluations, render: impl Fn(&Judged) -> T + Send + Sync + 'static) -> Self {
        let renderings = Self(Arc::new(Inner {
            render: Box::new(render),
            cached: Mutex::default(),
        }));
        let prepared = renderings.clone();
        evaluations.before_publication(move |judged| drop(prepared.rendered(judged, &prepared.add(judged))));
        renderings
    }

    /// The rendering of this round. That of the latest round is cached; an older round, which a slow request may still
    /// hold, is rendered again.
    pub fn of(&self, judged: &Arc<Judged>) -> Arc<T> {
        let found = self.find(judged).unwrap_or_default();
        self.rendered(judged, &found)
    }

    fn rendered(&self, judged: &Judged, rendering: &Cell<T>) -> Arc<T> {
        rendering.get_or_init(|| Arc::new((self.0.render)(judged))).clone()
    }

    fn find(&self, judged: &Arc<Judged>) -> Option<Cell<T>> {
        let cached = self.0.cached.lock();
        let of_host = cached.get(&judged.host)?;
        let same = of_host.iter().find(|cached| Arc::ptr_eq(&cached.of, judged));
        same.map(|cached| cached.rendering.clone())
    }

    fn add(&self, judged: &Arc<Judged>) -> Cell<T> {
        let rendering = Cell::default();
        let mut cached = self.0.cached.lock();
        let of_host = cached.entry(judged.host.clone()).or_default();
        of_host.truncate(RENDERINGS_PER_HOST - 1);
        let newest = CachedRendering {
            of: judged.clone(),
            rendering: rendering.clone(),
        };
        of_host.insert(0, newest);
        rendering
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::super::test_round::{host, judged};
    use super::*;

    #[test]
    fn a_round_is_rendered_once_before_it_is_published_and_each_host_has_its_own() {
        actix_web::rt::System::new().block_on(async {
            let evaluations = Evaluations::new();
            let count = Arc::new(AtomicUsize::new(0));
            let counted = count.clone();
            let renderings = Renderings::new(&evaluations, move |judged| {
                counted.fetch_add(1, Ordering::AcqRel);
                format!("{} {}", judged.host, judged.round.number)
            });
            evaluations.publish(judged("edge-1", 1)).await;
            let first = evaluations.latest(&host("edge-1")).expect("it is published");
            evaluations.publish(judged("edge-2", 1)).await;
            evaluations.publish(judged("edge-1", 2)).await;
            assert_eq!(count.load(Ordering::Acquire), 3, "nothing was requested yet");
            for (name, expected) in [("edge-1", "edge-1 2"), ("edge-2", "edge-2 1"), ("edge-1", "edge-1 2")] {
                let latest = evaluations.latest(&host(name)).expect("it is published");
                assert_eq!(*renderings.of(&latest), expected);
            }
            assert_eq!(*renderings.of(&first), "edge-1 1", "a request that started earlier");
            assert_eq!(count.load(Ordering::Acquire), 3);
            evaluations.publish(judged("edge-1", 3)).await;
            assert_eq!(*renderings.of(&first), "edge-1 1", "a very slow one");
            assert_eq!(count.load(Ordering::Acquire), 5);
        });
    }
}
