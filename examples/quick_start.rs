//! Open, insert, get, read, close; and open again, warm.

use emberlog::{Cache, Error};

fn main() -> Result<(), Error> {
    let path = std::env::temp_dir().join("emberlog-quick-start");
    let open = || Cache::builder().memory_bytes(16 << 20).disk_bytes(256 << 20).open(&path);

    let cache = open()?;
    cache.insert("user:42", "Ada");
    assert_eq!(cache.get("user:42").as_deref(), Some(b"Ada".as_slice()));
    assert_eq!(cache.read("user:42", |value| value.len()), Some(3));
    cache.close()?;

    let cache = open()?; // another day, another process
    assert_eq!(cache.get("user:42").as_deref(), Some(b"Ada".as_slice()));
    Ok(())
}
