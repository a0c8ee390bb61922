//! The guide: what the documentation of single items has no place for. Prose only, and examples that run as tests.
//!
//! | chapter | question |
//! | --- | --- |
//! | [`budgets`] | What do the two budgets cover, and how large should they be? |
//! | [`durability`] | What may a kill, a power cut, a failing disk take? |
//! | [`restart`] | What comes back, when, and what does an operator see of it? |
//! | [`tuning`] | Which setting is for what, and which counter tells that it needs another value? |
//! | [`observing`] | Which figures are there, which events, and what do they mean? |
//! | [`operations`] | Containers, file systems, limits, full disks, clocks, upgrades: what to know before it runs. |
//! | [`from_moka`] | What corresponds to what, coming from moka? |
//! | [`from_foyer`] | And from foyer? |
//! | [`guarantees`] | What is promised, and which test would fail if it were not kept? |

#[doc = include_str!("budgets.md")]
pub mod budgets {}

#[doc = include_str!("durability.md")]
pub mod durability {}

#[doc = include_str!("restart.md")]
pub mod restart {}

#[doc = include_str!("tuning.md")]
pub mod tuning {}

#[doc = include_str!("observing.md")]
pub mod observing {}

#[doc = include_str!("operations.md")]
pub mod operations {}

#[doc = include_str!("from_moka.md")]
pub mod from_moka {}

#[doc = include_str!("from_foyer.md")]
pub mod from_foyer {}

#[doc = include_str!("guarantees.md")]
pub mod guarantees {}
