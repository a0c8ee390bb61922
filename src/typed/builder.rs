//! Settings of a typed cache.

use super::codec::bincode::BincodeCodec;
use super::header::{key_prefix, type_id};
use super::stats::Counters;
use super::{Shared, TypedCache};
use crate::cache::Cache;
use crate::sync::PlainArc;
use std::fmt;
use std::marker::PhantomData;

/// Settings of a [`TypedCache`], all of which decide what is stored: give them the same every time.
///
/// ```
/// use emberlog::{Cache, typed::TypedCache};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let by_name = TypedCache::<String, u64>::builder(cache, "user-id by name").type_name("user-id").version(1).build();
/// by_name.insert("ada", &42)?;
/// # Ok(()) }
/// ```
#[must_use]
pub struct TypedBuilder<K, V, C = BincodeCodec> {
    cache: Cache,
    namespace: String,
    type_name: String,
    version: u16,
    codec: C,
    types: PhantomData<fn(&K, &V)>,
}

impl<K, V, C> fmt::Debug for TypedBuilder<K, V, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedBuilder")
            .field("namespace", &self.namespace)
            .field("type_name", &self.type_name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl<K, V> TypedBuilder<K, V> {
    pub(super) fn new(cache: Cache, name: &str) -> Self {
        Self {
            cache,
            namespace: name.to_owned(),
            type_name: name.to_owned(),
            version: 0,
            codec: BincodeCodec,
            types: PhantomData,
        }
    }
}

impl<K, V, C> TypedBuilder<K, V, C> {
    /// The name of the type of the values, where it is another than that of the namespace: for several namespaces of one type, or one that changed its type
    /// and keeps its keys.
    pub fn type_name(mut self, type_name: &str) -> Self {
        self.type_name = type_name.to_owned();
        self
    }

    /// The version of the type, 0 by default. Another one whenever the bytes of values or keys change; see the [module](crate::typed).
    pub fn version(mut self, version: u16) -> Self {
        self.version = version;
        self
    }

    /// The codec, [`BincodeCodec`] by default.
    pub fn codec<D>(self, codec: D) -> TypedBuilder<K, V, D> {
        let Self { cache, namespace, type_name, version, codec: _, types } = self;
        TypedBuilder { cache, namespace, type_name, version, codec, types }
    }

    /// The typed cache.
    pub fn build(self) -> TypedCache<K, V, C> {
        let shared = Shared {
            codec: self.codec,
            key_prefix: key_prefix(&self.namespace),
            type_id: type_id(&self.type_name),
            version: self.version,
            type_name: self.type_name,
            counters: Counters::default(),
        };
        TypedCache { cache: self.cache, shared: PlainArc::new(shared), types: PhantomData }
    }
}
