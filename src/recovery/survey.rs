//! Reading a store without changing it: which files are its log, which events count, and what is wrong with the rest.
//!
//! Recovery acts on what is found here; the tools print it. Reads with positioned reads only, in one pass over footers and the unsealed tail (two
//! over the tail's batch headers). Memory: one window, and a line for each file and finding.

use super::verdict::{self, RecordFacts, RecordVerdict, Relation, SegmentFacts, SegmentVerdict};
use super::warm_list::{self, HitRecord, WarmList, WarmSurvey};
use crate::disk::{Access, Disk, DiskFile};
use crate::error::{Error, ErrorKind};
use crate::format::footer::FooterTail;
use crate::format::identity::Identity;
use crate::format::names::{self, FileName};
use crate::format::record::RecordKind;
use crate::format::segment::{DATA_START, Link, SegmentHeader};
use crate::format::warm::{ENTRIES_NAME, WarmHeader};
use crate::format::{DecodeError, Fault};
use crate::log::scan::{self, Depth, Gap, Item};
use std::io;
use std::ops::ControlFlow;

/// Most findings that are kept one by one; more are only counted.
const FINDINGS_MAX: usize = 10_000;

/// One thing that is not as written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Finding {
    /// The verdict's label in `format-spec/07-recovery.md`.
    #[serde(deserialize_with = "verdict::read_label")]
    pub label: verdict::Label,
    /// The file.
    pub file: String,
    /// Where in it.
    pub offset: u64,
    /// What was expected, what was found, and what follows.
    pub what: String,
    /// Whether this is damage, or merely how a crash leaves a log (a torn tail, a spare, a leftover).
    pub damage: bool,
    /// Why the bytes were not believed, where it is one structure that does not verify.
    #[serde(skip)]
    pub cause: Option<DecodeError>,
}

/// One numbered file.
#[derive(Debug, Clone)]
pub struct SegmentSurvey {
    /// Number in its name.
    pub number: u32,
    /// Name of the file.
    pub file: String,
    /// Length of the file in bytes.
    pub file_len: u64,
    /// Storage that it takes in bytes.
    pub allocated_bytes: u64,
    /// Its header, from either copy or the footer.
    pub header: Option<SegmentHeader>,
    /// Its link, from either copy or the footer.
    pub link: Option<Link>,
    /// Its footer, if that verifies.
    pub footer: Option<FooterTail>,
    /// Label of the verdict.
    pub label: &'static str,
    /// The verdict.
    pub verdict: SegmentVerdict,
    /// Whether its events count.
    pub accepted: bool,
    /// Whether it stays: accepted, and the budget has room for it.
    pub kept: bool,
    /// Where its records end.
    pub data_end: u32,
    /// Seqno of its first event.
    pub first_seqno: u64,
    /// Seqno of its last event; one less than the first if it has none.
    pub last_seqno: u64,
    /// Events that count.
    pub event_count: u64,
    /// Seqno of the first batch behind the link that verifies, in an unsealed segment.
    first_batch_seqno: Option<u64>,
    /// Highest seqno that the segment says was durable.
    synced_max: u64,
    /// Highest time in its header, its footer, or any batch header that verifies.
    clock_mark_s: u32,
    has_zero_only_header: bool,
}

/// Who wants to hear of the events that count, in log order.
pub trait Visitor {
    /// The events that follow are of the segment with this index in [`Survey::segments`].
    fn segment(&mut self, index: usize) {
        let _ = index;
    }
    /// Records of that segment that were hit on disk before the store was left, by offset: advice.
    fn hits(&mut self, records: &[HitRecord]) {
        let _ = records;
    }
    /// A key got a value; its record stands at `offset`.
    fn put(&mut self, key_hash: u64, offset: u32);
    /// A key lost its value.
    fn tombstone(&mut self, key_hash: u64);
    /// Every key lost its value.
    fn clear(&mut self);
}

/// What a directory holds. See the [module](self).
#[derive(Debug)]
pub struct Survey {
    /// The store's identity.
    pub identity: Identity,
    /// Every numbered file, by number.
    pub segments: Vec<SegmentSurvey>,
    /// Files of ours that were never finished.
    pub temporaries: Vec<String>,
    /// The file with the warm list. Where the store is opened: only if it stays.
    pub warm: Option<WarmSurvey>,
    /// The list, for a store that is opened.
    pub(crate) warm_list: Option<WarmList>,
    /// The records that it names, in log order.
    hit_records: Vec<HitRecord>,
    /// What is wrong, oldest first; at most ten thousand.
    pub findings: Vec<Finding>,
    /// How many findings there are.
    pub finding_count: u64,
    /// How many of them are damage.
    pub damage_count: u64,
    /// Highest sequence number that something says was durable.
    pub synced_max: u64,
    /// Highest time seen, in seconds since the epoch.
    pub clock_mark_s: u32,
    /// Events that count.
    pub event_count: u64,
    /// Keys that were forgotten because their newest version is damaged.
    pub forgotten_keys: u64,
    /// How many times all that was older had to be forgotten.
    pub forgotten_older: u64,
}

/// How much room the log may take, for a survey whose outcome will be opened.
#[derive(Debug, Clone, Copy)]
pub struct Room {
    /// Bytes for the segments that stay, and the warm list.
    pub bytes_max: u64,
    /// Of these, for the warm list; a larger one goes.
    pub warm_bytes_max: u64,
    /// Most segments that stay.
    pub count_max: usize,
    /// Most records that were hit on disk to know of while the index is built; 12 bytes of memory each.
    pub hit_count_max: usize,
}

/// Reads the identity of a store.
///
/// # Errors
/// [`ErrorKind::NotAStore`] if there is none, [`ErrorKind::Damaged`] if neither copy verifies, [`ErrorKind::Incompatible`] for a later version.
pub fn read_identity(disk: &dyn Disk) -> Result<Identity, Error> {
    let name = names::IDENTITY;
    let file = disk.open(name, Access::Read).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotAStore, format!("no file '{name}': not an emberlog store")),
        _ => open_error(name, error),
    })?;
    let mut bytes = vec![0; crate::format::identity::FILE_LEN as usize];
    let got = file.read_at(0, &mut bytes).map_err(|error| Error::io(format!("cannot read {name}"), error))?;
    Identity::decode_file(&bytes[..got]).map_err(|error| {
        let kind = if error.is_incompatible() { ErrorKind::Incompatible } else { ErrorKind::Damaged };
        Error::new(kind, format!("{name}: {error}; nothing was touched"))
    })
}

pub(crate) fn open_error(name: &str, error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            Error::io(format!("cannot open {name}"), error).with_kind(ErrorKind::Insecure)
        }
        _ => Error::io(format!("cannot open {name}"), error),
    }
}

impl Survey {
    /// Surveys a store, telling `visitor` the events that count. With [`Depth::Payloads`] the payloads of sealed segments are read as well, and damage
    /// in them becomes a finding.
    ///
    /// # Errors
    /// Those of [`read_identity`]; [`ErrorKind::Incompatible`] if a segment is of a later version; [`ErrorKind::Io`] if a file cannot be read.
    pub fn read(disk: &dyn Disk, depth: Depth, room: Option<Room>, visitor: &mut dyn Visitor) -> Result<Self, Error> {
        let identity = read_identity(disk)?;
        let names = disk.list().map_err(|error| Error::io("cannot list the directory", error))?;
        let mut survey = Self {
            identity,
            segments: Vec::new(),
            temporaries: Vec::new(),
            warm: None,
            warm_list: None,
            hit_records: Vec::new(),
            findings: Vec::new(),
            finding_count: 0,
            damage_count: 0,
            synced_max: 0,
            clock_mark_s: 0,
            event_count: 0,
            forgotten_keys: 0,
            forgotten_older: 0,
        };
        for name in names {
            match names::parse(&name) {
                FileName::Segment(number) => {
                    if let Some(segment) = survey.read_segment(disk, number, name)? {
                        survey.segments.push(segment);
                    }
                }
                FileName::Temporary => survey.temporaries.push(name),
                FileName::Warm => survey.read_warm(disk, room)?,
                // Nothing that is recovered depends on the page of counters.
                FileName::Identity | FileName::Lock | FileName::Counters | FileName::Foreign => {}
            }
        }
        survey.segments.sort_by_key(|segment| segment.number);
        survey.find_chain();
        if let Some(room) = room {
            survey.fit(room);
        }
        // On top of what the chain's walk kept of segments that it cut off.
        let accepted = survey.segments.iter().filter(|segment| segment.accepted);
        survey.synced_max = accepted.map(|segment| segment.synced_max).fold(survey.synced_max, u64::max);
        survey.clock_mark_s = survey.segments.iter().map(|segment| segment.clock_mark_s).max().unwrap_or(0);
        survey.apply(disk, depth, visitor)?;
        Ok(survey)
    }

    /// Indexes of the segments that stay, oldest first.
    pub fn kept(&self) -> impl DoubleEndedIterator<Item = usize> + '_ {
        (0..self.segments.len()).filter(|&index| self.segments[index].kept)
    }

    /// Lets everything go: the next log starts empty.
    pub(crate) fn forget_all(&mut self) {
        for segment in self.segments.iter_mut().filter(|segment| segment.kept) {
            (segment.label, segment.verdict) = ("S-FORGOTTEN", SegmentVerdict::Hole);
            (segment.accepted, segment.kept) = (false, false);
        }
    }

    // -- one file

    fn read_warm(&mut self, disk: &dyn Disk, room: Option<Room>) -> Result<(), Error> {
        let name = names::WARM;
        let record_count_max = room.map_or(0, |room| room.hit_count_max);
        let found = warm_list::survey(disk, self.identity.store_id, record_count_max)
            .map_err(|error| open_error(name, error))?;
        let Some((warm, list)) = found else { return Ok(()) };
        if let Err(error) = &list {
            let cause = error.get_ref().and_then(|inner| inner.downcast_ref::<DecodeError>()).copied();
            let of_entries = cause.is_some_and(|cause| cause.structure == ENTRIES_NAME);
            let offset = if of_entries { WarmHeader::LEN as u64 } else { 0 };
            let what = format!("{error}; memory starts empty, nothing is forgotten");
            self.find(Finding { label: "W-LIST", file: name.to_owned(), offset, what, damage: true, cause });
        }
        if let Some(room) = room {
            let Some((list, records)) = list.ok().filter(|_| warm.allocated_bytes <= room.warm_bytes_max) else {
                // Of no use: it goes with what was never finished.
                self.temporaries.push(name.to_owned());
                return Ok(());
            };
            (self.warm_list, self.hit_records) = (Some(list), records);
        }
        self.warm = Some(warm);
        Ok(())
    }

    fn read_segment(&self, disk: &dyn Disk, number: u32, name: String) -> Result<Option<SegmentSurvey>, Error> {
        let file = match disk.open(&name, Access::Read) {
            Ok(file) => file,
            // A live store retires segments while a tool reads it.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(open_error(&name, error)),
        };
        let read = |error| Error::io(format!("cannot read {name}"), error);
        let mut start = vec![0; DATA_START as usize];
        let got = file.read_at(0, &mut start).map_err(read)?;
        start.truncate(got);
        let file_len = file.len().map_err(read)?;
        let allocated_bytes = file.allocated_bytes().map_err(read)?;
        let store_id = self.identity.store_id;
        let newer = |error: &crate::format::DecodeError| -> Result<(), Error> {
            match error.is_incompatible() {
                true => Err(Error::new(ErrorKind::Incompatible, format!("{name}: {error}; nothing was touched"))),
                false => Ok(()),
            }
        };
        let mut header = SegmentHeader::decode_either(store_id, &start);
        if let Err(error) = &header {
            newer(error)?;
        }
        let mut footer = None;
        if let Some(tail_offset) = file_len.checked_sub(FooterTail::LEN as u64) {
            let mut raw = [0; FooterTail::LEN];
            let got = file.read_at(tail_offset, &mut raw).map_err(read)?;
            match FooterTail::decode(store_id, tail_offset, &raw[..got]) {
                Ok(tail) if tail.header.number == number => {
                    match crate::log::read_entries(&*file, store_id, &mut |_| {}) {
                        Ok(()) => footer = Some(tail),
                        Err(error) if error.kind() == io::ErrorKind::InvalidData => {}
                        Err(error) => return Err(read(error)),
                    }
                }
                Ok(_) => {}
                Err(error) => newer(&error)?,
            }
        }
        // A file under another's name is not that other file.
        header = header.and_then(|header| {
            let fault = crate::format::Fault::Field { field: "segment_number", found: header.number.into() };
            let error = crate::format::DecodeError { structure: "segment header", fault };
            if header.number == number { Ok(header) } else { Err(error) }
        });
        let mut header = header.ok();
        let mut link = None;
        let mut synced_max = footer.map_or(0, |tail| tail.last_seqno);
        let mut clock_mark_s = header.map_or(0, |header| header.clock_mark_s);
        let mut first_batch_seqno = None;
        if let (Some(header), None) = (&header, &footer) {
            link = Link::decode_either(header.seed(), &start).ok().map(|(link, _)| link);
            let limit = u32::try_from(file_len).unwrap_or(u32::MAX).min(header.len_bytes);
            scan::scan_batches(&*file, header, limit, &mut |offset, batch| {
                synced_max = synced_max.max(batch.synced_through);
                clock_mark_s = clock_mark_s.max(batch.clock_mark_s);
                if u64::from(offset) >= DATA_START {
                    first_batch_seqno = first_batch_seqno.or(Some(batch.first_seqno));
                }
            })
            .map_err(read)?;
        }
        if let Some(tail) = &footer {
            header = Some(tail.header);
            link = Some(tail.link);
            clock_mark_s = clock_mark_s.max(tail.header.clock_mark_s);
        }
        let has_zero_only_header = start.iter().take(512).all(|&byte| byte == 0);
        Ok(Some(SegmentSurvey {
            number,
            file: name,
            file_len,
            allocated_bytes,
            header,
            link,
            footer,
            label: "",
            verdict: SegmentVerdict::Hole,
            accepted: false,
            kept: false,
            data_end: footer.map_or(DATA_START as u32, |tail| tail.data_end_offset),
            first_seqno: link.map_or(first_batch_seqno.unwrap_or(1), |link| link.predecessor_last_seqno + 1),
            last_seqno: footer.map_or(link.map_or(0, |link| link.predecessor_last_seqno), |tail| tail.last_seqno),
            event_count: 0,
            first_batch_seqno,
            synced_max,
            clock_mark_s,
            has_zero_only_header,
        }))
    }

    // -- the chain

    fn relation(&self, index: usize) -> Relation {
        let segment = &self.segments[index];
        let Some(link) = segment.link else { return Relation::Follows };
        let before = index.checked_sub(1).map(|before| &self.segments[before]);
        match before {
            None => Relation::First,
            Some(_) if link.predecessor_number == 0 => Relation::OtherUid,
            Some(_) if link.predecessor_number != segment.number - 1 => Relation::OtherUid,
            Some(before) if before.number != link.predecessor_number => Relation::Hole,
            Some(before) => match (before.header, before.footer) {
                (None, _) => Relation::Hole,
                (Some(header), _) if header.uid != link.predecessor_uid => Relation::OtherUid,
                (_, Some(tail)) if tail.data_end_offset != link.predecessor_end_offset => Relation::OtherEnd,
                (_, Some(tail)) if tail.last_seqno != link.predecessor_last_seqno => Relation::OtherUid,
                _ => Relation::Follows,
            },
        }
    }

    /// Walks from the newest file to the oldest and marks those whose events may count.
    fn find_chain(&mut self) {
        let mut newest = true;
        let mut chain_end = self.segments.len();
        let mut synced_max = 0;
        for index in (0..self.segments.len()).rev() {
            let segment = &self.segments[index];
            // Where the link is lost: what is known of its first events. Without a batch of its own, what the successor says of its last.
            let successor = self.segments.get(index + 1).filter(|newer| newer.accepted).and_then(|newer| newer.link);
            let known_seqno = segment.first_batch_seqno.or(successor.map(|link| link.predecessor_last_seqno));
            let facts = SegmentFacts {
                header_ok: segment.header.is_some(),
                footer_ok: segment.footer.is_some(),
                link_ok: segment.link.is_some(),
                has_batch: segment.first_batch_seqno.is_some(),
                newest,
                // Only this segment and newer ones can say so: what is older was written before its first event.
                synced: known_seqno.is_some_and(|known| known <= synced_max.max(segment.synced_max)),
                relation: self.relation(index),
            };
            let (label, verdict, older_counts) = verdict::segment(facts);
            let segment = &mut self.segments[index];
            (segment.label, segment.verdict) = (label, verdict);
            let (file, number) = (segment.file.clone(), segment.number);
            match verdict {
                SegmentVerdict::Spare => {
                    segment.accepted = false;
                    if index.checked_sub(1).is_none_or(|older| self.segments[older].number == number - 1) {
                        continue;
                    }
                    // The spare is made when the log has moved into the segment before it, which was durable by then: that one is lost.
                    // Removed as the hole's evidence, after all that is older.
                    let spare = &mut self.segments[index];
                    (spare.label, spare.verdict) = ("S-HOLE", SegmentVerdict::Hole);
                    let what = format!("segment {} is missing; all that is older is forgotten", number - 1);
                    self.find(Finding { label: "S-HOLE", file, offset: 0, what, damage: true, cause: None });
                    self.forget_before(index);
                    break;
                }
                SegmentVerdict::Stale | SegmentVerdict::CutBefore => {
                    self.drop_newer(index..chain_end);
                    self.segments[index].label = label;
                    if verdict == SegmentVerdict::CutBefore {
                        // What it and newer ones say of durability stays true, and decides whether its predecessor may end here.
                        self.synced_max = self.synced_max.max(synced_max).max(self.segments[index].synced_max);
                    }
                    (chain_end, newest, synced_max) = (index, true, 0);
                    let what = if verdict == SegmentVerdict::Stale {
                        "follows an end of the log that an earlier recovery cut; it is removed"
                    } else {
                        "neither copy of the link verifies; the log ends before this segment"
                    };
                    self.find(Finding { label, file, offset: 0, what: what.to_owned(), damage: false, cause: None });
                    continue;
                }
                SegmentVerdict::Hole => {
                    let what = if segment.has_zero_only_header {
                        "expected a segment header, found zeros; all that is older is forgotten"
                    } else {
                        "neither header nor footer verifies; all that is older is forgotten"
                    };
                    self.find(Finding { label, file, offset: 0, what: what.to_owned(), damage: true, cause: None });
                }
                SegmentVerdict::Trust | SegmentVerdict::Scan | SegmentVerdict::ScanForgetOlder => {
                    segment.accepted = true;
                    newest = false;
                    synced_max = synced_max.max(segment.synced_max);
                    if !older_counts && (index > 0 || verdict == SegmentVerdict::ScanForgetOlder) {
                        let (label, why) = match label {
                            "S-NOLINK" => (label, "neither copy of the link verifies".to_owned()),
                            "S-SPLIT" => (label, "its link names another predecessor than is there".to_owned()),
                            _ => ("S-HOLE", format!("segment {} is missing or unreadable", number - 1)),
                        };
                        let what = format!("{why}; all that is older is forgotten");
                        self.find(Finding { label, file, offset: 0, what, damage: true, cause: None });
                    }
                }
            }
            if !older_counts {
                self.forget_before(index);
                break;
            }
        }
        for segment in &mut self.segments {
            segment.kept = segment.accepted;
        }
    }

    /// Marks all files before this one as forgotten.
    fn forget_before(&mut self, index: usize) {
        self.forgotten_older += u64::from(index > 0);
        for older in &mut self.segments[..index] {
            older.label = "S-FORGOTTEN";
            older.accepted = false;
        }
    }

    /// Lets the oldest segments go until the rest fits.
    fn fit(&mut self, room: Room) {
        let mut bytes = self.warm.as_ref().map_or(0, |warm| warm.allocated_bytes);
        let mut count = 0;
        let mut full = false;
        for segment in self.segments.iter_mut().rev().filter(|segment| segment.accepted) {
            bytes += segment.allocated_bytes;
            count += 1;
            full |= bytes > room.bytes_max || count > room.count_max;
            if full {
                segment.label = "S-NOROOM";
                segment.accepted = false;
                segment.kept = false;
            }
        }
    }

    /// Marks files as beyond the end of the log.
    fn drop_newer(&mut self, range: std::ops::Range<usize>) {
        // A spare stays what it is.
        for newer in self.segments[range].iter_mut().filter(|newer| newer.verdict != SegmentVerdict::Spare) {
            (newer.label, newer.verdict) = ("S-STALE", SegmentVerdict::Stale);
            (newer.accepted, newer.kept) = (false, false);
        }
    }

    fn hit_records_of(&self, number: u32) -> &[HitRecord] {
        let from = self.hit_records.partition_point(|record| record.segment_number < number);
        let until = self.hit_records.partition_point(|record| record.segment_number <= number);
        &self.hit_records[from..until]
    }

    // -- the events

    fn apply(&mut self, disk: &dyn Disk, depth: Depth, visitor: &mut dyn Visitor) -> Result<(), Error> {
        let chain: Vec<usize> = self.kept().collect();
        for (position, &index) in chain.iter().enumerate() {
            let successor = chain.get(position + 1).and_then(|&next| self.segments[next].link);
            visitor.segment(index);
            visitor.hits(self.hit_records_of(self.segments[index].number));
            let file = open(disk, &self.segments[index].file)?;
            let ended = if self.segments[index].footer.is_some() {
                self.apply_footer(index, &*file, depth, visitor)?;
                false
            } else {
                self.apply_scan(index, &*file, successor, visitor)?
            };
            if ended {
                if let Some(&next) = chain.get(position + 1) {
                    self.drop_newer(next..self.segments.len());
                }
                break;
            }
        }
        let last = self.kept().next_back();
        if let Some(last) = last
            && self.segments[last].last_seqno < self.synced_max
        {
            // Durable events behind the end are gone without a trace of their keys.
            let (file, offset) = (self.segments[last].file.clone(), self.segments[last].data_end.into());
            let lost = (self.segments[last].last_seqno + 1, self.synced_max);
            let what =
                format!("events {} to {} were durable and are missing; all that is older is forgotten", lost.0, lost.1);
            self.find(Finding { label: "V-OLDER", file, offset, what, damage: true, cause: None });
            self.forgotten_older += 1;
            visitor.clear();
            self.forget_all();
        }
        Ok(())
    }

    fn apply_footer(
        &mut self,
        index: usize,
        file: &dyn DiskFile,
        depth: Depth,
        visitor: &mut dyn Visitor,
    ) -> Result<(), Error> {
        let segment = &self.segments[index];
        let name = segment.file.clone();
        let read = |error| Error::io(format!("cannot read {name}"), error);
        let mut count = 0u64;
        let tail = segment.footer.expect("only sealed segments are applied by their footer");
        crate::log::read_entries(file, self.identity.store_id, &mut |entries| {
            count += entries.entries().len() as u64;
            for entry in entries.entries() {
                match entry.kind {
                    RecordKind::Put => visitor.put(entry.key_hash, entry.offset),
                    RecordKind::Tombstone => visitor.tombstone(entry.key_hash),
                    RecordKind::Clear => visitor.clear(),
                }
            }
        })
        .map_err(read)?;
        self.segments[index].event_count = count;
        self.event_count += count;
        if depth == Depth::Payloads {
            let header = tail.header;
            let mut damaged = Vec::new();
            // The footer names every key hash, so damage to a record here is damage to that key alone.
            scan::scan(file, &header, tail.data_end_offset, Some(tail.first_seqno), depth, &mut |item| {
                let (offset, error, facts) = match item {
                    Item::Record { offset, payload: Err(error), .. } => (offset, error, (true, false)),
                    Item::Gap(gap) => (gap.offset, gap.error, (false, false)),
                    _ => return ControlFlow::Continue(()),
                };
                let facts = RecordFacts { header_ok: facts.0, payload_ok: facts.1, named: true, synced: true };
                damaged.push((offset, error, verdict::record(facts).0));
                if damaged.len() < FINDINGS_MAX { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
            })
            .map_err(read)?;
            for (offset, error, label) in damaged {
                let what = format!("{error}; the keys that the footer names here are forgotten when they are read");
                let (file, offset) = (name.clone(), offset.into());
                self.find(Finding { label, file, offset, what, damage: true, cause: Some(error) });
            }
        }
        Ok(())
    }

    /// Applies an unsealed segment. Returns whether the log ends in it.
    fn apply_scan(
        &mut self,
        index: usize,
        file: &dyn DiskFile,
        successor: Option<Link>,
        visitor: &mut dyn Visitor,
    ) -> Result<bool, Error> {
        let segment = &self.segments[index];
        let name = segment.file.clone();
        let header = segment.header.expect("a segment without header and footer is a hole");
        let limit = segment.limit().min(successor.map_or(u32::MAX, |link| link.predecessor_end_offset));
        let first_seqno = Some(segment.first_seqno);
        let newest = successor.is_none();
        let synced_max = self.synced_max;
        let mut damaged_end = 0;
        if segment.verdict == SegmentVerdict::ScanForgetOlder {
            visitor.clear();
        }
        let mut findings = Vec::new();
        let (mut cut, mut keys, mut older, mut events) = (None, 0, 0, 0u64);
        let reached = scan::scan(file, &header, limit, first_seqno, Depth::Payloads, &mut |item| match item {
            Item::Batch { .. } => ControlFlow::Continue(()),
            Item::Record { offset, seqno, header, payload } => {
                let synced = seqno <= synced_max;
                let facts = RecordFacts { header_ok: true, payload_ok: payload.is_ok(), named: true, synced };
                let (label, verdict) = verdict::record(facts);
                if let Err(error) = payload {
                    let damage = verdict != RecordVerdict::Cut;
                    findings.push((label, offset, error, damage));
                }
                match verdict {
                    RecordVerdict::Keep => match header.kind {
                        RecordKind::Put => visitor.put(header.key_hash, offset),
                        RecordKind::Tombstone => visitor.tombstone(header.key_hash),
                        RecordKind::Clear => visitor.clear(),
                    },
                    RecordVerdict::ForgetKey => {
                        keys += 1;
                        visitor.tombstone(header.key_hash);
                    }
                    RecordVerdict::ForgetOlder => {
                        older += 1;
                        visitor.clear();
                    }
                    RecordVerdict::Cut => {
                        cut = Some((offset, seqno));
                        return ControlFlow::Break(());
                    }
                }
                events += 1;
                ControlFlow::Continue(())
            }
            Item::Gap(gap) => {
                let Gap { offset, first_seqno, error, blank, resume } = gap;
                let facts = RecordFacts {
                    header_ok: false,
                    payload_ok: false,
                    named: false,
                    synced: first_seqno <= synced_max,
                };
                let (label, verdict) = verdict::record(facts);
                if verdict == RecordVerdict::Cut {
                    // Zeros behind the last batch of the newest segment are a sound end, not a torn one.
                    if !(blank && resume.is_none() && newest) {
                        findings.push((label, offset, error, false));
                    }
                    cut = Some((offset, first_seqno));
                    return ControlFlow::Break(());
                }
                if gap.loses_nothing() {
                    // An empty batch, or one that only said what later ones say again.
                    findings.push(("V-VOID", offset, error, true));
                    return ControlFlow::Continue(());
                }
                findings.push((label, offset, error, true));
                older += 1;
                visitor.clear();
                if resume.is_none() {
                    // The place of the damage stays part of the segment, so that its footer holds the clear.
                    damaged_end = offset + crate::format::ALIGN_BYTES as u32;
                }
                ControlFlow::Continue(())
            }
        })
        .map_err(|error| Error::io(format!("cannot read {name}"), error))?;
        // A file that ends before its successor says it does: the same as a gap at its end.
        if let Some(link) = successor
            && cut.is_none()
            && reached.next_seqno <= link.predecessor_last_seqno
            && damaged_end <= reached.end_offset
        {
            let synced = reached.next_seqno <= synced_max;
            let facts = RecordFacts { header_ok: false, payload_ok: false, named: false, synced };
            let (label, verdict) = verdict::record(facts);
            let (expected, found) = (link.predecessor_end_offset.into(), reached.end_offset.into());
            let error = DecodeError { structure: "batches", fault: Fault::Truncated { expected, found } };
            findings.push((label, reached.end_offset, error, verdict != RecordVerdict::Cut));
            if verdict == RecordVerdict::Cut {
                cut = Some((reached.end_offset, reached.next_seqno));
            } else {
                older += 1;
                visitor.clear();
            }
        }
        self.forgotten_keys += keys;
        self.forgotten_older += older;
        self.event_count += events;
        for (label, offset, error, damage) in findings {
            let follows = match label {
                "V-KEY" => "the key is forgotten",
                "V-OLDER" => "all that is older is forgotten",
                "V-VOID" => "no event is lost",
                _ => "the log ends here",
            };
            self.find(Finding {
                label,
                file: name.clone(),
                offset: offset.into(),
                what: format!("{error}; {follows}"),
                damage,
                cause: Some(error),
            });
        }
        let segment = &mut self.segments[index];
        segment.event_count = events;
        match cut {
            Some((offset, seqno)) => {
                segment.data_end = offset;
                segment.last_seqno = seqno - 1;
            }
            None => {
                // With a successor the segment ends where that says, whatever was lost before it.
                let end = reached.end_offset.max(damaged_end);
                segment.data_end = successor.map_or(end, |link| link.predecessor_end_offset);
                let last_seqno = (reached.next_seqno - 1).max(if damaged_end > 0 { synced_max } else { 0 });
                segment.last_seqno = successor.map_or(last_seqno, |link| link.predecessor_last_seqno);
            }
        }
        Ok(cut.is_some())
    }

    fn find(&mut self, finding: Finding) {
        self.finding_count += 1;
        self.damage_count += u64::from(finding.damage);
        if self.findings.len() < FINDINGS_MAX {
            self.findings.push(finding);
        }
    }
}

impl SegmentSurvey {
    /// Where reading has to stop at the latest.
    fn limit(&self) -> u32 {
        let len = self.header.map_or(0, |header| header.len_bytes);
        // A file that was cut from outside may end anywhere; structures, and so the end of the log, do not.
        u32::try_from(self.file_len).unwrap_or(u32::MAX).min(len) / crate::format::ALIGN_BYTES as u32
            * crate::format::ALIGN_BYTES as u32
    }
}

fn open(disk: &dyn Disk, name: &str) -> Result<Box<dyn DiskFile>, Error> {
    disk.open(name, Access::Read).map_err(|error| open_error(name, error))
}
