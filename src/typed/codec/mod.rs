//! Codecs: values to bytes and back, keys to bytes.
//!
//! Know: their format. Do not know: the cache, headers, counters.

pub(super) mod bincode;
mod bounded;
pub(super) mod pod;
#[cfg(feature = "postcard")]
pub(super) mod postcard;

use std::error::Error;
use std::fmt;

/// How values become bytes and bytes values. Replaceable: the store keeps bytes, and an id that says whose they are.
///
/// Thread safety: a codec is called from all threads that use the cache, while no lock is held; it may take its time.
///
/// Requires: `decode` gives back what `encode` was given, and refuses what it cannot have written. It is called with bytes whose checksums are right and whose
/// type, version and codec id fit; that is no proof that this very code wrote them, so it must not panic, and must bound and check what they say
/// before it allocates.
///
/// JSON, as an example of a codec of one's own:
/// ```
/// use emberlog::Cache;
/// use emberlog::typed::{Codec, CodecError, KeyCodec, TypedCache};
/// use serde::{Serialize, de::DeserializeOwned};
///
/// struct Json;
///
/// impl<V: Serialize + DeserializeOwned> Codec<V> for Json {
///     const ID: u8 = 200;
///     fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError> {
///         serde_json::to_writer(into, value).map_err(CodecError::new)
///     }
///     fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
///         serde_json::from_slice(bytes).map_err(CodecError::new)
///     }
/// }
///
/// impl<K: Serialize + ?Sized> KeyCodec<K> for Json {
///     fn encode_key(&self, key: &K, into: &mut Vec<u8>) -> Result<(), CodecError> {
///         serde_json::to_writer(into, key).map_err(CodecError::new)
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let pages = TypedCache::<String, serde_json::Value, Json>::with_codec(cache, "page", Json);
/// pages.insert("/index", &serde_json::json!({ "title": "Home" }))?;
/// assert_eq!(pages.get("/index").unwrap()["title"], "Home");
/// # Ok(()) }
/// ```
pub trait Codec<V> {
    /// Stored with each value; a value of another id is a miss. 0 to 127 are this crate's, 128 to 255 yours. Never give an id to another format.
    const ID: u8;

    /// Appends the value's bytes. What is there already stays as it is.
    ///
    /// # Errors
    /// This value has no form in this codec.
    fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError>;

    /// The value of all these bytes.
    ///
    /// # Errors
    /// These bytes are no value. The caller sees a counted miss.
    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError>;
}

/// How keys become bytes. Only in this direction, so that borrowed forms do: `str` for a cache of `String` keys.
///
/// Requires: deterministic; equal keys give equal bytes, different keys different ones, also in the next process. A `HashMap` or a `HashSet` within a key breaks
/// that, as its order differs from one instance to the next: the value is then never found. A borrowed form must give the bytes of its owned form.
pub trait KeyCodec<K: ?Sized> {
    /// Appends the key's bytes. What is there already stays as it is.
    ///
    /// # Errors
    /// This key has no form in this codec.
    fn encode_key(&self, key: &K, into: &mut Vec<u8>) -> Result<(), CodecError>;
}

/// A codec whose bytes are the value, so that it can be lent without decoding.
pub trait LendCodec<V>: Codec<V> {
    /// Lends the value of all these bytes to a closure.
    ///
    /// # Errors
    /// These bytes are no value; the closure has not run.
    fn lend<R>(&self, bytes: &[u8], read: impl FnOnce(&V) -> R) -> Result<R, CodecError>;
}

/// What a codec has to say against a value or its bytes.
#[derive(Debug)]
pub struct CodecError(Box<dyn Error + Send + Sync>);

impl CodecError {
    /// An error out of the codec's own, or out of a sentence.
    pub fn new(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self(cause.into())
    }
}

impl fmt::Display for CodecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for CodecError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}

/// Why an insert did not come about: what was given has no form in the codec.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EncodeError {
    /// The key; nothing was changed.
    #[error("the key cannot be encoded: {0}")]
    Key(#[source] CodecError),
    /// The value. The key now has none: an older one would be stale.
    #[error("the value cannot be encoded: {0}")]
    Value(#[source] CodecError),
}
