//! Flights: loads that are under way, at most one for a key, and those who wait for them.
//!
//! A flight is *listed* in its key's shard before its load begins, and joined by whoever misses the key meanwhile. A mutation of the key takes it off
//! the list: it is *overtaken*, its value is stored no more, and only those who had joined before still get it.
//!
//! Knows: keys, hashes, threads. Does not know: what is loaded, the tiers, the log.
//!
//! Invariants
//!  I-FLY-1  A flight is listed before its load begins, and each mutation takes its key's flight off the list, both under the lock of the key's shard.
//!           So a flight that is still listed was not overtaken; its value is stored only then, under the same hold of that lock.
//!  I-FLY-2  Only a listed flight is joined. So whoever joins asked before the mutation that overtakes it ended, and gets no value that was loaded
//!           before a mutation that had ended when they asked.
//!  I-FLY-3  At most one flight of a key is listed. Who lists one looks the key up once more before loading: what the flight before it stored is there.
//!  I-FLY-4  A flight whose loader gave up without a result is taken over by one of those who wait, or, where nobody does, is not listed.
//!  I-FLY-5  No thread waits for a load that waits for that thread, directly or through others.
//!
//! Lock order: shard, then a flight's state; the list of those who wait, then a flight's state. All are held for moments: while the caller's load runs, or
//! somebody waits for it, none is.

use crate::sync::{Arc, Condvar, Mutex, ThreadId, current_thread};

/// A load that is under way, or its result while somebody still has to take it.
#[derive(Debug)]
pub(crate) struct Flight<T> {
    hash: u64,
    key: Box<[u8]>,
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    phase: Phase<T>,
    /// Who joined and has neither taken the result nor taken over.
    waiter_count: usize,
}

#[derive(Debug)]
enum Phase<T> {
    /// This thread loads.
    Loading(ThreadId),
    /// The one who loaded gave up without a result.
    Vacant,
    Done(T),
}

/// How waiting ended.
enum Waited<T> {
    Done(T),
    /// The one who waited is the loader now.
    TookOver,
}

impl<T: Clone> Flight<T> {
    fn new(hash: u64, key: &[u8]) -> Self {
        let state = State { phase: Phase::Loading(current_thread()), waiter_count: 0 };
        Self { hash, key: key.into(), state: Mutex::new(state), changed: Condvar::new() }
    }

    fn loader(&self) -> Option<ThreadId> {
        match self.state.lock().phase {
            Phase::Loading(thread) => Some(thread),
            Phase::Vacant | Phase::Done(_) => None,
        }
    }

    fn wait(&self) -> Waited<T> {
        let mut state = self.state.lock();
        loop {
            match &state.phase {
                Phase::Loading(_) => self.changed.wait(&mut state),
                Phase::Vacant => {
                    state.phase = Phase::Loading(current_thread());
                    state.waiter_count -= 1;
                    return Waited::TookOver;
                }
                Phase::Done(result) => {
                    let result = result.clone();
                    state.waiter_count -= 1;
                    return Waited::Done(result);
                }
            }
        }
    }

    fn finish(&self, result: T) {
        self.state.lock().phase = Phase::Done(result);
        self.changed.notify_all();
    }
}

/// The listed flights of one shard, guarded by its lock. As many as callers load at once.
#[derive(Debug)]
pub(crate) struct Flights<T> {
    listed: Vec<Arc<Flight<T>>>,
}

impl<T> Default for Flights<T> {
    fn default() -> Self {
        Self { listed: Vec::new() }
    }
}

/// What asking for a flight came to.
enum Joined<T> {
    /// The flight that was brought along is listed.
    Listed(Arc<Flight<T>>),
    /// Another one was listed before.
    Waits(Arc<Flight<T>>),
}

impl<T> Flights<T> {
    /// Takes a key's flight off the list, because the key is changed now. O(1) while nothing is loaded.
    #[inline]
    pub(crate) fn overtake(&mut self, hash: u64) {
        if !self.listed.is_empty() {
            // By hash alone: should another key have the very same one, its value is not stored, no more.
            self.listed.retain(|flight| flight.hash != hash);
        }
    }

    /// Takes all flights off the list, because all keys are changed now.
    pub(crate) fn overtake_all(&mut self) {
        self.listed.clear();
    }

    /// Takes a flight off the list; tells whether it was still there, so that its value may be stored under this hold of the lock (I-FLY-1).
    pub(crate) fn land(&mut self, flight: &Arc<Flight<T>>) -> bool {
        let at = self.listed.iter().position(|listed| Arc::ptr_eq(listed, flight));
        at.map(|at| self.listed.swap_remove(at)).is_some()
    }

    fn find(&self, hash: u64, key: &[u8]) -> Option<&Arc<Flight<T>>> {
        self.listed.iter().find(|flight| flight.hash == hash && *flight.key == *key)
    }

    fn join(&mut self, fresh: Arc<Flight<T>>) -> Joined<T> {
        if let Some(flight) = self.find(fresh.hash, &fresh.key) {
            flight.state.lock().waiter_count += 1;
            return Joined::Waits(Arc::clone(flight));
        }
        self.listed.push(Arc::clone(&fresh));
        Joined::Listed(fresh)
    }

    /// Lists a flight that was taken over, if it is not and no other of its key is. Its load begins after this.
    fn list_again(&mut self, flight: &Arc<Flight<T>>) {
        if self.find(flight.hash, &flight.key).is_none() {
            self.listed.push(Arc::clone(flight));
        }
    }

    /// Changes the state of a flight. If nobody loads then, one of those who wait is woken to do so, or the flight is taken off (I-FLY-4).
    fn hand_on(&mut self, flight: &Arc<Flight<T>>, change: impl FnOnce(&mut State<T>)) {
        let mut state = flight.state.lock();
        change(&mut state);
        let (is_vacant, has_waiters) = (matches!(state.phase, Phase::Vacant), state.waiter_count > 0);
        drop(state);
        if is_vacant && has_waiters {
            flight.changed.notify_one();
        } else if is_vacant {
            self.land(flight);
        }
    }

    fn give_up(&mut self, flight: &Arc<Flight<T>>) {
        self.hand_on(flight, |state| state.phase = Phase::Vacant);
    }

    fn leave(&mut self, flight: &Arc<Flight<T>>) {
        self.hand_on(flight, |state| state.waiter_count -= 1);
    }
}

/// Who waits for what: a line for each thread that does.
#[derive(Debug)]
pub(crate) struct Waits<T>(Mutex<Vec<(ThreadId, Arc<Flight<T>>)>>);

impl<T> Default for Waits<T> {
    fn default() -> Self {
        Self(Mutex::new(Vec::new()))
    }
}

impl<T: Clone> Waits<T> {
    /// Notes that this thread is going to wait; refuses if the flight's loader waits for this thread, or is it (I-FLY-5). A loader that is taken over
    /// later does not wait then, so a cycle can only close here.
    fn begin(&self, flight: &Arc<Flight<T>>) -> bool {
        let me = current_thread();
        let mut waiting = self.0.lock();
        let mut next = Some(flight);
        // Who was woken may still have its line, so that lines can seem to go round; there are no more steps than lines.
        for _ in 0..=waiting.len() {
            let Some(loader) = next.and_then(|flight| flight.loader()) else { break };
            if loader == me {
                return false;
            }
            next = waiting.iter().find(|(thread, _)| *thread == loader).map(|(_, flight)| flight);
        }
        waiting.push((me, Arc::clone(flight)));
        true
    }

    /// This thread waits no more. It still holds its flight, so nothing of the caller's is dropped under the lock.
    fn end(&self) {
        let me = current_thread();
        let mut waiting = self.0.lock();
        if let Some(at) = waiting.iter().position(|(thread, _)| *thread == me) {
            waiting.swap_remove(at);
        }
    }
}

/// Where flights are listed: each list behind the lock under which the keys in it change.
pub(crate) trait Lists<T> {
    /// Runs a closure on the list of a hash, under its lock.
    fn locked<R>(&self, hash: u64, act: impl FnOnce(&mut Flights<T>) -> R) -> R;
}

/// What somebody who misses a key has to do.
pub(crate) enum Entered<'a, T: Clone, L: Lists<T>> {
    /// Look once more, load, store, and [`finish`](Lead::finish).
    Leads(Lead<'a, T, L>),
    /// Take this: another one's result.
    Shared(T),
    /// Load, store nothing, tell nobody: the flight waits for this very thread (I-FLY-5).
    Alone,
}

/// Joins the flight of a key and waits for it, or lists one.
pub(crate) fn enter<'a, T: Clone, L: Lists<T>>(
    lists: &'a L,
    waits: &Waits<T>,
    hash: u64,
    key: &[u8],
) -> Entered<'a, T, L> {
    let fresh = Arc::new(Flight::new(hash, key));
    match lists.locked(hash, |flights| flights.join(fresh)) {
        Joined::Listed(flight) => Entered::Leads(Lead { lists, flight, is_finished: false }),
        Joined::Waits(flight) => {
            if !waits.begin(&flight) {
                lists.locked(hash, |flights| flights.leave(&flight));
                return Entered::Alone;
            }
            let waited = flight.wait();
            waits.end();
            match waited {
                Waited::Done(result) => Entered::Shared(result),
                Waited::TookOver => {
                    lists.locked(hash, |flights| flights.list_again(&flight));
                    Entered::Leads(Lead { lists, flight, is_finished: false })
                }
            }
        }
    }
}

/// The right and the duty to load. Dropped without a result (a panic), it hands both on to one of those who wait.
pub(crate) struct Lead<'a, T: Clone, L: Lists<T>> {
    lists: &'a L,
    flight: Arc<Flight<T>>,
    is_finished: bool,
}

impl<T: Clone, L: Lists<T>> Lead<'_, T, L> {
    /// For [`Flights::land`].
    pub(crate) fn flight(&self) -> &Arc<Flight<T>> {
        &self.flight
    }

    /// Gives the result to all who wait. Nobody joins any more, so that an error is shared and not kept.
    pub(crate) fn finish(mut self, result: T) {
        self.is_finished = true;
        self.lists.locked(self.flight.hash, |flights| flights.land(&self.flight));
        self.flight.finish(result);
    }
}

impl<T: Clone, L: Lists<T>> Drop for Lead<'_, T, L> {
    fn drop(&mut self) {
        if !self.is_finished {
            self.lists.locked(self.flight.hash, |flights| flights.give_up(&self.flight));
        }
    }
}

#[cfg(all(test, not(emberlog_loom)))]
impl<T> Flights<T> {
    /// How many wait for a key's flight, if one is listed.
    pub(crate) fn waiter_count(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.find(hash, key).map(|flight| flight.state.lock().waiter_count)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

#[cfg(all(test, emberlog_loom))]
mod models {
    use super::*;
    use crate::sync::{AtomicU32, Ordering, RwLock};
    use loom::thread;

    /// Stands for a cache with keys `A` and `B` in one shard, and for what the values are loaded from.
    struct Model {
        shard: RwLock<ModelShard>,
        waits: Waits<u32>,
        source: AtomicU32,
        load_count: AtomicU32,
    }

    struct ModelShard {
        flights: Flights<u32>,
        values: [Option<u32>; 2],
    }

    const A: usize = 0;
    const B: usize = 1;

    fn key(at: usize) -> (u64, &'static [u8]) {
        (at as u64, [b"a", b"b"][at])
    }

    impl Lists<u32> for Model {
        fn locked<R>(&self, _hash: u64, act: impl FnOnce(&mut Flights<u32>) -> R) -> R {
            act(&mut self.shard.write().flights)
        }
    }

    /// How a loader stores what it loaded, and how a mutation takes place: what the broken twins do in another way.
    #[derive(Clone, Copy)]
    struct Ways {
        store: fn(&Model, usize, u32, &Arc<Flight<u32>>),
        remove: fn(&Model, usize),
        enter: for<'a> fn(&'a Model, usize) -> Entered<'a, u32, Model>,
        give_up: fn(Lead<'_, u32, Model>),
    }

    /// As the cache does it.
    const SHIPPED: Ways = Ways {
        store: |model, at, value, flight| {
            let mut shard = model.shard.write();
            if shard.flights.land(flight) {
                shard.values[at] = Some(value);
            }
        },
        remove: |model, at| {
            let mut shard = model.shard.write();
            shard.flights.overtake(key(at).0);
            shard.values[at] = None;
        },
        enter: |model, at| enter(model, &model.waits, key(at).0, key(at).1),
        give_up: |lead| drop(lead),
    };

    impl Model {
        fn new() -> Arc<Self> {
            let shard = ModelShard { flights: Flights::default(), values: [None; 2] };
            Arc::new(Self {
                shard: RwLock::new(shard),
                waits: Waits::default(),
                source: AtomicU32::new(1),
                load_count: AtomicU32::new(0),
            })
        }

        fn get(&self, at: usize) -> Option<u32> {
            self.shard.read().values[at]
        }

        fn get_with(&self, ways: Ways, at: usize, load: impl FnOnce() -> u32) -> u32 {
            if let Some(value) = self.get(at) {
                return value;
            }
            match (ways.enter)(self, at) {
                Entered::Shared(value) => value,
                Entered::Alone => load(),
                Entered::Leads(lead) => {
                    if let Some(value) = self.get(at) {
                        lead.finish(value);
                        return value;
                    }
                    let value = load();
                    (ways.store)(self, at, value, lead.flight());
                    lead.finish(value);
                    value
                }
            }
        }

        fn load(&self) -> u32 {
            self.load_count.fetch_add(1, Ordering::SeqCst);
            self.source.load(Ordering::SeqCst)
        }

        fn assert_at_rest(&self) {
            assert!(self.shard.read().flights.listed.is_empty(), "nobody loads, and a flight is listed: I-FLY-4");
            assert!(self.waits.0.lock().is_empty(), "nobody waits");
        }
    }

    /// Runs a twin in a child: a deadlock cannot be caught where it is modelled, as loom's types panic again when they are dropped there.
    fn assert_deadlocks(twin: &str) {
        let name = format!("shard::flights::models::{twin}");
        let child = std::process::Command::new(std::env::current_exe().expect("the path of this test"))
            .args(["--exact", &name, "--ignored", "--nocapture", "--test-threads=1"])
            .env("RUST_BACKTRACE", "0")
            .output()
            .expect("this test can be run again");
        let text = String::from_utf8_lossy(&child.stderr);
        assert!(!child.status.success() && text.contains("deadlock; threads"), "{twin} was not caught: {text}");
    }

    /// Two threads in every interleaving; of three, those with at most two preemptions, as all would take hours.
    fn check(thread_count: usize, body: impl Fn() + Sync + Send + 'static) {
        let mut builder = loom::model::Builder::new();
        if thread_count > 2 {
            builder.preemption_bound = builder.preemption_bound.or(Some(2));
        }
        builder.check(body);
    }

    /// All ask for one key.
    fn one_load(ways: Ways, thread_count: usize) {
        check(thread_count, move || {
            let model = Model::new();
            let others: Vec<_> = (1..thread_count)
                .map(|_| {
                    let model = Arc::clone(&model);
                    thread::spawn(move || model.get_with(ways, A, || model.load()))
                })
                .collect();
            assert_eq!(model.get_with(ways, A, || model.load()), 1);
            for other in others {
                assert_eq!(other.join().expect("it ends"), 1);
            }
            assert_eq!(model.load_count.load(Ordering::SeqCst), 1, "one load for all");
            model.assert_at_rest();
        });
    }

    #[test]
    fn two_who_miss_a_key_at_once_cause_one_load() {
        one_load(SHIPPED, 2);
    }

    #[test]
    fn three_who_miss_a_key_at_once_cause_one_load() {
        one_load(SHIPPED, 3);
    }

    /// The broken twin: it leaves the list before its value is stored.
    #[test]
    #[should_panic(expected = "one load for all")]
    fn a_twin_that_leaves_the_list_before_its_value_is_there_is_caught() {
        let store = |model: &Model, at: usize, value, flight: &Arc<Flight<u32>>| {
            model.shard.write().flights.land(flight);
            model.shard.write().values[at] = Some(value);
        };
        one_load(Ways { store, ..SHIPPED }, 2);
    }

    /// One loads; another changes the source, removes the key, and asks.
    fn overtaken(ways: Ways) {
        loom::model(move || {
            let model = Model::new();
            let loading = {
                let model = Arc::clone(&model);
                thread::spawn(move || model.get_with(ways, A, || model.load()))
            };
            model.source.store(2, Ordering::SeqCst);
            (ways.remove)(&model, A);
            let seen = model.get_with(ways, A, || model.load());
            assert_eq!(seen, 2, "what was loaded before a mutation is seen after it");
            loading.join().expect("it ends");
            assert!(
                model.get(A).is_none_or(|value| value == 2),
                "what was loaded before a mutation is stored after it"
            );
            model.assert_at_rest();
        });
    }

    #[test]
    fn a_mutation_wins_over_a_load_that_began_before_it() {
        overtaken(SHIPPED);
    }

    /// The broken twin: between the look at the list and the store the lock is free.
    #[test]
    #[should_panic(expected = "what was loaded before a mutation is")]
    fn a_twin_that_lands_and_stores_under_two_holds_of_the_lock_is_caught() {
        let store = |model: &Model, at: usize, value, flight: &Arc<Flight<u32>>| {
            let is_listed = model.shard.write().flights.land(flight);
            if is_listed {
                model.shard.write().values[at] = Some(value);
            }
        };
        overtaken(Ways { store, ..SHIPPED });
    }

    /// The broken twin: its mutation does not look for loads.
    #[test]
    #[should_panic(expected = "what was loaded before a mutation is")]
    fn a_twin_whose_mutation_overtakes_nothing_is_caught() {
        overtaken(Ways { remove: |model, at| model.shard.write().values[at] = None, ..SHIPPED });
    }

    /// The first to load gives up without a result; the others load for themselves or wait for each other.
    fn given_up(ways: Ways, thread_count: usize) {
        check(thread_count, move || {
            let model = Model::new();
            let others: Vec<_> = (1..thread_count)
                .map(|_| {
                    let model = Arc::clone(&model);
                    thread::spawn(move || model.get_with(ways, A, || model.load()))
                })
                .collect();
            let gave_up = match (ways.enter)(&model, A) {
                Entered::Leads(lead) => {
                    (ways.give_up)(lead);
                    true
                }
                Entered::Shared(value) => {
                    assert_eq!(value, 1);
                    false
                }
                Entered::Alone => unreachable!("nobody waits for this thread"),
            };
            for other in others {
                assert_eq!(other.join().expect("it ends"), 1);
            }
            let loads = model.load_count.load(Ordering::SeqCst);
            assert_eq!(loads, 1, "one load for those who are left (given up: {gave_up})");
            model.assert_at_rest();
        });
    }

    #[test]
    fn a_load_that_is_given_up_is_taken_over() {
        given_up(SHIPPED, 2);
    }

    #[test]
    fn a_load_that_is_given_up_is_taken_over_by_one_of_two() {
        given_up(SHIPPED, 3);
    }

    /// The broken twin: it gives up and wakes nobody.
    #[test]
    #[ignore = "deadlocks: run by the test below"]
    fn gives_up_silently() {
        let give_up = |mut lead: Lead<'_, u32, Model>| {
            lead.is_finished = true;
            lead.flight.state.lock().phase = Phase::Vacant;
        };
        given_up(Ways { give_up, ..SHIPPED }, 2);
    }

    #[test]
    fn a_twin_that_gives_up_silently_is_caught() {
        assert_deadlocks("gives_up_silently");
    }

    /// The broken twin: it gives up as if it had not been listed.
    #[test]
    #[ignore = "deadlocks: run by the test below"]
    fn gives_up_without_looking() {
        let give_up = |mut lead: Lead<'_, u32, Model>| {
            lead.is_finished = true;
            lead.lists.locked(lead.flight.hash, |flights| flights.land(&lead.flight));
        };
        given_up(Ways { give_up, ..SHIPPED }, 2);
    }

    #[test]
    fn a_twin_that_gives_up_without_looking_for_those_who_wait_is_caught() {
        assert_deadlocks("gives_up_without_looking");
    }

    /// Loads of two keys each of which asks for the other.
    fn crossed(ways: Ways) {
        loom::model(move || {
            let model = Model::new();
            let other = {
                let model = Arc::clone(&model);
                thread::spawn(move || model.get_with(ways, B, || model.get_with(ways, A, || model.load())))
            };
            assert_eq!(model.get_with(ways, A, || model.get_with(ways, B, || model.load())), 1);
            assert_eq!(other.join().expect("it ends"), 1);
            model.assert_at_rest();
        });
    }

    #[test]
    fn loads_that_ask_for_each_other_end() {
        crossed(SHIPPED);
    }

    /// The broken twin: it waits without looking for whom.
    #[test]
    #[ignore = "deadlocks: run by the test below"]
    fn waits_for_whoever_loads() {
        fn waits_blindly(model: &Model, at: usize) -> Entered<'_, u32, Model> {
            let fresh = Arc::new(Flight::new(key(at).0, key(at).1));
            match model.locked(key(at).0, |flights| flights.join(fresh)) {
                Joined::Listed(flight) => Entered::Leads(Lead { lists: model, flight, is_finished: false }),
                Joined::Waits(flight) => match flight.wait() {
                    Waited::Done(value) => Entered::Shared(value),
                    Waited::TookOver => unreachable!("nobody gives up here"),
                },
            }
        }
        crossed(Ways { enter: waits_blindly, ..SHIPPED });
    }

    #[test]
    fn a_twin_that_waits_for_whoever_loads_is_caught() {
        assert_deadlocks("waits_for_whoever_loads");
    }
}
