//! The walk over a segment's batches and records: any bytes, and structures that verify in any order.
#![no_main]

use emberlog::disk::{Access, Disk, SimDisk};
use emberlog::format::segment::{DATA_START, SegmentHeader};
use emberlog::log::scan::{Depth, Item, scan, scan_batches};
use emberlog_fuzz::forge::{Piece, lay_out};
use libfuzzer_sys::fuzz_target;
use std::ops::ControlFlow;

fuzz_target!(|input: (Vec<Piece>, Option<u16>, bool)| {
    let (pieces, first_seqno, cut) = input;
    let header = SegmentHeader { uid: [7; 16], store_id: [8; 16], number: 1, len_bytes: 1 << 20, clock_mark_s: 0 };
    let bytes = lay_out(header.uid, DATA_START as usize, &pieces);
    let disk = SimDisk::new(1);
    disk.write_file("segment", &bytes);
    let file = disk.open("segment", Access::Read).expect("it was just made");
    let limit = bytes.len() as u32 - if cut { (bytes.len() as u32 - DATA_START as u32) / 3 } else { 0 };
    // A structure takes 16 bytes at the least, and no place is visited twice.
    let items_max = u64::from(limit) / 16;
    for depth in [Depth::Headers, Depth::Payloads] {
        let (mut item_count, mut last, mut seqno_next) = (0, 0, 0);
        let first_seqno = first_seqno.map(u64::from);
        let reached = scan(&*file, &header, limit, first_seqno, depth, &mut |item| {
            item_count += 1;
            let at = match item {
                Item::Batch { offset, .. } => offset,
                Item::Record { offset, seqno, header, .. } => {
                    assert!(seqno >= seqno_next, "sequence numbers only grow");
                    assert!(u64::from(offset) + header.record_len() <= limit.into(), "a record ends within the limit");
                    seqno_next = seqno + 1;
                    offset
                }
                Item::Gap(gap) => {
                    assert!(gap.resume.is_none_or(|(resume, _)| resume >= gap.offset), "a gap is never gone back from");
                    gap.offset
                }
            };
            assert!(at >= last && at < limit, "places only grow: {at} after {last}");
            last = at;
            ControlFlow::Continue(())
        })
        .expect("reading works");
        assert!(item_count <= items_max, "{item_count} things in {limit} bytes");
        assert!(reached.end_offset <= limit.max(DATA_START as u32));
    }
    let mut batch_count = 0;
    scan_batches(&*file, &header, limit, &mut |_, _| batch_count += 1).expect("reading works");
    assert!(batch_count <= items_max + 2);
});
