//! The identity, segment headers, links, batch headers, warm lists and pages of counters: any bytes, and any fields behind a good checksum.
#![no_main]

use emberlog::format::Seed;
use emberlog::format::batch::BatchHeader;
use emberlog::format::counters::{CountersHead, PLACE_LEN, PLACE_OFFSETS, Page, PageHeader, SegmentCell};
use emberlog::format::identity::Identity;
use emberlog::format::segment::{Link, SegmentHeader};
use emberlog::format::warm::{ENTRY_COUNT_MAX, ENTRY_LEN, WarmEntry, WarmHeader, list_len};
use emberlog_fuzz::forge;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (([u8; 16], u32), [u8; 96], Vec<u8>)| {
    let ((id, place), mut raw, file) = input;
    let offset = u64::from(place) * 8;
    let _ = Identity::decode_file(&file);
    let _ = SegmentHeader::decode_either(id, &file);
    let _ = Link::decode_either(Seed(id), &file);
    check(id, offset, &raw);
    check_warm(id, &file);
    for (magic, len) in [(&b"EMBERLOG"[..], 96), (b"ESEG", 96), (b"EBAT", 48), (b"", 48)] {
        raw[4..4 + magic.len()].copy_from_slice(magic);
        for seed in [[0; 16], id] {
            forge::seal(seed, offset, &mut raw[..len]);
            check(id, offset, &raw);
        }
    }
    // With a good checksum, as itself and with the fields that a reader insists on.
    let mut header = raw[..WarmHeader::LEN].to_vec();
    header[4..8].copy_from_slice(b"EWRM");
    for insists in [false, true] {
        if insists {
            header[8..12].copy_from_slice(&1u32.to_le_bytes());
            header[16..24].fill(0);
            header[24..40].copy_from_slice(&id);
            header[40..48].copy_from_slice(&(file.len() as u64 / ENTRY_LEN as u64).to_le_bytes());
        }
        forge::seal(id, 0, &mut header);
        check_warm(id, &[header.as_slice(), &file].concat());
    }
    let mut head = raw[..CountersHead::LEN].to_vec();
    head[4..8].copy_from_slice(b"ECTR");
    forge::seal(id, 0, &mut head);
    let _ = CountersHead::decode(id, &head);
    check_counters(id, &raw, &file);
    // Two copies, either of which may be broken: the other is what counts.
    forge::seal([0; 16], 0, &mut raw);
    if let Ok(identity) = Identity::decode(0, &raw) {
        let mut two = identity.encode_file();
        assert_eq!(Identity::decode_file(&two).expect("what was encoded is decoded"), identity);
        two[place as usize % 4096] ^= 1;
        assert_eq!(Identity::decode_file(&two).expect("one copy is enough"), identity);
    }
});

/// The file of a warm list.
fn check_warm(id: [u8; 16], file: &[u8]) {
    let file_len = file.len() as u64;
    if let Ok(header) = WarmHeader::decode(id, file_len, file) {
        assert!(header.entry_count <= ENTRY_COUNT_MAX && list_len(header.entry_count) == file_len);
        assert_eq!(header.store_id, id);
        assert_eq!(WarmHeader::decode(id, file_len, &header.encode()).expect("what was encoded is decoded"), header);
    }
    // Any bytes are an entry.
    for raw in file.as_chunks::<ENTRY_LEN>().0 {
        let entry = WarmEntry::decode(raw);
        assert_eq!(WarmEntry::decode(&entry.encode()), entry);
    }
}

/// A page of counters: of any bytes, then with good checksums, then with lengths and a state that a reader insists on.
fn check_counters(id: [u8; 16], raw: &[u8; 96], body: &[u8]) {
    let _ = Page::newest(id, body);
    for offset in PLACE_OFFSETS {
        for insists in [false, true] {
            let mut page = [&raw[..PageHeader::LEN], body].concat();
            page[4..8].copy_from_slice(b"EPAG");
            if insists {
                let odd = u8::from(offset == PLACE_OFFSETS[0]);
                page[8] = page[8] & !1 | odd;
                page[36..40].copy_from_slice(&(1 + u32::from(raw[36] & 1)).to_le_bytes());
                let cell_count = (body.len() / SegmentCell::LEN / 2) as u32;
                let text_len = (body.len() - cell_count as usize * SegmentCell::LEN) as u32 / 8 * 8;
                page[44..48].copy_from_slice(&text_len.to_le_bytes());
                page[48..52].copy_from_slice(&cell_count.to_le_bytes());
                let end = PageHeader::LEN + text_len as usize + cell_count as usize * SegmentCell::LEN;
                let crc = forge::checksum(id, offset + PageHeader::LEN as u64, &page[PageHeader::LEN..end]);
                page[40..44].copy_from_slice(&crc.to_le_bytes());
            }
            forge::seal(id, offset, &mut page[..PageHeader::LEN]);
            let Ok(found) = Page::decode(id, offset, &page) else { continue };
            assert_eq!(PageHeader::place_offset(found.header.sequence), offset);
            assert!(PageHeader::LEN + found.header.body_len() <= PLACE_LEN);
            let mut again = vec![0; PageHeader::LEN];
            again.extend_from_slice(&found.text);
            found.cells.iter().for_each(|cell| again.extend_from_slice(&cell.encode()));
            found.header.seal(id, &mut again);
            assert_eq!(Page::decode(id, offset, &again).expect("what was encoded is decoded"), found);
        }
    }
}

fn check(id: [u8; 16], offset: u64, raw: &[u8]) {
    if let Ok(batch) = BatchHeader::decode(Seed(id), offset, raw) {
        assert!(batch.body_len.is_multiple_of(8) && batch.next_seqno() >= batch.first_seqno);
        let again = batch.encode(Seed(id), offset);
        assert_eq!(BatchHeader::decode(Seed(id), offset, &again).expect("what was encoded is decoded"), batch);
    }
    if let Ok(header) = SegmentHeader::decode(id, offset, raw) {
        let again = header.encode(offset);
        assert_eq!(SegmentHeader::decode(id, offset, &again).expect("what was encoded is decoded"), header);
    }
    if let Ok(link) = Link::decode(Seed(id), offset, raw) {
        let again = link.encode(Seed(id), offset);
        assert_eq!(Link::decode(Seed(id), offset, &again).expect("what was encoded is decoded"), link);
    }
    let _ = Identity::decode(offset, raw);
}
