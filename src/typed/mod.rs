//! Typed keys and values over a [`Cache`]: what users of the bytes would write themselves, with misses where they would have errors.
//!
//! Knows: the facade, codecs, the header in front of each value. Does not know: tiers, logs, locks; and nothing below knows types.
//!
//! # What is stored
//! A key is four bytes of its cache's namespace and the encoded key. A value is eight bytes of header (layout, codec, version, type) and the encoded value.
//! The disk format does not know of either: to it they are bytes.
//!
//! # Several types in one cache
//! Any number of typed caches share a [`Cache`] and its budgets. Their names keep their keys apart: [`TypedCache::new`] takes one that stands for both the
//! namespace and the type, [`TypedBuilder::type_name`] parts the two. Names are hashed to four bytes each, under different seeds: should two
//! namespaces collide, each finds values of another type, so they cost each other misses and never serve each other's values. Keys that other code
//! gives the [`Cache`] itself are anything, so nothing keeps them apart but their first four bytes.
//!
//! # When a value is not served
//! A value of another type, version or codec, and one that does not decode, is a miss, counted in [`TypedStats`]; never an error, never a panic.
//! It is left where it is. The insert that follows a miss replaces it, and the log retires it with its age. Removing it instead would cost a record on disk;
//! could take away what another thread has just inserted; and while two versions of a service run one after the other on a store, each would destroy
//! what the other one can still use.
//!
//! # Changing a type
//! Give it another [version](TypedBuilder::version) whenever its bytes change: fields, their order, types within, and the encoding of its *keys* too, since
//! what was an encoded `u64` may also be an encoded `String`. Values of the old version are misses from then on.

mod builder;
mod codec;
mod header;
mod stats;

pub use builder::TypedBuilder;
pub use codec::bincode::BincodeCodec;
pub use codec::pod::PodCodec;
#[cfg(feature = "postcard")]
pub use codec::postcard::PostcardCodec;
pub use codec::{Codec, CodecError, EncodeError, KeyCodec, LendCodec};
pub use stats::TypedStats;

use self::header::{HEADER_LEN, Header, KEY_PREFIX_LEN, Verdict};
use self::stats::Counters;
use crate::cache::{Cache, EntryOptions, InsertOutcome};
use crate::sync::PlainArc;
use std::borrow::Borrow;
use std::fmt;
use std::marker::PhantomData;

/// A [`Cache`] of values of one type under keys of one type. Cheap to clone; all clones are the same cache and count together. `Send` and `Sync` wherever
/// the codec is.
///
/// Keys may be given in a borrowed form, as to a `HashMap`: `&str` where `K` is `String`. The codec's code and the types' own run while no lock
/// is held.
///
/// ```
/// use emberlog::Cache;
/// use emberlog::typed::TypedCache;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, PartialEq, Serialize, Deserialize)]
/// struct User {
///     name: String,
///     groups: Vec<u32>,
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let users = TypedCache::<String, User>::builder(cache.clone(), "user").version(3).build();
/// let hits = TypedCache::<(u32, u32), u64>::new(cache.clone(), "hits"); // beside it, in the same cache
///
/// let ada = User { name: "Ada".into(), groups: vec![1, 7] };
/// assert!(users.insert("user:42", &ada)?.is_stored());
/// hits.insert(&(42, 1), &17)?;
/// assert_eq!(users.get("user:42"), Some(ada));
/// assert_eq!(hits.get(&(42, 1)), Some(17));
///
/// // The next version of the service reads only what it has written.
/// let users = TypedCache::<String, User>::builder(cache, "user").version(4).build();
/// assert_eq!(users.get("user:42"), None);
/// assert_eq!(users.stats().other_version, 1);
/// # Ok(()) }
/// ```
pub struct TypedCache<K, V, C = BincodeCodec> {
    cache: Cache,
    shared: PlainArc<Shared<C>>,
    /// Takes keys and values, owns none.
    types: PhantomData<fn(&K, &V)>,
}

/// What all clones have.
#[derive(Debug)]
struct Shared<C> {
    codec: C,
    key_prefix: [u8; KEY_PREFIX_LEN],
    type_id: u32,
    version: u16,
    type_name: String,
    counters: Counters,
}

impl<K, V, C> Clone for TypedCache<K, V, C> {
    fn clone(&self) -> Self {
        Self { cache: self.cache.clone(), shared: PlainArc::clone(&self.shared), types: PhantomData }
    }
}

impl<K, V, C> fmt::Debug for TypedCache<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedCache")
            .field("cache", &self.cache)
            .field("type_name", &self.shared.type_name)
            .field("version", &self.shared.version)
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

impl<K, V> TypedCache<K, V> {
    /// A typed cache with the default codec, version 0. The name keeps its keys and values apart from those of others in the same cache; it is
    /// stored (as a hash), so it has to stay the same.
    pub fn new(cache: Cache, name: &str) -> Self {
        Self::builder(cache, name).build()
    }

    /// Settings for a typed cache, with their defaults.
    pub fn builder(cache: Cache, name: &str) -> TypedBuilder<K, V> {
        TypedBuilder::new(cache, name)
    }
}

impl<K, V, C> TypedCache<K, V, C> {
    /// A typed cache with a codec of choice, version 0.
    pub fn with_codec(cache: Cache, name: &str, codec: C) -> Self {
        TypedCache::<K, V>::builder(cache, name).codec(codec).build()
    }

    /// The cache below: for [`flush`](Cache::flush), [`close`](Cache::close), [`stats`](Cache::stats). Closing it closes it for all.
    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// What this typed cache and its clones counted.
    pub fn stats(&self) -> TypedStats {
        self.shared.counters.snapshot()
    }

    /// The key under which the [cache below](Self::cache) has an entry. For tools and tests.
    ///
    /// # Errors
    /// [`EncodeError::Key`].
    pub fn raw_key<Q>(&self, key: &Q) -> Result<Vec<u8>, EncodeError>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        let mut raw = self.shared.key_prefix.to_vec();
        self.shared.codec.encode_key(key, &mut raw).map_err(EncodeError::Key)?;
        Ok(raw)
    }

    /// Takes the value of a key away, of whatever version and codec; tells whether there was one.
    pub fn remove<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        // A key without encoding was never inserted.
        self.raw_key(key).is_ok_and(|raw| self.cache.remove(raw))
    }
}

impl<K, V, C: Codec<V>> TypedCache<K, V, C> {
    /// Gives a key a value, as [`Cache::insert`] does. O(encoded length).
    ///
    /// # Errors
    /// [`EncodeError`]: the key or the value has no form in the codec. Like every insert, one whose value fails leaves no older value behind.
    pub fn insert<Q>(&self, key: &Q, value: &V) -> Result<InsertOutcome, EncodeError>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        self.insert_with(key, value, EntryOptions::new())
    }

    /// The same with options for this entry.
    ///
    /// # Errors
    /// Those of [`insert`](Self::insert).
    pub fn insert_with<Q>(&self, key: &Q, value: &V, options: EntryOptions) -> Result<InsertOutcome, EncodeError>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        let raw_key = self.raw_key(key)?;
        let mut stored = Vec::with_capacity(HEADER_LEN + size_of::<V>());
        stored.extend_from_slice(&self.header().encode());
        if let Err(error) = self.shared.codec.encode(value, &mut stored) {
            self.cache.remove(raw_key);
            return Err(EncodeError::Value(error));
        }
        Ok(self.cache.insert_with(raw_key, stored, options))
    }

    /// The value of a key. O(encoded length).
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        self.find(key, |codec, payload| codec.decode(payload))
    }

    /// Lends the value of a key to a closure, without decoding it; copied only where it does not lie as the type must. The closure runs outside every
    /// lock. For codecs that lend, as [`PodCodec`] does: it has an example.
    pub fn read<Q, R>(&self, key: &Q, read: impl FnOnce(&V) -> R) -> Option<R>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q> + LendCodec<V>,
        Q: ?Sized,
    {
        self.find(key, |codec, payload| codec.lend(payload, read))
    }

    /// Whether there is a value of this type, version and codec; only [`get`](Self::get) tells whether it decodes. Counts and moves nothing. Copies the
    /// stored bytes.
    pub fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        let stored = self.raw_key(key).ok().and_then(|raw| self.cache.peek(raw));
        stored.is_some_and(|stored| matches!(self.header().judge(&stored), Verdict::Ours(_)))
    }

    fn header(&self) -> Header {
        Header { codec_id: <C as Codec<V>>::ID, version: self.shared.version, type_id: self.shared.type_id }
    }

    /// Looks a key up, makes something of its value, and counts.
    fn find<Q, R>(&self, key: &Q, take: impl FnOnce(&C, &[u8]) -> Result<R, CodecError>) -> Option<R>
    where
        K: Borrow<Q>,
        C: KeyCodec<Q>,
        Q: ?Sized,
    {
        let Shared { codec, counters, type_name, .. } = &*self.shared;
        let found = match self.raw_key(key) {
            Ok(raw) => self.cache.read(raw, |stored| match self.header().judge(stored) {
                Verdict::Ours(payload) => take(codec, payload)
                    .inspect_err(|error| {
                        counters.decode_failures.one();
                        tracing::debug!(type_name, %error, "a stored value does not decode");
                    })
                    .ok(),
                Verdict::OtherType => {
                    counters.other_type.one();
                    None
                }
                Verdict::OtherVersion => {
                    counters.other_version.one();
                    None
                }
                Verdict::OtherCodec => {
                    counters.other_codec.one();
                    None
                }
            }),
            Err(_) => {
                counters.bad_keys.one();
                None
            }
        };
        let found = found.flatten();
        if found.is_some() {
            counters.hits.one()
        } else {
            counters.misses.one()
        }
        found
    }
}
