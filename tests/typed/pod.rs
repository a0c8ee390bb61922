//! Plain old data is lent as it lies.

use crate::help::memory_cache;
use allocation_counter::measure;
use emberlog::typed::{Codec, LendCodec, PodCodec, TypedCache};
use std::cell::Cell;

/// Lends a value at each place of a buffer; counts how often it had to be copied.
fn lent_at_each_alignment<const N: usize>() -> usize {
    let value: [u64; N] = std::array::from_fn(|index| index as u64 * 0x0101_0101_0101);
    let mut encoded = Vec::new();
    PodCodec.encode(&value, &mut encoded).unwrap();
    let mut copies = 0;
    for shift in 0..8 {
        let mut room = vec![0_u64; N + 1];
        let buffer: &mut [u8] = bytemuck_bytes(&mut room);
        let place = &mut buffer[shift..shift + encoded.len()];
        place.copy_from_slice(&encoded);
        let from = place.as_ptr() as usize;
        let at = PodCodec.lend(place, |lent: &[u64; N]| {
            assert_eq!(*lent, value, "shift {shift}");
            std::ptr::from_ref(lent) as usize
        });
        copies += usize::from(at.unwrap() != from);
    }
    copies
}

fn bytemuck_bytes(words: &mut [u64]) -> &mut [u8] {
    bytemuck::cast_slice_mut(words)
}

#[test]
fn a_value_is_copied_only_where_it_is_not_aligned() {
    assert_eq!(lent_at_each_alignment::<1>(), 7);
    assert_eq!(lent_at_each_alignment::<128>(), 7, "to the stack");
    assert_eq!(lent_at_each_alignment::<129>(), 7, "to the heap");
    assert_eq!(lent_at_each_alignment::<100_000>(), 7);
}

#[test]
fn another_length_is_no_value_and_the_closure_does_not_run() {
    let bytes = [0_u8; 64];
    let ran = Cell::new(false);
    for len in (0..64).filter(|len| *len != 16) {
        assert!(Codec::<[u32; 4]>::decode(&PodCodec, &bytes[..len]).is_err(), "{len}");
        assert!(PodCodec.lend(&bytes[..len], |_: &[u32; 4]| ran.set(true)).is_err(), "{len}");
        let error = PodCodec.lend(&bytes[..len], |_: &[u64; 1000]| ran.set(true)).unwrap_err();
        assert!(error.to_string().contains("8000"), "{error}");
    }
    assert!(!ran.get());
}

#[test]
fn reads_through_the_cache_are_lent_and_take_no_memory_for_the_value() {
    let vectors = TypedCache::<String, [f32; 512], PodCodec>::with_codec(memory_cache(), "vector", PodCodec);
    vectors.insert("one", &[1.0; 512]).unwrap();
    assert_eq!(vectors.get("one"), Some([1.0; 512]));
    let sum = || vectors.read("one", |vector| vector.iter().sum::<f32>());
    assert_eq!(sum(), Some(512.0));
    let used = measure(|| _ = std::hint::black_box(sum()));
    assert!(used.bytes_max < 512, "the key's bytes, not the value's: {used:?}");
    assert_eq!(vectors.read("two", |_| ()), None);
    assert_eq!((vectors.stats().hits, vectors.stats().misses), (3, 1));

    let shorter = TypedCache::<String, [f32; 511], PodCodec>::with_codec(vectors.cache().clone(), "vector", PodCodec);
    assert_eq!(shorter.read("one", |_| ()), None);
    assert_eq!(shorter.stats().decode_failures, 1);
}
