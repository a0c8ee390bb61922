//! Read-through loading: a miss is loaded by the caller's closure, once for all who ask for the key meanwhile.
//!
//! The protocol, its invariants and its models are in `shard/flights.rs`; here it meets the tiers and the caller's types. The closure runs in its
//! caller's thread, while no lock and no pin is held.

use super::core::Core;
use super::outcome::EntryOptions;
use super::read::Touch;
use crate::hash::key_hash;
use crate::shard::flights::{self, Entered, Lead};
use crate::shard::{Loaded, Shards};
use crate::sync::PlainArc;
use bytes::Bytes;
use std::any::Any;

impl Core {
    /// The value of a key, loaded if it is not here. See [`Cache::try_get_with`](super::Cache::try_get_with).
    pub(crate) fn try_get_with<V, E>(
        &self,
        key: &[u8],
        options: EntryOptions,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Bytes, PlainArc<E>>
    where
        V: Into<Bytes>,
        E: Send + Sync + 'static,
    {
        if let Some(value) = self.get(key, Touch::Yes) {
            return Ok(value);
        }
        let hash = key_hash(self.salt, key);
        loop {
            match flights::enter(&self.shards, &self.waits, hash, key) {
                Entered::Leads(lead) => return self.lead(lead, hash, key, options, load),
                Entered::Shared(Ok(value)) => {
                    self.counters.loads_shared.one();
                    return Ok(value);
                }
                Entered::Shared(Err(error)) => {
                    if let Ok(error) = error.downcast::<E>() {
                        self.counters.loads_shared.one();
                        return Err(error);
                    }
                    // An error of a type that this caller does not know: ask again, like one who comes only now.
                }
                Entered::Alone => return self.run(load).map_err(PlainArc::new),
            }
        }
    }

    fn lead<V, E>(
        &self,
        lead: Lead<'_, Loaded, Shards>,
        hash: u64,
        key: &[u8],
        options: EntryOptions,
        load: impl FnOnce() -> Result<V, E>,
    ) -> Result<Bytes, PlainArc<E>>
    where
        V: Into<Bytes>,
        E: Send + Sync + 'static,
    {
        // Since the miss another load may have come and gone (I-FLY-3), or an insert.
        if let Some(value) = self.get_again(hash, key) {
            lead.finish(Ok(value.clone()));
            return Ok(value);
        }
        match self.run(load) {
            Ok(value) => {
                if self.insert_loaded(key, &value, options, lead.flight()).is_none() {
                    self.counters.loads_overtaken.one();
                }
                lead.finish(Ok(value.clone()));
                Ok(value)
            }
            Err(error) => {
                let error = PlainArc::new(error);
                let shared: PlainArc<dyn Any + Send + Sync> = PlainArc::<E>::clone(&error);
                lead.finish(Err(shared));
                Err(error)
            }
        }
    }

    /// Runs the caller's closure, and counts.
    fn run<V: Into<Bytes>, E>(&self, load: impl FnOnce() -> Result<V, E>) -> Result<Bytes, E> {
        self.counters.loads.one();
        // Each is measured: a load takes longer than looking at the clock, and services with few of them want to know too.
        let started_ns = (self.sample_one_in > 0).then(|| self.clock.monotonic_ns());
        let loaded = load();
        if let Some(started_ns) = started_ns {
            self.measured.load_ns.record(self.ns_since(started_ns));
        }
        if loaded.is_err() {
            self.counters.load_errors.one();
        }
        loaded.map(Into::into)
    }
}

#[cfg(all(test, not(emberlog_loom)))]
mod tests;
