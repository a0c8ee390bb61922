//! The default codec: bincode 2 over serde.

use super::bounded::{self, Allowance};
use super::{Codec, CodecError, KeyCodec};
use ::bincode::config::{self, Configuration};
use ::bincode::serde::{encode_into_std_write, seed_decode_from_slice};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::marker::PhantomData;

/// bincode 2 (standard configuration: little-endian, variable-length integers) over serde's traits. The default.
///
/// Compact and fast, and not self-describing: fields are known by their order alone. Whatever changes what a type's values look like (a field, a variant
/// anywhere but at the end, a type within) needs another [version](crate::typed::TypedBuilder::version). `serde(flatten)`, `serde(tag)`, `serde(untagged)`,
/// `serde(skip_serializing_if)` and types like `serde_json::Value` need a self-describing format: with this one they do not decode.
///
/// # Bounds
/// Whatever the bytes say, decoding yields at most as many elements of sequences and maps as the value has bytes, reserves room for no more, and copies no
/// string before it has seen its end: memory stays below the value's length times the size of an element (two to three times that for hash tables), beside
/// what the type itself takes. Values nest at most 128 levels of containers, options and newtypes deep. What goes beyond is stored, but does not decode:
/// deeper values, and long sequences of elements that encode to nothing (`Vec<()>`).
///
/// bincode is finished and no longer maintained; the stored id tells its values from those of any [`Codec`] that takes its place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BincodeCodec;

fn configuration() -> Configuration {
    config::standard()
}

impl<V: Serialize + DeserializeOwned> Codec<V> for BincodeCodec {
    const ID: u8 = 1;

    fn encode(&self, value: &V, into: &mut Vec<u8>) -> Result<(), CodecError> {
        append(value, into)
    }

    fn decode(&self, bytes: &[u8]) -> Result<V, CodecError> {
        let allowance = Allowance::for_len(bytes.len());
        let seed = bounded::seed(PhantomData::<V>, &allowance);
        let (value, read_len) = seed_decode_from_slice(seed, bytes, configuration()).map_err(CodecError::new)?;
        bounded::check_all_read(bytes.len() - read_len)?;
        Ok(value)
    }
}

impl<K: Serialize + ?Sized> KeyCodec<K> for BincodeCodec {
    fn encode_key(&self, key: &K, into: &mut Vec<u8>) -> Result<(), CodecError> {
        append(key, into)
    }
}

fn append<T: Serialize + ?Sized>(value: &T, into: &mut Vec<u8>) -> Result<(), CodecError> {
    encode_into_std_write(value, into, configuration()).map_err(CodecError::new)?;
    Ok(())
}
