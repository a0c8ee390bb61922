//! Bytes that lie cannot make decoding take memory, time or stack.
//!
//! Each type is decoded out of bytes that announce far more than they hold, with an allocator that counts. What is left undone shows as a test that
//! dies, runs for ever, or counts too much.

use crate::help::{Draw, Page, Rng, Shape, seed};
use allocation_counter::measure;
use emberlog::typed::{BincodeCodec, Codec};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::CString;
use std::fmt;

/// For errors and what does not depend on the value's length.
const FIXED_BYTES: u64 = 1024;

/// Has no encoded form, and takes room.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Conjured {
    #[serde(skip)]
    room: [u64; 16],
}

/// Recursive, with as little as one byte a level.
#[derive(Debug, Serialize, Deserialize)]
struct Tree {
    branches: Vec<Tree>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Link {
    next: Option<Box<Link>>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Expression {
    Leaf,
    Not(Box<Expression>),
    Both(Box<Expression>, Box<Expression>),
    Named { inner: Box<Expression> },
}

/// Believes whatever length it is told, as types outside serde may.
#[derive(Debug)]
struct Credulous(#[allow(dead_code, reason = "held for the room that it takes")] Vec<u64>);

impl Serialize for Credulous {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Credulous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Believes;
        impl<'de> Visitor<'de> for Believes {
            type Value = Credulous;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numbers")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Credulous, A::Error> {
                let mut numbers = Vec::with_capacity(access.size_hint().unwrap_or(0));
                while let Some(number) = access.next_element()? {
                    numbers.push(number);
                }
                Ok(Credulous(numbers))
            }
        }
        deserializer.deserialize_seq(Believes)
    }
}

/// A codec and how it writes a length.
struct Format<C> {
    codec: C,
    length: fn(u64) -> Vec<u8>,
}

fn bincode_length(len: u64) -> Vec<u8> {
    [&[253_u8][..], &len.to_le_bytes()].concat()
}

const BINCODE: Format<BincodeCodec> = Format { codec: BincodeCodec, length: bincode_length };

#[cfg(feature = "postcard")]
const POSTCARD: Format<emberlog::typed::PostcardCodec> =
    Format { codec: emberlog::typed::PostcardCodec, length: postcard_length };

#[cfg(feature = "postcard")]
fn postcard_length(mut len: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while len >= 128 {
        bytes.push(len as u8 | 128);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes
}

/// Lengths that lie.
const LIES: &[u64] = &[17, 1000, 65_536, 1 << 20, 1 << 24, 1 << 32, i64::MAX as u64, u64::MAX / 24, u64::MAX];

/// Values that lie in every way: a false length at the top or some levels down, followed by nothing, by zeros, by ones, by more lies, by anything.
fn liars(length: fn(u64) -> Vec<u8>, rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut liars = Vec::new();
    for &lie in LIES {
        let lie = length(lie);
        for levels in 0..4 {
            // Levels that are honest, each a sequence of one element; or the same lie again and again.
            let heads = [[vec![1; levels], lie.clone()].concat(), lie.repeat(levels + 1)];
            for head in heads {
                let tail_len = rng.below(3000) as usize;
                for tail in
                    [Vec::new(), vec![0; tail_len], vec![1; tail_len], lie.repeat(tail_len / 10), rng.bytes(3000)]
                {
                    liars.push([head.as_slice(), &tail].concat());
                }
            }
        }
    }
    // As many elements as there are bytes: the most that is believed.
    for len in [0, 1, 100, 250, 4000, 100_000_usize] {
        let body = vec![0_u8; len];
        liars.push([length(len as u64).as_slice(), &body].concat());
        liars.push([length(len as u64 / 2).as_slice(), &body].concat());
        liars.push([length(len as u64 + 5).as_slice(), &body].concat());
    }
    liars.extend((0..500).map(|_| rng.bytes(500)));
    liars
}

/// Decodes every liar, and holds the most memory in use at once against the value's length.
fn holds_to_its_length<V, C: Codec<V>>(format: &Format<C>, name: &str, element_len: usize) {
    let seed = seed();
    let mut rng = Rng::new(seed);
    for (case, bytes) in liars(format.length, &mut rng).iter().enumerate() {
        let used = measure(|| drop(std::hint::black_box(format.codec.decode(bytes))));
        // Three: a vector that grows is held twice for a moment, once in double length; tables have room for more than they hold.
        let allowed = FIXED_BYTES + 3 * (bytes.len() * element_len) as u64;
        let head = &bytes[..bytes.len().min(24)];
        assert!(
            used.bytes_max <= allowed,
            "EMBERLOG_SEED={seed} {name} case {case}: {} bytes, beginning {head:?}, took {} instead of {allowed}",
            bytes.len(),
            used.bytes_max
        );
    }
}

macro_rules! hold_to_their_length {
    ($format:expr; $($value:ty, of $element:ty;)*) => {
        $(holds_to_its_length::<$value, _>(&$format, stringify!($value), size_of::<$element>().max(1));)*
    };
}

macro_rules! each_type_holds_to_its_length {
    ($format:expr) => {
        hold_to_their_length! { $format;
            String, of u8;
            Vec<u8>, of u8;
            Box<[u8]>, of u8;
            CString, of u8;
            Vec<u64>, of u64;
            VecDeque<u32>, of u32;
            Vec<String>, of String;
            Vec<Vec<u8>>, of Vec<u8>;
            Vec<Vec<Vec<u64>>>, of (Vec<u64>, Vec<u64>, u64);
            HashSet<u64>, of u64;
            HashMap<String, Vec<u8>>, of (String, Vec<u8>, u8);
            HashMap<u64, HashMap<u64, HashMap<String, Vec<u8>>>>, of ([u64; 8], [u64; 8], [u64; 8]);
            BTreeMap<String, Vec<String>>, of [(String, Vec<String>); 2];
            Vec<()>, of ();
            HashMap<(), ()>, of ();
            Vec<Conjured>, of Conjured;
            Vec<[u64; 32]>, of [u64; 32];
            Option<Vec<Option<Box<u64>>>>, of [u64; 2];
            Credulous, of u64;
            Vec<Credulous>, of (Credulous, u64);
            Tree, of [Tree; 2];
            Link, of Link;
            Expression, of [Expression; 2];
            Shape, of [Shape; 2];
            Page, of [u64; 32];
        }
    };
}

#[test]
fn what_bincode_decodes_takes_memory_by_its_length_and_not_by_what_it_says() {
    each_type_holds_to_its_length!(BINCODE);
}

#[cfg(feature = "postcard")]
#[test]
fn what_postcard_decodes_takes_memory_by_its_length_and_not_by_what_it_says() {
    each_type_holds_to_its_length!(POSTCARD);
}

#[test]
fn the_test_would_see_a_decoder_that_believes() {
    /// bincode as it comes, but for lengths that it would die of.
    struct Bare;
    impl Codec<Vec<u64>> for Bare {
        const ID: u8 = 255;
        fn encode(&self, _: &Vec<u64>, _: &mut Vec<u8>) -> Result<(), emberlog::typed::CodecError> {
            Ok(())
        }
        fn decode(&self, bytes: &[u8]) -> Result<Vec<u64>, emberlog::typed::CodecError> {
            let announced = bytes.get(1..9).map_or(0, |raw| u64::from_le_bytes(raw.try_into().unwrap()));
            Ok(Vec::with_capacity(announced.min(1 << 20) as usize))
        }
    }
    let format = Format { codec: Bare, length: bincode_length };
    let caught = std::panic::catch_unwind(|| holds_to_its_length::<Vec<u64>, _>(&format, "Vec<u64>", 8));
    assert!(caught.is_err());
}

fn deep<C>(format: &Format<C>)
where
    C: Codec<Tree> + Codec<Link> + Codec<Expression>,
{
    // A million levels, where a stack has room for some ten thousand.
    let ones = vec![1_u8; 1 << 20];
    assert!(Codec::<Tree>::decode(&format.codec, &ones).is_err());
    assert!(Codec::<Link>::decode(&format.codec, &ones).is_err());
    for variant in 1..4 {
        assert!(Codec::<Expression>::decode(&format.codec, &vec![variant; 1 << 20]).is_err(), "variant {variant}");
    }
}

fn chain<C: Codec<Link>>(format: &Format<C>, links: u32) -> bool {
    let mut chain = Link { next: None };
    for _ in 1..links {
        chain = Link { next: Some(Box::new(chain)) };
    }
    let mut bytes = Vec::new();
    format.codec.encode(&chain, &mut bytes).unwrap();
    format.codec.decode(&bytes).is_ok()
}

#[test]
fn values_nest_so_deep_and_no_deeper() {
    deep(&BINCODE);
    // A struct and an option a link.
    assert!(chain(&BINCODE, 64) && !chain(&BINCODE, 65));
    #[cfg(feature = "postcard")]
    {
        deep(&POSTCARD);
        assert!(chain(&POSTCARD, 64) && !chain(&POSTCARD, 65));
    }
}

#[test]
fn sound_values_are_not_in_the_way_of_the_bound() {
    fn survives<V: Serialize + serde::de::DeserializeOwned + PartialEq>(value: &V, what: &str) {
        let mut bytes = Vec::new();
        BINCODE.codec.encode(value, &mut bytes).unwrap();
        assert!(BINCODE.codec.decode(&bytes).is_ok_and(|decoded: V| decoded == *value), "{what}");
        #[cfg(feature = "postcard")]
        {
            let mut bytes = Vec::new();
            POSTCARD.codec.encode(value, &mut bytes).unwrap();
            assert!(POSTCARD.codec.decode(&bytes).is_ok_and(|decoded: V| decoded == *value), "postcard: {what}");
        }
    }
    // The least that elements take, and many of them.
    survives(&vec![0_u8; 1_000_000], "bytes");
    survives(&vec![false; 100_000], "flags");
    survives(&vec![None::<u64>; 100_000], "options");
    survives(&vec![String::new(); 100_000], "empty strings");
    survives(&vec![Vec::<Vec<u8>>::new(); 100_000], "empty vectors");
    survives(&vec![vec![Vec::<u8>::new(); 100]; 1000], "vectors of vectors");
    survives(&(0..1000).map(|number| (number, ())).collect::<HashMap<u64, ()>>(), "a set as a map");
    survives(&vec![[(); 32]; 1], "arrays of nothing, whose length is the type's");
    survives(&vec![(); 1], "a few of nothing");
}
