//! What parent and child say to each other.
//!
//! Two kinds of channel. *Control*: one JSON message a line over the child's stdin and stdout; few and slow. *Lanes*: a socket
//! for each worker thread, with fixed requests of 24 bytes one way and tagged responses the other; many in flight, answered in
//! order. A value is never sent to the child, which makes it from key, version and length; it is always sent back.
//!
//! Knows: bytes and shapes. Does not know: what is allowed.

use std::io::{self, Read};

use serde::{Deserialize, Serialize};

/// Length of a request on a lane.
pub(crate) const REQUEST_LEN: usize = 24;

/// What a lane asks the child to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ask {
    /// Get, and on a miss insert the version.
    Get = 1,
    /// Insert the version.
    Insert = 2,
    /// Remove.
    Remove = 3,
    /// Is the key there? Without promotion.
    Contains = 4,
    /// Read without promotion.
    Peek = 5,
}

/// One request on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// What to do.
    pub(crate) ask: Ask,
    /// Length of the value to insert.
    pub(crate) size_bytes: u32,
    /// Which entry; its key bytes are these eight, little-endian.
    pub(crate) key: u64,
    /// Version to insert.
    pub(crate) version: u64,
}

impl Request {
    /// The bytes on the lane: ask, three zeros, size, key, version.
    pub(crate) fn encode(&self) -> [u8; REQUEST_LEN] {
        let mut bytes = [0; REQUEST_LEN];
        bytes[0] = self.ask as u8;
        bytes[4..8].copy_from_slice(&self.size_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.key.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.version.to_le_bytes());
        bytes
    }

    /// The request in these bytes.
    pub(crate) fn decode(bytes: &[u8; REQUEST_LEN]) -> io::Result<Request> {
        let ask = match bytes[0] {
            1 => Ask::Get,
            2 => Ask::Insert,
            3 => Ask::Remove,
            4 => Ask::Contains,
            5 => Ask::Peek,
            other => return Err(garbled(format!("request with ask {other}"))),
        };
        let [_, _, _, _, s0, s1, s2, s3, k @ .., v0, v1, v2, v3, v4, v5, v6, v7] = *bytes;
        Ok(Request {
            ask,
            size_bytes: u32::from_le_bytes([s0, s1, s2, s3]),
            key: u64::from_le_bytes(k),
            version: u64::from_le_bytes([v0, v1, v2, v3, v4, v5, v6, v7]),
        })
    }
}

/// Where an insertion went, in one byte: `memory` and `disk` each 0 absent, 1 stored, 2 refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Outcome(pub(crate) u8);

impl Outcome {
    /// From what became of it in each tier.
    pub(crate) fn new(memory: Tier, disk: Tier) -> Outcome {
        Outcome(memory as u8 | (disk as u8) << 2)
    }

    /// Whether the disk tier refused it.
    pub(crate) fn is_refused_by_disk(self) -> bool {
        self.0 >> 2 & 3 == Tier::Refused as u8
    }

    /// Whether the memory tier refused it.
    pub(crate) fn is_refused_by_memory(self) -> bool {
        self.0 & 3 == Tier::Refused as u8
    }
}

/// What became of an insertion in one tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Tier {
    /// There is no such tier.
    Absent = 0,
    /// It is there.
    Stored = 1,
    /// It was refused.
    Refused = 2,
}

/// The tags that begin a response.
pub(crate) mod tag {
    /// u32 length, then the value.
    pub(crate) const HIT: u8 = 1;
    /// Get missed and inserted; outcome.
    pub(crate) const FILLED: u8 = 2;
    /// Outcome.
    pub(crate) const INSERTED: u8 = 3;
    /// Then 1 if there was an entry, else 0.
    pub(crate) const REMOVED: u8 = 4;
    /// Contains: there.
    pub(crate) const PRESENT: u8 = 5;
    /// Contains or peek: not there.
    pub(crate) const ABSENT: u8 = 6;
}

/// One answer on a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Response<'a> {
    /// A get or peek found these bytes.
    Hit(&'a [u8]),
    /// A get missed and inserted its version.
    Filled(Outcome),
    /// An insertion was carried out.
    Inserted(Outcome),
    /// A removal was carried out; whether there was an entry.
    Removed(bool),
    /// Contains: there.
    Present,
    /// Contains or peek: not there.
    Absent,
}

/// Reads one answer; the value's bytes go into `value`. None at the end of the stream, also inside a response: an answer that
/// did not arrive whole was not given.
pub(crate) fn read_response<'v>(
    source: &mut impl Read,
    value: &'v mut Vec<u8>,
    value_max: u32,
) -> io::Result<Option<Response<'v>>> {
    let outcome = match read_parts(source, value, value_max) {
        Ok(response) => return Ok(Some(response)),
        Err(error) => error,
    };
    match outcome.kind() {
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Ok(None),
        _ => Err(outcome),
    }
}

fn read_parts<'v>(source: &mut impl Read, value: &'v mut Vec<u8>, value_max: u32) -> io::Result<Response<'v>> {
    Ok(match byte(source)? {
        tag::HIT => {
            let mut len = [0; 4];
            source.read_exact(&mut len)?;
            let len = u32::from_le_bytes(len);
            // A cache that answers with more than was ever inserted is still to be told apart from one that lost its mind.
            if len > value_max.saturating_mul(2).max(1 << 20) {
                return Err(garbled(format!("a value of {len} bytes")));
            }
            value.resize(len as usize, 0);
            source.read_exact(value)?;
            Response::Hit(value)
        }
        tag::FILLED => Response::Filled(Outcome(byte(source)?)),
        tag::INSERTED => Response::Inserted(Outcome(byte(source)?)),
        tag::REMOVED => Response::Removed(byte(source)? != 0),
        tag::PRESENT => Response::Present,
        tag::ABSENT => Response::Absent,
        other => return Err(garbled(format!("response with tag {other}"))),
    })
}

fn byte(source: &mut impl Read) -> io::Result<u8> {
    let mut byte = [0];
    source.read_exact(&mut byte)?;
    Ok(byte[0])
}

fn garbled(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the child's protocol is garbled: {what}"))
}

/// What the parent wants on the control channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub(crate) enum Order {
    /// Touch all buffers, note the memory held, open the cache, serve the lanes.
    Open(Settings),
    /// Say how things are.
    Look,
    /// Close the cache, then say how things are.
    Close,
}

/// How the child opens its cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    /// The cache's directory.
    pub(crate) dir: std::path::PathBuf,
    /// The cache's settings.
    pub(crate) config: emberlog::Config,
    /// The longest value to come: the child takes its buffers before it notes what it holds.
    pub(crate) value_max_bytes: u32,
    /// A key to get right after open, to know how long the first get takes.
    pub(crate) first_key: u64,
}

/// Durability levels by their names on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Level {
    /// Handed to the kernel soon.
    Buffered,
    /// In the kernel before insert returns.
    Written,
    /// On the medium before insert returns.
    Synced,
}

impl From<Level> for emberlog::Durability {
    fn from(level: Level) -> Self {
        match level {
            Level::Buffered => Self::Buffered,
            Level::Written => Self::Written,
            Level::Synced => Self::Synced,
        }
    }
}

/// What the child says on the control channel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "report", rename_all = "snake_case")]
pub(crate) enum Report {
    /// The cache is open.
    Opened {
        /// How long open took.
        open_ms: f64,
        /// From the start of open until the first get was answered.
        first_get_ms: f64,
        /// How things are.
        state: State,
    },
    /// How things are.
    State(State),
    /// It cannot be done.
    Failed {
        /// Why not.
        message: String,
    },
}

/// How things are in the child.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    /// The cache's `Stats`, as it serializes them.
    pub(crate) stats: serde_json::Value,
    /// Highest growth of RssAnon seen since just before open.
    pub(crate) peak_anonymous_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_survive_the_wire() {
        for ask in [Ask::Get, Ask::Insert, Ask::Remove, Ask::Contains, Ask::Peek] {
            let request = Request { ask, size_bytes: 0x0102_0304, key: u64::MAX - 5, version: 0x1122_3344_5566_7788 };
            assert_eq!(Request::decode(&request.encode()).unwrap(), request);
        }
        assert!(Request::decode(&[0; REQUEST_LEN]).is_err());
    }

    #[test]
    fn responses_are_read_in_order_and_an_unfinished_one_was_not_given() {
        let mut wire = vec![
            tag::HIT,
            3,
            0,
            0,
            0,
            7,
            8,
            9,
            tag::FILLED,
            5,
            tag::INSERTED,
            9,
            tag::REMOVED,
            1,
            tag::PRESENT,
            tag::ABSENT,
        ];
        wire.extend([tag::HIT, 200, 0, 0, 0, 1, 2]);
        let mut source = &wire[..];
        let mut value = Vec::new();
        let mut next =
            |expected: Option<Response<'_>>| assert_eq!(read_response(&mut source, &mut value, 100).unwrap(), expected);
        next(Some(Response::Hit(&[7, 8, 9])));
        next(Some(Response::Filled(Outcome::new(Tier::Stored, Tier::Stored))));
        next(Some(Response::Inserted(Outcome::new(Tier::Stored, Tier::Refused))));
        next(Some(Response::Removed(true)));
        next(Some(Response::Present));
        next(Some(Response::Absent));
        next(None);
    }

    #[test]
    fn a_garbled_response_is_an_error() {
        assert!(read_response(&mut &[99u8][..], &mut Vec::new(), 100).is_err());
        assert!(read_response(&mut &[tag::HIT, 255, 255, 255, 255][..], &mut Vec::new(), 100).is_err());
    }

    #[test]
    fn outcomes_tell_the_tiers_apart() {
        let outcome = Outcome::new(Tier::Refused, Tier::Stored);
        assert!(outcome.is_refused_by_memory() && !outcome.is_refused_by_disk());
        let outcome = Outcome::new(Tier::Absent, Tier::Refused);
        assert!(!outcome.is_refused_by_memory() && outcome.is_refused_by_disk());
    }

    #[test]
    fn control_messages_survive_the_wire() {
        let settings = Settings {
            dir: "/x y".into(),
            config: emberlog::Config::default(),
            value_max_bytes: 3,
            first_key: u64::MAX,
        };
        let order = Order::Open(settings);
        assert_eq!(serde_json::from_str::<Order>(&serde_json::to_string(&order).unwrap()).unwrap(), order);
        let report =
            Report::State(State { stats: serde_json::json!({"memory": {"hits": 1}}), peak_anonymous_bytes: 7 });
        assert_eq!(serde_json::from_str::<Report>(&serde_json::to_string(&report).unwrap()).unwrap(), report);
    }
}
