//! A serde deserializer around another one, which holds what comes out to what went in.
//!
//! Formats like bincode and postcard write a length in front of each sequence, and what reads it may believe it: serde's own types reserve up to 1 MiB a
//! sequence, others whatever they are told, and bincode allocates a string before it looks for its bytes. Types without encoded form come out of nothing
//! as often as the length says. And nothing bounds how deep a recursive type goes. So this stands between type and format.
//!
//! Invariants
//!  I-BND-1  Elements that come out of sequences and maps, and elements that were announced to the type, are together at most as many as there are bytes.
//!           (What was announced was paid for, and need not be paid for again. Each element of a sound value takes a byte or more.)
//!  I-BND-2  Strings and bytes are lent by the format, which has seen their end, and only then copied by the type.
//!  I-BND-3  The type's code is at most `DEPTH_MAX` levels within itself.

use super::CodecError;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, Expected, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use std::cell::Cell;
use std::fmt;

/// Containers, options and newtypes within each other. A level takes some frames of the stack: up to 4 KiB in unoptimised builds.
pub(super) const DEPTH_MAX: u32 = 128;

/// How many elements may still come out.
#[derive(Debug)]
pub(super) struct Allowance {
    elements_left: Cell<usize>,
}

impl Allowance {
    /// What a value of so many bytes may hold.
    pub(super) fn for_len(len: usize) -> Self {
        Self { elements_left: Cell::new(len) }
    }

    fn take<E: serde::de::Error>(&self, count: usize) -> Result<(), E> {
        match self.elements_left.get().checked_sub(count) {
            Some(left) => {
                self.elements_left.set(left);
                Ok(())
            }
            None => Err(E::custom("more elements than the value has bytes")),
        }
    }
}

/// The seed of a whole value.
pub(super) fn seed<S>(inner: S, allowance: &Allowance) -> Bounded<'_, S> {
    Bounded { inner, allowance, depth: 0 }
}

/// A value ends where its bytes do.
pub(super) fn check_all_read(rest_len: usize) -> Result<(), CodecError> {
    if rest_len == 0 { Ok(()) } else { Err(CodecError::new("bytes are left behind the value")) }
}

/// A seed, a deserializer, a visitor or an access, held to an allowance.
#[derive(Debug)]
pub(super) struct Bounded<'a, T> {
    inner: T,
    allowance: &'a Allowance,
    depth: u32,
}

impl<'a, T> Bounded<'a, T> {
    /// Something else under the same bounds.
    fn with<U>(&self, inner: U) -> Bounded<'a, U> {
        Bounded { inner, allowance: self.allowance, depth: self.depth }
    }

    /// A visitor one level down.
    fn enter<V, E: serde::de::Error>(&self, visitor: V, lengths: Lengths) -> Result<Bounded<'a, Guest<V>>, E> {
        if self.depth == DEPTH_MAX {
            return Err(E::custom("nested too deep"));
        }
        Ok(Bounded { inner: Guest { visitor, lengths }, allowance: self.allowance, depth: self.depth + 1 })
    }
}

/// Where the number of elements comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lengths {
    /// The bytes say it.
    Stored,
    /// The type has it.
    OfType,
}

/// The type's visitor.
#[derive(Debug)]
struct Guest<V> {
    visitor: V,
    lengths: Lengths,
}

/// The format's sequence or map.
#[derive(Debug)]
struct Elements<A> {
    access: A,
    /// Whether each element is still to be taken from the allowance.
    pays_each: bool,
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.deserialize(deserializer)
    }
}

macro_rules! as_they_are {
    ($($method:ident => $inner:ident)*) => {$(
        #[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$inner(visitor)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    as_they_are! {
        deserialize_bool => deserialize_bool
        deserialize_i8 => deserialize_i8
        deserialize_i16 => deserialize_i16
        deserialize_i32 => deserialize_i32
        deserialize_i64 => deserialize_i64
        deserialize_i128 => deserialize_i128
        deserialize_u8 => deserialize_u8
        deserialize_u16 => deserialize_u16
        deserialize_u32 => deserialize_u32
        deserialize_u64 => deserialize_u64
        deserialize_u128 => deserialize_u128
        deserialize_f32 => deserialize_f32
        deserialize_f64 => deserialize_f64
        deserialize_char => deserialize_char
        deserialize_str => deserialize_str
        deserialize_bytes => deserialize_bytes
        // I-BND-2: lent first, whatever the type would rather have.
        deserialize_string => deserialize_str
        deserialize_byte_buf => deserialize_bytes
        deserialize_unit => deserialize_unit
        deserialize_identifier => deserialize_identifier
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, D::Error> {
        Err(D::Error::custom("the type needs a format that describes itself"))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_any(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_option(visitor)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_newtype_struct(name, visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::Stored)?;
        self.inner.deserialize_seq(visitor)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_tuple(len, visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_tuple_struct(name, len, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::Stored)?;
        self.inner.deserialize_map(visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_struct(name, fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = self.enter(visitor, Lengths::OfType)?;
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl<'a, V> Bounded<'a, Guest<V>> {
    /// The elements of a sequence or a map, announced or not.
    fn elements<A, E: serde::de::Error>(
        &self,
        access: A,
        announced: Option<usize>,
    ) -> Result<Bounded<'a, Elements<A>>, E> {
        let pays_each = match (self.inner.lengths, announced) {
            (Lengths::OfType, _) => false,
            (Lengths::Stored, None) => true,
            (Lengths::Stored, Some(count)) => {
                self.allowance.take(count)?;
                false
            }
        };
        Ok(self.with(Elements { access, pays_each }))
    }
}

/// What a container's visitor is given. Scalars go past it.
impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, Guest<V>> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Expected::fmt(&self.inner.visitor, f)
    }

    fn visit_none<E: serde::de::Error>(self) -> Result<V::Value, E> {
        self.inner.visitor.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visitor.visit_some(deserializer)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let deserializer = self.with(deserializer);
        self.inner.visitor.visit_newtype_struct(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let announced = access.size_hint();
        let elements = self.elements(access, announced)?;
        self.inner.visitor.visit_seq(elements)
    }

    fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let announced = access.size_hint();
        let elements = self.elements(access, announced)?;
        self.inner.visitor.visit_map(elements)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, access: A) -> Result<V::Value, A::Error> {
        let access = self.with(access);
        self.inner.visitor.visit_enum(access)
    }
}

impl<A> Bounded<'_, Elements<A>> {
    fn pay<E: serde::de::Error>(&self) -> Result<(), E> {
        if self.inner.pays_each { self.allowance.take(1) } else { Ok(()) }
    }

    /// What the type may reserve room for: what is paid for.
    fn announce(&self, hint: Option<usize>) -> Option<usize> {
        if self.inner.pays_each { None } else { hint }
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, Elements<A>> {
    type Error = A::Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let seed = self.with(seed);
        let element = self.inner.access.next_element_seed(seed)?;
        if element.is_some() {
            self.pay()?;
        }
        Ok(element)
    }

    fn size_hint(&self) -> Option<usize> {
        self.announce(self.inner.access.size_hint())
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, Elements<A>> {
    type Error = A::Error;

    fn next_key_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, A::Error> {
        let seed = self.with(seed);
        let key = self.inner.access.next_key_seed(seed)?;
        if key.is_some() {
            self.pay()?;
        }
        Ok(key)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.access.next_value_seed(seed)
    }

    fn size_hint(&self) -> Option<usize> {
        self.announce(self.inner.access.size_hint())
    }
}

impl<'a, 'de, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'a, A> {
    type Error = A::Error;
    type Variant = Bounded<'a, A::Variant>;

    fn variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<(T::Value, Self::Variant), A::Error> {
        let (allowance, depth) = (self.allowance, self.depth);
        let seed = self.with(seed);
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, Bounded { inner, allowance, depth }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, A::Error> {
        let seed = self.with(seed);
        self.inner.newtype_variant_seed(seed)
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let visitor = self.with(Guest { visitor, lengths: Lengths::OfType });
        self.inner.tuple_variant(len, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let visitor = self.with(Guest { visitor, lengths: Lengths::OfType });
        self.inner.struct_variant(fields, visitor)
    }
}
