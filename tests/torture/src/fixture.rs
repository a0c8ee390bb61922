//! Stores to be damaged, and what a cache may still serve from them.
//!
//! A fixture is a store as a kill leaves it: some events flushed, a few behind the flush. Damage may lose anything. What is served must be the value
//! that a key had at the flush or got later, never an older one, and never one that was removed.

use crate::oracle::{Current, key_bytes, value_bytes};
use crate::setup::{Rng, Setup};
use crate::world::{Crash, World};
use emberlog::disk::{Access, Disk, SimDisk};
use emberlog::format::segment::SegmentHeader;
use emberlog::log::scan::{Depth, Item, scan};
use emberlog::recovery::survey::read_identity;
use emberlog::{Cache, Error, ErrorKind};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;

/// What the log's segments look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sealing {
    /// All but the newest have a footer.
    Sealed,
    /// None has: nobody came to seal them.
    Unsealed,
    /// The first half of the events is in a short segment that recovery sealed after a crash.
    Recovered,
}

/// What has to hold of a damaged store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// No key is older than at the flush.
    Covered,
    /// The end of the log is gone with every mark of how far it reached, which is not told from a crash before it was written: what is left is a
    /// prefix of the events.
    Prefix,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Fixture {
    pub setup: Setup,
    pub disk: SimDisk,
    world: World,
    allowed: BTreeMap<u32, Vec<Current>>,
    key_count: u32,
}

impl Fixture {
    /// A store of `segment_count` segments, with values of up to `value_len_max` bytes under `key_count` keys.
    pub fn new(
        seed: u64,
        segment_count: u64,
        value_len_max: usize,
        key_count: u32,
        event_count_min: u64,
        sealing: Sealing,
    ) -> Self {
        let setup = Setup { disk_index_bytes: 16 << 10, ..Setup::small() };
        let mut world = World::new(setup.clone(), Rng::new(seed));
        assert!(world.open());
        let mut events = 0;
        while events < event_count_min || world.cache().stats().disk.expect("a disk tier").segments < segment_count {
            // Not the longest key: it would fill a small store.
            let key = 2 + world.rng.below(u64::from(key_count) - 2) as u32;
            if sealing == Sealing::Recovered && events == event_count_min / 2 {
                world.crash(Crash::Kill);
                assert!(world.open());
            }
            if world.rng.below(6) == 0 {
                world.remove(key);
            } else {
                let len = world.rng.below(value_len_max as u64) as usize;
                world.insert(key, len, None);
            }
            if world.rng.below(16) == 0 {
                world.flush();
            }
            if sealing == Sealing::Sealed {
                world.maintain(8);
            }
            events += 1;
        }
        world.flush();
        let mut allowed: BTreeMap<u32, Vec<Current>> = BTreeMap::new();
        for key in 0..key_count {
            allowed.entry(key).or_default().extend(world.oracle.current(key, world.now_ms));
        }
        // A few more, that the kernel has and no flush has covered.
        for key in [key_count - 1, key_count - 2, key_count - 3] {
            world.insert(key, 40, None);
            allowed.entry(key).or_default().extend(world.oracle.current(key, world.now_ms));
        }
        world.remove(key_count - 3);
        world.cache().maintain(Default::default()).expect("a sound disk is written to");
        Self { setup, disk: world.disk.after_kill(), world, allowed, key_count }
    }

    /// The store, to be damaged.
    pub fn copy(&self) -> SimDisk {
        self.disk.after_kill()
    }

    /// Opens a damaged store and checks every answer. Returns how many values were served, or the error.
    pub fn check_once(&self, disk: &SimDisk, promise: Promise) -> Result<(u64, Cache), Error> {
        let cache = self.setup.builder(&self.world.clock, 1 << 32).open_on(Arc::new(disk.clone()))?;
        let hits = match promise {
            Promise::Covered => self.check_answers(&cache),
            Promise::Prefix => {
                let mut oracle = self.world.oracle.clone();
                oracle.cut(cache.stats().disk.expect("a disk tier").last_seqno);
                oracle.check_all(&cache, self.key_count, self.world.now_ms)
            }
        };
        Ok((hits, cache))
    }

    /// The same; then goes on with the store a little, and checks what the next open finds.
    pub fn check(&self, disk: &SimDisk, promise: Promise) -> Result<u64, Error> {
        let (hits, cache) = self.check_once(disk, promise)?;
        cache.insert("after the damage", "sound");
        cache.flush()?;
        assert_eq!(cache.get("after the damage").as_deref(), Some(b"sound".as_slice()));
        let next = disk.after_kill();
        let cache = self.setup.builder(&self.world.clock, 2 << 32).open_on(Arc::new(next))?;
        let hits_next = match promise {
            Promise::Covered => self.check_answers(&cache),
            Promise::Prefix => (0..self.key_count).filter(|&key| cache.contains_key(key_bytes(key))).count() as u64,
        };
        assert_eq!(cache.get("after the damage").as_deref(), Some(b"sound".as_slice()), "flushed behind the damage");
        // More where the file ended inside a record whose header is sound: the footer that the first open made forgets only that key.
        assert!(hits_next >= hits, "the next open finds what the first one left: {hits_next} of {hits}");
        Ok(hits)
    }

    fn check_answers(&self, cache: &Cache) -> u64 {
        let mut hits = 0;
        for key in 0..self.key_count + 4 {
            let Some(answer) = cache.peek(key_bytes(key)) else { continue };
            hits += 1;
            let allowed = self.allowed.get(&key).map(Vec::as_slice).unwrap_or_default();
            let is_right = allowed.iter().any(|value| answer == value_bytes(key, value.version, value.len));
            let start = String::from_utf8_lossy(&answer[..answer.len().min(24)]);
            assert!(is_right, "key {key}: found {start:?}… ({} bytes), allowed is a miss or {allowed:?}", answer.len());
        }
        hits
    }

    /// Names of the segment files, oldest first.
    pub fn segments(&self) -> Vec<String> {
        self.disk.snapshot().into_keys().filter(|name| name.starts_with("segment-")).collect()
    }

    /// The segment that the log ends in. A spare may stand behind it.
    pub fn newest(&self) -> String {
        let last_used = |name: &String| self.disk.read_file(name)[512..704].iter().any(|&byte| byte != 0);
        self.segments().into_iter().rfind(last_used).expect("there is a segment with a link")
    }

    /// Where batches, records and footer of a segment begin and end.
    pub fn boundaries(&self, name: &str) -> BTreeSet<u64> {
        let bytes = self.disk.read_file(name);
        let store_id = read_identity(&self.disk).expect("a sound store has an identity").store_id;
        let header = SegmentHeader::decode_either(store_id, &bytes).expect("a sound segment has a header");
        let file = self.disk.open(name, Access::Read).expect("the file is there");
        let mut found = BTreeSet::from([0, 96, 256, 352, 512, 560, 608, 656, 704]);
        let reached = scan(&*file, &header, bytes.len() as u32, None, Depth::Headers, &mut |item| {
            match item {
                Item::Batch { offset, .. } => found.extend([u64::from(offset), u64::from(offset) + 48]),
                Item::Record { offset, header, .. } => {
                    found.extend([
                        offset.into(),
                        u64::from(offset) + header.len() as u64,
                        u64::from(offset) + header.record_len(),
                    ]);
                }
                Item::Gap(_) => return ControlFlow::Break(()),
            }
            ControlFlow::Continue(())
        });
        found.insert(reached.expect("a sound file is read").end_offset.into());
        found.extend([bytes.len() as u64 - 160, bytes.len() as u64]);
        found
    }

    /// Keys of which some version was flushed and may be served.
    pub fn value_count(&self) -> u64 {
        self.allowed.values().filter(|allowed| !allowed.is_empty()).count() as u64
    }
}

/// Whether an error is one that damage may cause: it says which file, and what to do.
pub fn is_clear(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotAStore | ErrorKind::Incompatible)
        && !error.to_string().is_empty()
}

#[test]
fn an_undamaged_fixture_serves_its_values_and_refuses_older_ones() {
    for sealing in [Sealing::Sealed, Sealing::Unsealed] {
        let fixture = Fixture::new(0x6669_7874, 3, 1500, 40, 200, sealing);
        let hits = fixture.check(&fixture.copy(), Promise::Covered).expect("it is sound");
        assert!(hits + 2 >= fixture.value_count() && hits >= 20, "{hits} of {}", fixture.value_count());
        let again = fixture.check(&fixture.copy(), Promise::Prefix).expect("it is sound");
        assert_eq!(again, hits);
        // The check must notice an older store in place of this one: here the same, without its newest segment and the spare.
        let older = fixture.copy();
        let spare = fixture.segments().pop().expect("there is a segment");
        older.remove_file(&spare);
        older.remove_file(&fixture.newest());
        let check = std::panic::AssertUnwindSafe(|| fixture.check(&older, Promise::Covered));
        assert!(std::panic::catch_unwind(check).is_err(), "an older store went unnoticed");
    }
}
