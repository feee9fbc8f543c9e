//! The newest events in memory, and who waits for more.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    task::Waker,
};

use docstore_database::event_log::LoggedEvent;

use crate::{Event, Scope};

/// What an event takes in the ring beside its text, roughly: its entries in the queues and the counters of its `Arc`s.
const EVENT_OVERHEAD_BYTES: usize = 200;

/// The most events that a stream takes at a time: enough to make the lock cheap, few enough that a slow reader holds on to
/// little that the ring has forgotten.
const TAKE_EVENTS_MAX: usize = 32;

/// The most bytes that a stream takes at a time, give or take one event.
const TAKE_BYTES_MAX: usize = 64 * 1024;

#[derive(Debug)]
pub(crate) struct Ring {
    events_max: usize,
    bytes_max: usize,
    /// The last position that was read.
    head: i64,
    /// Every event after this position and up to the head is here.
    complete_after: i64,
    bytes: usize,
    entries: VecDeque<Entry>,
    all: Slot,
    repos: HashMap<i64, Slot>,
    subjects: HashMap<Arc<str>, Slot>,
    next_id: u64,
    closed: bool,
}

/// An event and the slots that it belongs to.
#[derive(Debug)]
struct Entry {
    event: Arc<Event>,
    repo_id: Option<i64>,
    subject: Arc<str>,
    bytes: usize,
}

/// The events of one scope that streams look at. It exists as long as such a stream does.
#[derive(Debug, Default)]
struct Slot {
    events: VecDeque<Arc<Event>>,
    /// Every event of this scope after this position and up to the head is in `events`. It moves when an event *of this
    /// scope* is forgotten, so streams of a quiet repo stay in memory however much happens elsewhere.
    complete_after: i64,
    streams: usize,
    waiting: HashMap<u64, Waker>,
}

/// What a stream finds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Events, in order, and how far the stream has come with them.
    Events(Vec<Arc<Event>>, i64),
    /// Events after the cursor were forgotten; those up to this position can be read from the database.
    Forgotten { up_to: i64 },
    /// Nothing for this stream up to this position. The waker is called when there may be.
    Nothing { reached: i64 },
    /// There will be no more.
    Closed,
}

impl Ring {
    /// A ring that begins behind a position.
    pub(crate) fn new(head: i64, events_max: usize, bytes_max: usize) -> Self {
        Self {
            events_max,
            bytes_max,
            head,
            complete_after: head,
            bytes: 0,
            entries: VecDeque::new(),
            all: Slot { complete_after: head, ..Slot::default() },
            repos: HashMap::new(),
            subjects: HashMap::new(),
            next_id: 0,
            closed: false,
        }
    }

    pub(crate) fn head(&self) -> i64 {
        self.head
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Appends what was read behind the head, and returns whom to wake once the lock is released.
    pub(crate) fn append(&mut self, page: Vec<LoggedEvent>) -> Vec<Waker> {
        let mut woken = Vec::new();
        for row in page {
            // Read twice, after a loop was started again.
            if row.position <= self.head {
                continue;
            }
            self.head = row.position;
            let event = Arc::new(Event::new(row.position, row.event_type, &row.payload));
            let bytes = event.size() + row.subject.len() + EVENT_OVERHEAD_BYTES;
            let entry = Entry { event, repo_id: row.repo_id, subject: row.subject.into(), bytes };
            for slot in slots(&mut self.all, &mut self.repos, &mut self.subjects, &entry) {
                slot.events.push_back(entry.event.clone());
                woken.extend(slot.waiting.drain().map(|(_, waker)| waker));
            }
            self.bytes += bytes;
            self.entries.push_back(entry);
            self.forget();
        }
        woken
    }

    /// Drops the oldest events until the rest fits. An event that does not fit at all is forgotten at once, and reaches
    /// its streams from the database.
    fn forget(&mut self) {
        while self.entries.len() > self.events_max || self.bytes > self.bytes_max {
            let Some(entry) = self.entries.pop_front() else { return };
            self.bytes -= entry.bytes;
            self.complete_after = entry.event.position();
            for slot in slots(&mut self.all, &mut self.repos, &mut self.subjects, &entry) {
                slot.events.pop_front();
                slot.complete_after = entry.event.position();
            }
        }
    }

    /// Begins to keep the events of a scope for a stream.
    pub(crate) fn open(&mut self, scope: &Scope) -> u64 {
        let Self { all, repos, subjects, entries, complete_after, .. } = self;
        let fresh = |mine: &dyn Fn(&Entry) -> bool| Slot {
            events: entries.iter().filter(|entry| mine(entry)).map(|entry| entry.event.clone()).collect(),
            complete_after: *complete_after,
            ..Slot::default()
        };
        let slot = match scope {
            Scope::All => all,
            Scope::Repo(id) => repos.entry(*id).or_insert_with(|| fresh(&|entry| entry.repo_id == Some(*id))),
            Scope::Subject(subject) => {
                subjects.entry(subject.clone()).or_insert_with(|| fresh(&|entry| entry.subject == *subject))
            }
        };
        slot.streams += 1;
        self.next_id += 1;
        self.next_id
    }

    /// The stream is gone; with the last one of its scope, the scope's slot goes too.
    pub(crate) fn close_stream(&mut self, scope: &Scope, id: u64) {
        let Some(slot) = self.slot(scope) else { return };
        slot.waiting.remove(&id);
        slot.streams -= 1;
        if slot.streams == 0 {
            match scope {
                Scope::All => {}
                Scope::Repo(id) => drop(self.repos.remove(id)),
                Scope::Subject(subject) => drop(self.subjects.remove(subject)),
            }
        }
    }

    /// What a stream that has come as far as the cursor finds. It looks and leaves its waker under one lock, so that no
    /// event can come in between.
    pub(crate) fn find(
        &mut self,
        scope: &Scope,
        id: u64,
        cursor: i64,
        wanted: impl Fn(&Event) -> bool,
        waker: &Waker,
    ) -> Found {
        if self.closed {
            return Found::Closed;
        }
        let head = self.head;
        let Some(slot) = self.slot(scope) else { return Found::Closed };
        if cursor < slot.complete_after {
            return Found::Forgotten { up_to: head };
        }
        let first = slot.events.partition_point(|event| event.position() <= cursor);
        // A stream may have come further than this process has read: it was given positions by another one.
        let mut reached = cursor.max(head);
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for event in slot.events.range(first..).filter(|event| wanted(event)) {
            taken.push(event.clone());
            bytes += event.size();
            if taken.len() >= TAKE_EVENTS_MAX || bytes >= TAKE_BYTES_MAX {
                reached = event.position();
                break;
            }
        }
        if taken.is_empty() {
            slot.waiting.insert(id, waker.clone());
            return Found::Nothing { reached };
        }
        Found::Events(taken, reached)
    }

    /// Ends every stream. Returns whom to wake once the lock is released.
    pub(crate) fn close(&mut self) -> Vec<Waker> {
        self.closed = true;
        std::iter::once(&mut self.all)
            .chain(self.repos.values_mut())
            .chain(self.subjects.values_mut())
            .flat_map(|slot| slot.waiting.drain().map(|(_, waker)| waker))
            .collect()
    }

    fn slot(&mut self, scope: &Scope) -> Option<&mut Slot> {
        match scope {
            Scope::All => Some(&mut self.all),
            Scope::Repo(id) => self.repos.get_mut(id),
            Scope::Subject(subject) => self.subjects.get_mut(subject),
        }
    }
}

/// The slots that an event belongs to: at most three.
fn slots<'a>(
    all: &'a mut Slot,
    repos: &'a mut HashMap<i64, Slot>,
    subjects: &'a mut HashMap<Arc<str>, Slot>,
    entry: &Entry,
) -> impl Iterator<Item = &'a mut Slot> {
    let of_repo = entry.repo_id.and_then(|id| repos.get_mut(&id));
    let of_subject = subjects.get_mut(&entry.subject);
    std::iter::once(all).chain(of_repo).chain(of_subject)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LARGE: usize = 1 << 20;

    fn row(position: i64, repo_id: i64) -> LoggedEvent {
        LoggedEvent {
            position,
            repo_id: Some(repo_id),
            subject: format!("acme/{repo_id}"),
            event_type: "x".into(),
            payload: "{}".into(),
            age_seconds: 0.0,
        }
    }

    fn find(ring: &mut Ring, scope: &Scope, id: u64, cursor: i64) -> Result<(Vec<i64>, i64), Found> {
        match ring.find(scope, id, cursor, |_| true, Waker::noop()) {
            Found::Events(events, reached) => Ok((events.iter().map(|event| event.position()).collect(), reached)),
            other => Err(other),
        }
    }

    #[test]
    fn a_stream_of_a_quiet_repo_stays_in_memory_while_the_ring_turns_over() {
        let mut ring = Ring::new(0, 3, LARGE);
        let (quiet, busy) = (Scope::Repo(1), Scope::Repo(2));
        let (q, b) = (ring.open(&quiet), ring.open(&busy));
        assert_eq!(find(&mut ring, &quiet, q, 0), Err(Found::Nothing { reached: 0 }));
        assert_eq!(find(&mut ring, &busy, b, 0), Err(Found::Nothing { reached: 0 }));
        let woken = ring.append((1..=100).map(|position| row(position, 2)).collect());
        assert_eq!(woken.len(), 1, "an event wakes those whom it concerns, once");
        assert_eq!(ring.len(), 3);
        assert_eq!(find(&mut ring, &quiet, q, 0), Err(Found::Nothing { reached: 100 }));
        assert_eq!(find(&mut ring, &busy, b, 0), Err(Found::Forgotten { up_to: 100 }));
        assert_eq!(find(&mut ring, &busy, b, 97), Ok((vec![98, 99, 100], 100)));
        // The same from the quiet stream's old cursor, for one that slept through all of it.
        assert_eq!(ring.append(vec![row(101, 1)]).len(), 1);
        assert_eq!(find(&mut ring, &quiet, q, 0), Ok((vec![101], 101)));
    }

    #[test]
    fn a_scope_that_is_new_to_the_ring_starts_with_what_the_ring_holds() {
        let mut ring = Ring::new(10, 3, LARGE);
        ring.append((11..=15).map(|position| row(position, position % 2)).collect());
        let subject = Scope::Subject("acme/1".into());
        for scope in [Scope::Repo(1), subject] {
            let id = ring.open(&scope);
            assert_eq!(find(&mut ring, &scope, id, 12), Ok((vec![13, 15], 15)));
            assert_eq!(find(&mut ring, &scope, id, 13), Ok((vec![15], 15)));
            assert_eq!(find(&mut ring, &scope, id, 11), Err(Found::Forgotten { up_to: 15 }), "12 is not known here");
            ring.close_stream(&scope, id);
        }
        assert!(ring.repos.is_empty() && ring.subjects.is_empty(), "nobody looks any more");
    }

    #[test]
    fn a_stream_ahead_of_this_process_waits_for_what_lies_behind_it() {
        let mut ring = Ring::new(10, 100, LARGE);
        let id = ring.open(&Scope::All);
        assert_eq!(find(&mut ring, &Scope::All, id, 12), Err(Found::Nothing { reached: 12 }));
        ring.append(vec![row(11, 1), row(12, 1)]);
        assert_eq!(find(&mut ring, &Scope::All, id, 12), Err(Found::Nothing { reached: 12 }));
        ring.append(vec![row(12, 1), row(13, 1)]);
        assert_eq!(find(&mut ring, &Scope::All, id, 12), Ok((vec![13], 13)), "a row that is read twice counts once");
        assert_eq!(ring.len(), 3);
    }

    #[test]
    fn the_ring_is_bounded_by_bytes_too_even_for_one_event() {
        let mut ring = Ring::new(0, 100, 1000);
        let id = ring.open(&Scope::All);
        let long = LoggedEvent { payload: "x".repeat(2000), ..row(5, 1) };
        ring.append(vec![row(1, 1), row(2, 1), row(3, 1), row(4, 1)]);
        assert_eq!((ring.len(), find(&mut ring, &Scope::All, id, 0)), (4, Ok((vec![1, 2, 3, 4], 4))));
        ring.append(vec![long]);
        assert_eq!((ring.len(), ring.bytes()), (0, 0));
        assert_eq!(find(&mut ring, &Scope::All, id, 4), Err(Found::Forgotten { up_to: 5 }));
        ring.append(vec![row(6, 1)]);
        assert_eq!(find(&mut ring, &Scope::All, id, 5), Ok((vec![6], 6)));
    }

    #[test]
    fn a_stream_takes_a_bounded_number_at_a_time_and_passes_over_what_it_does_not_want() {
        let mut ring = Ring::new(0, 1000, LARGE);
        let id = ring.open(&Scope::All);
        ring.append((1..=100).map(|position| row(position, 1)).collect());
        let (positions, reached) = find(&mut ring, &Scope::All, id, 10).unwrap();
        assert_eq!((positions.len(), reached), (TAKE_EVENTS_MAX, 42));
        let one = |event: &Event| event.position() == 50;
        let Found::Events(events, reached) = ring.find(&Scope::All, id, 10, one, Waker::noop()) else { panic!() };
        assert_eq!((events[0].position(), events.len(), reached), (50, 1, 100));
        assert_eq!(ring.find(&Scope::All, id, 50, one, Waker::noop()), Found::Nothing { reached: 100 });
    }

    #[test]
    fn closing_wakes_everybody() {
        let mut ring = Ring::new(0, 10, LARGE);
        for scope in [Scope::All, Scope::Repo(1), Scope::Subject("x".into())] {
            let id = ring.open(&scope);
            assert_eq!(find(&mut ring, &scope, id, 0), Err(Found::Nothing { reached: 0 }));
        }
        assert_eq!(ring.close().len(), 3);
        assert_eq!(find(&mut ring, &Scope::All, 1, 0), Err(Found::Closed));
    }
}
