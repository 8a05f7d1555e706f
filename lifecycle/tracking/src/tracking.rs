//! The way in: a store and a clock.

use std::sync::Arc;

use rondo_core::Timestamp;
use rondo_core::ports::Clock;
use rondo_store::{Meta, Objects, Parts, Store};

use crate::artifacts::roots::Roots;

/// Tracking over one store. Cheap to clone; its calls are in the modules beside this one.
#[derive(Clone)]
pub struct Tracking {
    store: Store,
    clock: Arc<dyn Clock>,
    roots: Arc<Roots>,
}

impl Tracking {
    /// Tracking over a store, which keeps the artifacts too.
    pub fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, roots: Arc::default() }
    }

    /// The same with artifacts where the operator wants them.
    #[must_use]
    pub fn with_roots(self, roots: Roots) -> Self {
        Self { roots: Arc::new(roots), ..self }
    }

    /// Where artifacts may be.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// The uploads in parts.
    pub const fn parts(&self) -> &Parts {
        self.store.parts()
    }

    /// The store.
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// The metadata.
    pub const fn meta(&self) -> &Meta {
        self.store.meta()
    }

    /// The objects.
    pub const fn objects(&self) -> &Objects {
        self.store.objects()
    }

    /// Now, by the wall clock.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// Which page of a search, in which order: what every search takes.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// The filter's text.
    pub filter: String,
    /// The order's keys.
    pub order_by: Vec<String>,
    /// How many at most.
    pub max_results: Option<i64>,
    /// Where to go on.
    pub page_token: String,
    /// The living or the deleted.
    pub view: rondo_store::meta::search::View,
    /// What must hold beside the filter: who searches sees nothing else.
    pub seen: rondo_store::meta::search::Condition,
}

/// A page of what was found.
#[derive(Debug, Clone)]
pub struct Found<T> {
    /// What was found.
    pub items: Vec<T>,
    /// The token of the next page, where more comes.
    pub next_page_token: Option<String>,
}

#[cfg(test)]
pub(crate) mod fixture {
    use super::*;

    /// A clock that moves on by one with each look.
    #[derive(Default)]
    pub(crate) struct Counter(std::sync::atomic::AtomicI64);

    impl Clock for Counter {
        fn now(&self) -> Timestamp {
            Timestamp(1_000 + self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
        }
    }

    pub(crate) async fn tracking() -> (tempfile::TempDir, Tracking) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).await.unwrap();
        store.meta().ensure_default_experiment(Timestamp(1)).await.unwrap();
        (folder, Tracking::new(store, Arc::new(Counter::default())))
    }
}
