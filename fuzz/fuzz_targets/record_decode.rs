//! Record headers: any bytes, and any fields behind a good checksum.
#![no_main]

use emberlog::format::Seed;
use emberlog::format::record::{RecordHeader, RecordKind};
use emberlog_fuzz::forge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (([u8; 16], u32), [u8; 28], Vec<u8>)| {
    let ((uid, place), mut raw, payload) = input;
    let (seed, offset) = (Seed(uid), u64::from(place) * 8);
    check(seed, offset, &raw, &payload);
    check(seed, offset, &payload, &payload);
    let header_len = if raw[23] & 2 == 0 { 24 } else { 28 };
    forge::seal(uid, offset, &mut raw[..header_len]);
    check(seed, offset, &raw, &payload);
    let key = &payload[..payload.len().min(place as usize % 9)];
    let header = RecordHeader::put(u64::from(place), key, &payload[key.len()..], place);
    let encoded = header.encode(seed, offset);
    assert_eq!(RecordHeader::decode(seed, offset, &encoded).expect("what was encoded is decoded"), header);
    assert_eq!(header.payload(&payload).expect("its payload verifies"), (key, &payload[key.len()..]));
    assert!(RecordHeader::decode(seed, offset + 8, &encoded).is_err(), "bytes of another place verify");
});

fn check(seed: Seed, offset: u64, raw: &[u8], payload: &[u8]) {
    let Ok(header) = RecordHeader::decode(seed, offset, raw) else { return };
    assert!(header.record_len() >= 24 && header.record_len().is_multiple_of(8));
    assert!(header.payload_len() <= header.record_len() - header.len() as u64);
    if header.kind != RecordKind::Put {
        assert_eq!(header.record_len(), 24, "{header:?} hides, and holds nothing");
    }
    let again = header.encode(seed, offset);
    assert_eq!(RecordHeader::decode(seed, offset, &again).expect("what was encoded is decoded"), header);
    if let Ok((key, value)) = header.payload(payload) {
        assert_eq!((key.len() as u64 + value.len() as u64, key.len()), (header.payload_len(), header.key_len.into()));
    }
}
