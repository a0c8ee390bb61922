//! Footers: any bytes, and any fields and entries behind good checksums.
#![no_main]

use emberlog::format::footer::{ENTRY_LEN, FooterEntry, FooterTail, footer_len};
use emberlog_fuzz::forge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: ([u8; 16], [u8; 160], Vec<u8>, bool)| {
    let (store_id, mut raw, entries, consistent) = input;
    check(store_id, u64::from(entries.len() as u32) * 8, &raw, &entries);
    check(store_id, 0, &entries, &entries);
    // Behind good checksums, with the lengths of a footer that could stand there, or with any.
    let count = entries.len() / ENTRY_LEN;
    raw[4..8].copy_from_slice(b"EFTR");
    if store_id[0] != 7 {
        raw[24..40].copy_from_slice(&store_id);
    }
    raw[44..48].copy_from_slice(&1u32.to_le_bytes());
    raw[56..64].fill(0);
    let mut data_end = u32::from_le_bytes(raw[112..116].try_into().expect("four bytes"));
    if consistent {
        data_end = (704 + data_end % (1 << 20)) / 8 * 8;
        raw[48..52].copy_from_slice(&(2u32 << 20).to_le_bytes());
        raw[96..112].copy_from_slice(&[1u64.to_le_bytes(), (count as u64).to_le_bytes()].concat());
        raw[112..116].copy_from_slice(&data_end.to_le_bytes());
        raw[116..120].copy_from_slice(&(count as u32).to_le_bytes());
        raw[124..128].fill(0);
    }
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&raw[8..24]);
    hasher.update(&u64::from(data_end).to_le_bytes());
    hasher.update(&entries[..count * ENTRY_LEN]);
    raw[120..124].copy_from_slice(&hasher.finalize().to_le_bytes());
    let entries_len = (count * ENTRY_LEN).next_multiple_of(8);
    let offset = u64::from(data_end) + entries_len as u64;
    forge::seal(store_id, offset, &mut raw);
    check(store_id, offset, &raw, &entries);
});

fn check(store_id: [u8; 16], offset: u64, raw: &[u8], entries: &[u8]) {
    let Ok(tail) = FooterTail::decode(store_id, offset, raw) else { return };
    let again = tail.encode(offset);
    assert_eq!(FooterTail::decode(store_id, offset, &again).expect("what was encoded is decoded"), tail);
    assert!(u64::from(tail.entry_count) * 12 <= offset, "more entries than the file has room for");
    assert!(footer_len(tail.entry_count.into()) >= FooterTail::LEN as u64);
    let bytes = &entries[..entries.len().min(tail.entry_count as usize * ENTRY_LEN)];
    if let Ok(entries) = tail.entries(bytes) {
        for entry in entries.flatten() {
            assert_eq!(FooterEntry::decode(&entry.encode()).expect("what was encoded is decoded"), entry);
        }
    }
}
