//! Plain old data: the value's memory is its encoding.

use super::bincode::BincodeCodec;
use super::{Codec, CodecError, KeyCodec, LendCodec};
use bytemuck::{AnyBitPattern, NoUninit};
use serde::Serialize;

/// Plain old data, as [`bytemuck`] knows it: numbers, arrays of them, `#[repr(C)]` structs that derive `Pod`. Values are stored as they lie in memory
/// and are [lent](crate::typed::TypedCache::read) without decoding. Keys are anything that serde knows, encoded as by
/// [`BincodeCodec`](crate::typed::BincodeCodec).
///
/// Nothing but the length is checked, and nothing but the value itself is allocated. Another layout of the type needs another
/// [version](crate::typed::TypedBuilder::version) even where the length is the same. The bytes are those of the machine: its byte order is part of the
/// codec's id, so that a store from a machine of the other order holds misses.
///
/// ```
/// use emberlog::Cache;
/// use emberlog::typed::{PodCodec, TypedCache};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let cache = Cache::builder().memory_bytes(4 << 20).open_memory_only()?;
/// let embeddings = TypedCache::<String, [f32; 256], PodCodec>::with_codec(cache, "embedding", PodCodec);
/// embeddings.insert("ember", &[0.5; 256])?;
/// let length = embeddings.read("ember", |vector| vector.iter().map(|x| x * x).sum::<f32>().sqrt());
/// assert_eq!(length, Some(8.0));
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PodCodec;

/// Values up to this are copied to the stack where they are not aligned, longer ones to the heap.
const STACK_VALUE_LEN: usize = 1024;

impl<V: AnyBitPattern + NoUninit> Codec<V> for PodCodec {
    const ID: u8 = if cfg!(target_endian = "little") { 3 } else { 4 };

    fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError> {
        into.extend_from_slice(bytemuck::bytes_of(value));
        Ok(())
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        check_len::<V>(bytes)?;
        bytemuck::try_pod_read_unaligned(bytes).map_err(|error| CodecError::new(error.to_string()))
    }
}

impl<V: AnyBitPattern + NoUninit> LendCodec<V> for PodCodec {
    fn lend<R>(&self, bytes: &[u8], read: impl FnOnce(&V) -> R) -> Result<R, CodecError> {
        check_len::<V>(bytes)?;
        match bytemuck::try_from_bytes(bytes) {
            Ok(value) => Ok(read(value)),
            // Only alignment is left to be wrong.
            Err(_) if bytes.len() <= STACK_VALUE_LEN => Ok(read(&Codec::<V>::decode(self, bytes)?)),
            Err(_) => {
                let mut copy = bytemuck::zeroed_box::<V>();
                bytemuck::bytes_of_mut(&mut *copy).copy_from_slice(bytes);
                Ok(read(&copy))
            }
        }
    }
}

fn check_len<V>(bytes: &[u8]) -> Result<(), CodecError> {
    let (found_len, expected_len) = (bytes.len(), size_of::<V>());
    if found_len == expected_len {
        return Ok(());
    }
    Err(CodecError::new(format!("{found_len} bytes for a type of {expected_len}")))
}

impl<K: Serialize + ?Sized> KeyCodec<K> for PodCodec {
    fn encode_key(&self, key: &K, into: &mut Vec<u8>) -> Result<(), CodecError> {
        BincodeCodec.encode_key(key, into)
    }
}
