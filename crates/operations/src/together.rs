//! Doing together what is asked at the same time: requests of one kind that arrive while others are being served wait, and
//! are then served by one statement, or one transaction, which costs the database little more than serving one. Whoever
//! asks when nobody is being served is served at once.

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    future::Future,
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::{runtime::Handle, sync::oneshot};

/// So many that wait are served beside the group that is being served; fewer wait for its end, because groups of few
/// cost more than they gain.
const WORTH_A_GROUP: usize = 8;

/// Groups of one key that are served at once: fewer than a process has connections to the database.
const GROUPS_MAX: usize = 8;

/// What serves groups.
pub(crate) trait Service: Clone + Send + Sync + 'static {
    /// What all of a group have in common.
    type Key: Clone + Eq + Hash + Send + Sync;
    /// What is asked.
    type Question: Send;
    /// What is answered.
    type Answer: Send;

    /// Answers questions, in their order.
    fn serve(&self, key: &Self::Key, questions: Vec<Self::Question>) -> impl Future<Output = Vec<Self::Answer>> + Send;
}

/// Who waits for a service, by key.
pub(crate) struct Together<S: Service> {
    gatherings: Mutex<HashMap<S::Key, Gathering<S>>>,
    members_max: usize,
}

struct Gathering<S: Service> {
    /// How many groups are being served.
    under_way: usize,
    waiting: VecDeque<Member<S>>,
}

struct Member<S: Service> {
    question: S::Question,
    answer: oneshot::Sender<S::Answer>,
}

/// Whoever waited was not answered, because of a defect.
#[derive(Debug, thiserror::Error)]
#[error("the group was broken off")]
pub(crate) struct BrokenOff;

enum Joined<S: Service> {
    /// Nobody is being served: the question is a group of its own.
    Alone(S::Question),
    /// It waits for its answer; and whether another group has to be begun.
    Waits(oneshot::Receiver<S::Answer>, bool),
}

impl<S: Service> Together<S> {
    /// With at most so many in a group.
    pub(crate) fn new(members_max: usize) -> Arc<Self> {
        Arc::new(Self { gatherings: Mutex::default(), members_max })
    }

    /// Asks a service, together with others of the same key.
    ///
    /// # Errors
    /// When the service panicked or left answers out.
    pub(crate) async fn ask(
        self: &Arc<Self>,
        service: S,
        key: S::Key,
        question: S::Question,
    ) -> Result<S::Answer, BrokenOff> {
        match self.join(&key, question) {
            Joined::Alone(question) => {
                let turn = Turn { together: Arc::clone(self), service, key };
                turn.service.serve(&turn.key, vec![question]).await.pop().ok_or(BrokenOff)
            }
            Joined::Waits(told, begins) => {
                if begins {
                    Turn { together: Arc::clone(self), service, key }.pass_on();
                }
                told.await.map_err(|_| BrokenOff)
            }
        }
    }

    fn join(&self, key: &S::Key, question: S::Question) -> Joined<S> {
        match self.lock().entry(key.clone()) {
            Entry::Vacant(vacant) => {
                vacant.insert(Gathering { under_way: 1, waiting: VecDeque::new() });
                Joined::Alone(question)
            }
            Entry::Occupied(mut occupied) => {
                let gathering = occupied.get_mut();
                let (answer, told) = oneshot::channel();
                gathering.waiting.push_back(Member { question, answer });
                let begins = gathering.under_way < GROUPS_MAX && gathering.waiting.len() >= WORTH_A_GROUP;
                gathering.under_way += usize::from(begins);
                Joined::Waits(told, begins)
            }
        }
    }

    /// The next group: those who have waited longest and are still there. When nobody waits, the turn has ended.
    fn next(&self, key: &S::Key) -> Option<Vec<Member<S>>> {
        let mut gatherings = self.lock();
        let gathering = gatherings.get_mut(key)?;
        gathering.waiting.retain(|member| !member.answer.is_closed());
        if gathering.waiting.is_empty() {
            gathering.under_way -= 1;
            if gathering.under_way == 0 {
                gatherings.remove(key);
            }
            return None;
        }
        let count = gathering.waiting.len().min(self.members_max);
        Some(gathering.waiting.drain(..count).collect())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<S::Key, Gathering<S>>> {
        self.gatherings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to serve a group. Whatever ends it, a task takes it over while somebody waits: nobody is left because one who
/// was served before them has gone.
struct Turn<S: Service> {
    together: Arc<Together<S>>,
    service: S,
    key: S::Key,
}

impl<S: Service> Turn<S> {
    /// Leaves the serving to a task.
    fn pass_on(self) {
        drop(self);
    }

    async fn serve(self, members: Vec<Member<S>>) {
        let (questions, told): (Vec<S::Question>, Vec<_>) =
            members.into_iter().map(|member| (member.question, member.answer)).unzip();
        for (told, answer) in told.into_iter().zip(self.service.serve(&self.key, questions).await) {
            // Who has gone need not know.
            drop(told.send(answer));
        }
    }
}

impl<S: Service> Drop for Turn<S> {
    fn drop(&mut self) {
        let Some(members) = self.together.next(&self.key) else { return };
        let turn = Self { together: Arc::clone(&self.together), service: self.service.clone(), key: self.key.clone() };
        match Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn(turn.serve(members))),
            // The process ends. Who waits is told by the end of their channel, group by group.
            Err(_) => drop(members),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        sync::atomic::{AtomicUsize, Ordering},
    };

    use futures::future::join_all;
    use tokio::{sync::Semaphore, task::yield_now};

    use super::*;

    /// Serves groups one by one as the gate opens; answers each question with itself and the size of its group.
    #[derive(Clone)]
    struct Gated(Arc<Semaphore>);

    impl Service for Gated {
        type Key = &'static str;
        type Question = usize;
        type Answer = (usize, usize);

        async fn serve(&self, _: &Self::Key, questions: Vec<usize>) -> Vec<(usize, usize)> {
            self.0.acquire().await.unwrap().forget();
            let size = questions.len();
            questions.into_iter().map(|question| (question, size)).collect()
        }
    }

    fn gated(members_max: usize) -> (Arc<Together<Gated>>, Gated) {
        (Together::new(members_max), Gated(Arc::new(Semaphore::new(0))))
    }

    type Asked = Pin<Box<dyn Future<Output = Result<(usize, usize), BrokenOff>>>>;

    /// Asks, and goes on when the question waits.
    fn ask(together: &Arc<Together<Gated>>, gated: &Gated, key: &'static str, question: usize) -> Asked {
        let (together, gated) = (Arc::clone(together), gated.clone());
        let mut asked: Asked = Box::pin(async move { together.ask(gated, key, question).await });
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(asked.as_mut().poll(&mut context).is_pending());
        asked
    }

    #[tokio::test]
    async fn who_comes_while_another_is_served_is_served_with_the_rest() {
        let (together, gate) = gated(4);
        let mut all: Vec<Asked> = (0..=6).map(|question| ask(&together, &gate, "a", question)).collect();
        all.push(ask(&together, &gate, "b", 7));
        gate.0.add_permits(4);
        let answers: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers, [(0, 1), (1, 4), (2, 4), (3, 4), (4, 4), (5, 2), (6, 2), (7, 1)]);
        yield_now().await;
        assert!(together.lock().is_empty());
    }

    #[tokio::test]
    async fn many_who_wait_are_served_beside_the_others() {
        let (together, gate) = gated(64);
        let mut all = Vec::new();
        for question in 0..WORTH_A_GROUP {
            all.push(ask(&together, &gate, "a", question));
            assert_eq!(together.lock()["a"].under_way, 1);
        }
        all.push(ask(&together, &gate, "a", WORTH_A_GROUP));
        assert_eq!(together.lock()["a"].under_way, 2);
        gate.0.add_permits(2);
        let answers: Vec<_> = join_all(all).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(answers[0], (0, 1));
        assert!(answers[1..].iter().all(|(_, size)| *size == WORTH_A_GROUP));
        yield_now().await;
        assert!(together.lock().is_empty());
    }

    #[tokio::test]
    async fn who_has_gone_is_not_asked_about_and_leaves_nobody_behind() {
        let (together, gate) = gated(4);
        let first = ask(&together, &gate, "a", 0);
        let (gone, waiting) = (ask(&together, &gate, "a", 1), ask(&together, &gate, "a", 2));
        drop(gone);
        drop(first);
        gate.0.add_permits(1);
        assert_eq!(waiting.await.unwrap(), (2, 1));
    }

    /// Panics the first two times.
    #[derive(Clone)]
    struct Breaking(Arc<AtomicUsize>);

    impl Service for Breaking {
        type Key = ();
        type Question = usize;
        type Answer = usize;

        async fn serve(&self, (): &(), questions: Vec<usize>) -> Vec<usize> {
            yield_now().await;
            assert!(self.0.fetch_add(1, Ordering::SeqCst) > 1, "broken off");
            questions
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_to_those_in_the_group_and_holds_nobody_else_up() {
        let (together, breaking) = (Together::new(2), Breaking(Arc::default()));
        let ask = |question| {
            let (together, breaking) = (Arc::clone(&together), breaking.clone());
            tokio::spawn(async move { together.ask(breaking, (), question).await })
        };
        let (alone, second, third, last) = futures::join!(ask(0), ask(1), ask(2), ask(3));
        assert!(alone.unwrap_err().is_panic());
        assert!(second.unwrap().is_err() && third.unwrap().is_err());
        assert_eq!(last.unwrap().unwrap(), 3);
    }
}
