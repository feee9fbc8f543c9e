//! Who may evaluate now: so many at once in all, and so many of one tenant.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// On whose behalf policies are compiled or evaluated. What one of them costs is not at the expense of the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tenant {
    /// A repo, by its id.
    Repo(i64),
    /// An org, by its id.
    Org(i64),
}

/// Turns of one server.
pub(crate) struct Turns {
    all: Arc<Semaphore>,
    per_tenant: usize,
    tenants: Arc<Mutex<HashMap<Tenant, Arc<Semaphore>>>>,
}

/// A turn. Dropped, it is the next one's.
pub(crate) struct Turn {
    // Dropped in this order: the permits before the place of the tenant.
    _all: OwnedSemaphorePermit,
    _tenant: TenantPermit,
}

impl Turns {
    /// So many at once; no tenant has more than a quarter.
    pub(crate) fn new(at_once: usize) -> Self {
        Self { all: Arc::new(Semaphore::new(at_once)), per_tenant: (at_once / 4).max(1), tenants: Arc::default() }
    }

    /// Waits for a turn; nothing when it takes too long.
    pub(crate) async fn take(&self, tenant: Tenant, wait: Duration) -> Option<Turn> {
        let take = async {
            let mut place = TenantPermit { tenant, permit: None, semaphore: None, tenants: self.tenants.clone() };
            let semaphore = {
                let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
                tenants.entry(tenant).or_insert_with(|| Arc::new(Semaphore::new(self.per_tenant))).clone()
            };
            place.semaphore = Some(semaphore.clone());
            place.permit = Some(semaphore.acquire_owned().await.ok()?);
            Some(Turn { _all: self.all.clone().acquire_owned().await.ok()?, _tenant: place })
        };
        tokio::time::timeout(wait, take).await.ok().flatten()
    }
}

/// The turn of a tenant, or a place among those who wait for one. Who leaves last takes the tenant's entry away.
struct TenantPermit {
    tenant: Tenant,
    permit: Option<OwnedSemaphorePermit>,
    semaphore: Option<Arc<Semaphore>>,
    tenants: Arc<Mutex<HashMap<Tenant, Arc<Semaphore>>>>,
}

impl Drop for TenantPermit {
    fn drop(&mut self) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        drop((self.permit.take(), self.semaphore.take()));
        if tenants.get(&self.tenant).is_some_and(|semaphore| Arc::strong_count(semaphore) == 1) {
            tenants.remove(&self.tenant);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Tenant, Turns};

    const WAIT: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn no_tenant_has_more_than_a_quarter() {
        let turns = Turns::new(8);
        let (one, other) = (Tenant::Repo(1), Tenant::Org(1));
        let first = turns.take(one, WAIT).await.unwrap();
        let _second = turns.take(one, WAIT).await.unwrap();
        assert!(turns.take(one, WAIT).await.is_none(), "two of eight are a quarter");
        let _third = turns.take(other, WAIT).await.unwrap();
        let (waited, ()) = tokio::join!(turns.take(one, WAIT), async { drop(first) });
        assert!(waited.is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn all_together_have_so_many_and_nothing_is_kept_of_who_left() {
        let turns = Turns::new(2);
        let first = turns.take(Tenant::Repo(1), WAIT).await.unwrap();
        let second = turns.take(Tenant::Repo(2), WAIT).await.unwrap();
        assert!(turns.take(Tenant::Repo(3), WAIT).await.is_none());
        assert_eq!(turns.tenants.lock().unwrap().len(), 2, "who waited in vain left nothing");
        drop(first);
        let third = turns.take(Tenant::Repo(3), WAIT).await.unwrap();
        drop((second, third));
        assert!(turns.tenants.lock().unwrap().is_empty());
    }
}
