//! Forged checksums: structures of any content that verify, so that what lies behind the checksum is fuzzed too.
//!
//! Computed from the written format alone, not by calling the library: a decoder and an encoder that are wrong together do not agree with this.

use arbitrary::Arbitrary;

/// The checksum of bytes that stand at `offset`.
pub fn checksum(seed: [u8; 16], offset: u64, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&seed);
    hasher.update(&offset.to_le_bytes());
    hasher.update(bytes);
    hasher.finalize()
}

/// Writes the checksum of a structure that stands at `offset` into its first four bytes.
pub fn seal(seed: [u8; 16], offset: u64, structure: &mut [u8]) {
    let sum = checksum(seed, offset, &structure[4..]);
    structure[..4].copy_from_slice(&sum.to_le_bytes());
}

/// A part of a segment file behind its link: bytes, or a structure that verifies where it comes to stand.
#[derive(Debug, Clone, Arbitrary)]
pub enum Piece {
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// Zeros.
    Zeros(u8),
    /// A batch header of these fields.
    Batch(ForgedBatch),
    /// A record of these fields, with as much payload as there is here.
    Record(ForgedRecord),
}

/// Fields of a batch header. What is `None` is as a writer would have it.
#[derive(Debug, Clone, Arbitrary)]
pub struct ForgedBatch {
    first_seqno: Option<u64>,
    synced_through: u64,
    body_len: Option<u32>,
    record_count: u8,
    clock_mark_s: u32,
    kind: Option<u8>,
}

/// Fields of a record header. What is `None` is as a writer would have it.
#[derive(Debug, Clone, Arbitrary)]
pub struct ForgedRecord {
    payload_crc: Option<u32>,
    key_hash: u64,
    key_len: Option<u16>,
    value_len: Option<u32>,
    expiry_s: Option<u32>,
    kind: u8,
    flags: u8,
    payload: Vec<u8>,
}

/// Lays pieces out from `start` on, each at a multiple of 8, as a segment with this uid would hold them.
pub fn lay_out(uid: [u8; 16], start: usize, pieces: &[Piece]) -> Vec<u8> {
    let mut out = vec![0; start];
    let mut next_seqno = 1u64;
    // A batch header is patched when its body is complete.
    let mut open: Option<(usize, ForgedBatch)> = None;
    for piece in pieces {
        let at = out.len();
        match piece {
            Piece::Raw(bytes) => out.extend_from_slice(bytes),
            Piece::Zeros(count) => out.resize(at + usize::from(*count) * 8, 0),
            Piece::Batch(batch) => {
                close_batch(uid, &mut out, open.take(), &mut next_seqno);
                open = Some((at, batch.clone()));
                out.resize(at + 48, 0);
            }
            Piece::Record(record) => out.extend_from_slice(&record.encode(uid, at as u64)),
        }
        out.resize(out.len().next_multiple_of(8), 0);
    }
    close_batch(uid, &mut out, open, &mut next_seqno);
    out
}

fn close_batch(uid: [u8; 16], out: &mut [u8], open: Option<(usize, ForgedBatch)>, next_seqno: &mut u64) {
    let Some((at, batch)) = open else { return };
    let body_len = batch.body_len.unwrap_or((out.len() - at - 48) as u32);
    let mut header = [0; 48];
    header[4..8].copy_from_slice(b"EBAT");
    header[8..16].copy_from_slice(&batch.first_seqno.unwrap_or(*next_seqno).to_le_bytes());
    header[16..24].copy_from_slice(&batch.synced_through.to_le_bytes());
    header[24..28].copy_from_slice(&body_len.to_le_bytes());
    header[28..32].copy_from_slice(&u32::from(batch.record_count).to_le_bytes());
    header[32..36].copy_from_slice(&batch.clock_mark_s.to_le_bytes());
    header[36] = batch.kind.unwrap_or(1);
    seal(uid, at as u64, &mut header);
    out[at..at + 48].copy_from_slice(&header);
    *next_seqno = next_seqno.saturating_add(batch.record_count.into());
}

impl ForgedRecord {
    fn encode(&self, uid: [u8; 16], offset: u64) -> Vec<u8> {
        let len = self.payload.len();
        let key_len = self.key_len.unwrap_or(len.min(4) as u16);
        let value_len = self.value_len.unwrap_or(len.saturating_sub(key_len.into()) as u32);
        let mut out = vec![0; 24];
        let payload_crc = self.payload_crc.unwrap_or_else(|| crc32fast::hash(&self.payload));
        out[4..8].copy_from_slice(&payload_crc.to_le_bytes());
        out[8..16].copy_from_slice(&self.key_hash.to_le_bytes());
        out[16..20].copy_from_slice(&value_len.to_le_bytes());
        out[20..22].copy_from_slice(&key_len.to_le_bytes());
        out[22] = self.kind;
        out[23] = self.flags & !2;
        if let Some(expiry_s) = self.expiry_s {
            out[23] |= 2;
            out.extend_from_slice(&expiry_s.to_le_bytes());
        }
        seal(uid, offset, &mut out);
        out.extend_from_slice(&self.payload);
        out
    }
}
