//! A second codec: postcard, which is maintained and has its format specified.

use super::bounded::{self, Allowance};
use super::{Codec, CodecError, KeyCodec};
use serde::Serialize;
use serde::de::{DeserializeOwned, DeserializeSeed as _};
use std::marker::PhantomData;

/// postcard 1 over serde's traits. Its format is specified and stable. With the feature `postcard`.
///
/// Not self-describing either: what [`BincodeCodec`](crate::typed::BincodeCodec) says of types, versions and bounds holds here too.
///
/// ```
/// use emberlog::Cache;
/// use emberlog::typed::{PostcardCodec, TypedCache};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let scores = TypedCache::<u64, (u32, f64), PostcardCodec>::with_codec(cache, "score", PostcardCodec);
/// scores.insert(&42, &(7, 0.5))?;
/// assert_eq!(scores.get(&42), Some((7, 0.5)));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PostcardCodec;

impl<V: Serialize + DeserializeOwned> Codec<V> for PostcardCodec {
    const ID: u8 = 2;

    fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError> {
        append(value, into)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        let allowance = Allowance::for_len(bytes.len());
        let mut deserializer = ::postcard::Deserializer::from_bytes(bytes);
        let seed = bounded::seed(PhantomData::<V>, &allowance);
        let value = seed.deserialize(&mut deserializer).map_err(CodecError::new)?;
        let rest = deserializer.finalize().map_err(CodecError::new)?;
        bounded::check_all_read(rest.len())?;
        Ok(value)
    }
}

impl<K: Serialize + ?Sized> KeyCodec<K> for PostcardCodec {
    fn encode_key(&self, key: &K, into: &mut Vec<u8>) -> Result<(), CodecError> {
        append(key, into)
    }
}

fn append<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
    ::postcard::to_io(value, into).map_err(CodecError::new)?;
    Ok(())
}
