//! Recovery of damaged directories: a small store, damaged in some ways, is surveyed, opened, and opened again.
#![no_main]

use emberlog::disk::SimDisk;
use emberlog_fuzz::store::{self, Mutation};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, Vec<Mutation>)| {
    let (variant, mutations) = input;
    let store = &store::stores()[usize::from(variant) % 3];
    let mut files = store.files.clone();
    for mutation in mutations.iter().take(8) {
        mutation.apply(&mut files);
    }
    store::survey(&files);
    let disk = SimDisk::from_snapshot(2, &files);
    let cache = match store::open(&disk) {
        Ok(cache) => cache,
        Err(error) => {
            assert!(!error.to_string().is_empty());
            return;
        }
    };
    cache.validate();
    let first = store::served(&cache);
    drop(cache);
    let cache = store::open(&disk).expect("what was opened once can be opened again");
    assert_eq!(store::served(&cache), first, "the second open serves what the first did");
    drop(cache);
    // Whatever a warm list says, the log decides.
    if mutations.iter().take(8).all(Mutation::is_warm) {
        assert_eq!(first, store.newest, "a warm list changed what is served");
    }
    // One bit that changed, where newer segments can tell: each key is there in its newest version, or not at all.
    if let [mutation] = &mutations[..]
        && mutation.is_flip()
        && mutation.file(&store.files) != Some(&store.newest_segment)
    {
        for (key, version) in &first {
            assert_eq!(Some(version), store.newest.get(key), "key {key} came back in an older version");
        }
    }
});
