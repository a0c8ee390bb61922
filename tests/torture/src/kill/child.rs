//! The process that dies: tells what it finds, then makes operations and tells each that has returned.

use super::oracle::Op;
use super::{DONE, FOUND, Job, KEYS_PER_THREAD, NOT_TAKEN, RECORD_LEN, THREADS, TOLD_ALL, settings};
use crate::values::{key_bytes, value_of, version_of};
use emberlog::Durability;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

/// First argument of a process that is to be the child.
pub const CHILD_COMMAND: &str = "torture-child";

/// What the child does with the arguments behind [`CHILD_COMMAND`]: never returns but with an error, as it is to be killed. Standard input is the write
/// end of a pipe to the parent.
///
/// # Errors
/// Wrong arguments, a store that cannot be opened, a parent that is gone.
pub fn serve_child(args: &[String]) -> Result<(), String> {
    let [durability, threads, seed, round, path] = args else { return Err("wrong arguments".to_owned()) };
    let number = |text: &String| text.parse::<u64>().map_err(|error| format!("{text}: {error}"));
    let durability = match durability.as_str() {
        "written" => Durability::Written,
        "synced" => Durability::Synced,
        _ => Durability::Buffered,
    };
    let job = Job { durability, threads: number(threads)?, seed: number(seed)?, round: number(round)? };
    let pipe = File::from(io::stdin().as_fd().try_clone_to_owned().map_err(|error| error.to_string())?);
    let cache = settings(job.durability).open(path).map_err(|error| error.to_string())?;
    let tell = |kind: u64, subject: u64, number: u64| -> io::Result<()> {
        let mut record = [0; RECORD_LEN];
        for (word, bytes) in [kind, subject, number].iter().zip(record.chunks_exact_mut(8)) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        // One call, so whole or not at all: it is shorter than a pipe's atomic write.
        (&pipe).write_all(&record)
    };
    for key in 0..THREADS * KEYS_PER_THREAD {
        // Both ways of looking, since one of them moves entries between the tiers.
        let value = if key % 2 == 0 { cache.get(key_bytes(key)) } else { cache.peek(key_bytes(key)) };
        if let Some(value) = value {
            tell(FOUND, key, version_of(key, &value)).map_err(|error| error.to_string())?;
        }
    }
    tell(TOLD_ALL, 0, 0).map_err(|error| error.to_string())?;
    std::thread::scope(|scope| {
        for thread in 0..job.threads {
            let (cache, tell) = (&cache, &tell);
            scope.spawn(move || {
                for step in 1.. {
                    let op = Op::of(job.seed, job.round, thread, step);
                    let is_taken = match op.len {
                        Some(len) => {
                            let value = value_of(op.key, op.version, len);
                            cache.insert(key_bytes(op.key), value).disk.is_stored()
                        }
                        None => {
                            cache.remove(key_bytes(op.key));
                            true
                        }
                    };
                    if tell(if is_taken { DONE } else { NOT_TAKEN }, thread, step).is_err() {
                        // The parent is gone.
                        return;
                    }
                }
            });
        }
    });
    Err("the parent is gone".to_owned())
}
