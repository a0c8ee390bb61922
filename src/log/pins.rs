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
