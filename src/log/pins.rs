//! Pins: who reads a value holds it; who retires it waits until nobody does. Names are used again only after that.
//!
//! Invariants
//!  I-PIN-1  A retired value can no longer be pinned; its last holder was counted before the retirement.
//!  I-PIN-2  A name is given to another value only after `Retired::reclaim` returned the old one, so no pin outlives its name.

use crate::sync::{Arc, RwLock};

/// Values under small numeric names.
#[derive(Debug)]
pub(crate) struct PinTable<T> {
    slots: Box<[RwLock<Option<Arc<T>>>]>,
}

/// A pinned value. Held for the time of a copy.
pub(crate) type Pin<T> = Arc<T>;

/// A value that left the table and waits for its last pin to go.
#[derive(Debug)]
pub(crate) struct Retired<T> {
    pub(crate) name: u16,
    value: Arc<T>,
}

impl<T> PinTable<T> {
    /// A table with room for `len` names.
    pub(crate) fn new(len: usize) -> Self {
        Self { slots: (0..len).map(|_| RwLock::new(None)).collect() }
    }

    /// Puts a value under a free name.
    pub(crate) fn insert(&self, name: u16, value: Arc<T>) {
        let before = self.slots[usize::from(name)].write().replace(value);
        assert!(before.is_none(), "a name is free before it is given again: I-PIN-2");
    }

    /// Pins the value under a name, unless it was retired.
    #[inline]
    pub(crate) fn pin(&self, name: u16) -> Option<Pin<T>> {
        self.slots.get(usize::from(name))?.read().clone()
    }

    /// Takes a value out of the table; from here on nobody new can pin it.
    pub(crate) fn retire(&self, name: u16) -> Option<Retired<T>> {
        let value = self.slots[usize::from(name)].write().take()?;
        Some(Retired { name, value })
    }
}

impl<T> Retired<T> {
    /// The value itself, once no pin is left; else the retired value again.
    pub(crate) fn reclaim(self) -> Result<T, Self> {
        let name = self.name;
        Arc::try_unwrap(self.value).map_err(|value| Self { name, value })
    }
}

#[cfg(all(test, emberlog_loom))]
mod models {
    use super::*;
    use loom::cell::Cell;
    use loom::thread;

    /// Stands for a segment: its bytes go when it is reclaimed. loom reports a read that races with that.
    struct Mapped {
        uid: u32,
        bytes: Arc<Cell<u32>>,
    }

    fn mapped(uid: u32) -> Arc<Mapped> {
        Arc::new(Mapped { uid, bytes: Arc::new(Cell::new(uid)) })
    }

    /// Two reads through one name, the first pin held during the second.
    fn read_twice(table: &PinTable<Mapped>) {
        let Some(first) = table.pin(0) else { return };
        assert_eq!(first.bytes.get(), first.uid, "a pinned value is as it was put in");
        if let Some(second) = table.pin(0) {
            assert!(Arc::ptr_eq(&first, &second), "a name was given again while a pin held its old value");
        }
        assert_eq!(first.bytes.get(), first.uid, "a pinned value is not reclaimed");
    }

    fn unmap_and_reuse(table: &PinTable<Mapped>, bytes: &Cell<u32>) {
        bytes.set(0);
        table.insert(0, mapped(2));
    }

    fn model(retire: fn(&PinTable<Mapped>, &Cell<u32>), reader_count: usize) {
        loom::model(move || {
            let table = Arc::new(PinTable::new(1));
            let value = mapped(1);
            let bytes = Arc::clone(&value.bytes);
            table.insert(0, value);
            let readers: Vec<_> = (0..reader_count)
                .map(|_| {
                    let table = Arc::clone(&table);
                    thread::spawn(move || read_twice(&table))
                })
                .collect();
            retire(&table, &bytes);
            for reader in readers {
                reader.join().expect("the reader ends");
            }
        });
    }

    /// As the log does it: the bytes go, and the name is free, once `reclaim` has returned the value. Not reclaimed at once is retried once.
    fn retire_as_shipped(table: &PinTable<Mapped>, bytes: &Cell<u32>) {
        let retired = table.retire(0).expect("it is there");
        assert!(table.pin(0).is_none(), "what was retired can no longer be pinned: I-PIN-1");
        let reclaimed = retired.reclaim().or_else(|retired| {
            assert_eq!(retired.name, 0);
            thread::yield_now();
            retired.reclaim()
        });
        if reclaimed.is_ok_and(|value| value.uid == 1) {
            unmap_and_reuse(table, bytes);
        }
    }

    #[test]
    fn a_pinned_value_is_never_reclaimed_and_its_name_not_given_again() {
        model(retire_as_shipped, 1);
    }

    #[test]
    fn two_readers_hold_a_value_until_the_later_of_them_lets_go() {
        model(retire_as_shipped, 2);
    }

    /// The broken twin: it takes leaving the table for being free.
    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_twin_that_does_not_wait_for_pins_is_caught() {
        model(
            |table, bytes| {
                drop(table.retire(0));
                unmap_and_reuse(table, bytes);
            },
            1,
        );
    }

    /// The same twin where only the name is given again.
    #[test]
    #[should_panic(expected = "a name was given again while a pin held its old value")]
    fn a_twin_that_gives_the_name_again_at_once_is_caught() {
        model(
            |table, _bytes| {
                drop(table.retire(0));
                table.insert(0, mapped(2));
            },
            1,
        );
    }

    /// The broken twin of `retire`: it looks whether the value is pinned before it takes it out, not after.
    #[test]
    #[should_panic(expected = "Causality violation")]
    fn a_twin_that_asks_for_pins_before_it_retires_is_caught() {
        model(
            |table, bytes| {
                let pinned = table.slots[0].read().as_ref().is_some_and(|value| Arc::strong_count(value) > 1);
                drop(table.retire(0));
                if !pinned {
                    unmap_and_reuse(table, bytes);
                }
            },
            1,
        );
    }
}
