//! Record headers: any bytes, and any fields behind a good checksum.
#![no_main]

use emberlog::format::Seed;
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog_fuzz::forge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (([u8; 16], u32), [u8; 32], Vec<u8>)| {
    let ((uid, place), mut raw, payload) = input;
    let (seed, offset) = (Seed(uid), u64::from(place) * 16);
    check(seed, offset, &raw, &payload);
    check(seed, offset, &payload, &payload);
    forge::seal(uid, offset, &mut raw);
    check(seed, offset, &raw, &payload);
    let key = &payload[..payload.len().min(place as usize % 9)];
    let header = RecordHeader::put(u64::from(place), key, &payload[key.len()..], place);
    let encoded = header.encode(seed, offset);
    assert_eq!(RecordHeader::decode(seed, offset, &encoded).expect("what was encoded is decoded"), header);
    assert_eq!(header.payload(&payload).expect("its payload verifies"), (key, &payload[key.len()..]));
    assert!(RecordHeader::decode(seed, offset + 16, &encoded).is_err(), "bytes of another place verify");
});

fn check(seed: Seed, offset: u64, raw: &[u8], payload: &[u8]) {
    let Ok(header) = RecordHeader::decode(seed, offset, raw) else { return };
    assert!(header.record_len() >= 32 && header.record_len().is_multiple_of(16));
    assert!(header.payload_len() <= header.record_len() - 32);
    if header.kind != RecordKind::Put {
        assert_eq!(header.record_len(), 32, "{header:?} hides, and holds nothing");
    }
    let again = header.encode(seed, offset);
    assert_eq!(RecordHeader::decode(seed, offset, &again).expect("what was encoded is decoded"), header);
    if let Ok((key, value)) = header.payload(payload) {
        assert_eq!((key.len() as u64 + value.len() as u64, key.len()), (header.payload_len(), header.key_len.into()));
    }
}
